//! Checks: which run, what a result means, and when it is harm. Pure: the controller asks the source.

pub mod query;
