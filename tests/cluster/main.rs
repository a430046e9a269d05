//! Cluster tests.

mod testkit_load;
