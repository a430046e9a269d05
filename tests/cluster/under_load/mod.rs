//! Phases that move traffic through a proxy under load, on every router that it serves, while what carries them out is killed, or has no
//! API server, or legacy goes for good: nothing is lost, and the end is the same.

mod bed;
mod leaders;
mod outage;
mod retired;
mod traffic;
