//! Tests of the phase engine: tables per transition, and a simulator for the invariants.

mod actions;
mod approving;
mod approving_start;
mod attesting;
mod auditing;
mod calendar;
mod checking;
mod defaulting;
mod edits;
pub(super) mod fixture;
mod harming;
mod health;
mod hooking;
mod losing;
mod migrating;
mod notifying;
mod planted_bugs;
mod preparing;
mod promoting;
mod promotion;
mod racing;
mod schemas;
mod shifting;
pub(crate) mod simulator;
mod soaking;
mod validating;
mod waiting;
