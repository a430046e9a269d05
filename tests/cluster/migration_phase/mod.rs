//! Phases on a real API server, carried out by the real operator under the chart's rights. Splits are of ingress-nginx's kind, and no proxy
//! is there: what is looked at is what the route objects carry.

mod back;
mod bed;
mod checks;
mod counted;
mod counters;
mod default_checks;
mod finish;
mod forward;
mod gates;
mod harm;
mod hooks;
mod http_checks;
mod job_checks;
mod losing;
mod migrations;
mod people;
pub(crate) mod prometheus;
mod record;
mod sinks;
mod telling;
