//! Tests of the phase engine: tables per transition, and a simulator for the invariants.

mod fixture;
mod simulator;
