//! A node without machine or containers: pods are bound, get an address, turn ready, answer HTTP, fail as
//! told, drain and go. Does API, network and (for the list of scrape targets) file I/O, on a thread of its own.
//!
//! It stands in for the scheduler, the kubelet and the containers. It assumes the test bed's network
//! namespace, in which all of 198.18.0.0/15 is local, and that no other process listens there on a wildcard
//! address. There is no `exec`. Config, Secrets and volumes of pods are not looked at. What containers print is told, see [`Script::log`].
//!
//! # A pod's life
//! - Without a scheduling gate, it is bound at once and stays `Pending` for [`Script::start_delay`].
//! - It serves every declared TCP port at `podIP:port`, each pod at an address of its own, and turns ready by
//!   its readiness probes and gates. Probes are judged by what the server would answer; nothing is polled.
//! - With `restartPolicy` other than `Always` it ends after [`Script::run_time`] with [`Script::exit_code`].
//! - Deleted, it goes on serving for [`Script::drain`] (a `preStop` sleep counts if longer, the grace period
//!   bounds both), finishes what is under way, closes, and only then leaves the API. Its address rests for
//!   [`QUARANTINE`] before another pod may have it.
//!
//! # What it answers
//! Any path: 200, with the headers of [`protocol`] and the same as JSON. [`HEALTH_PATH`]: 200 or 503.
//! [`METRICS_PATH`]: `http_requests_total{method,path,status,system,component}` and
//! `http_request_duration_seconds{system,component}`. System and component come from the pod's labels
//! `cutover.dev/system` and `cutover.dev/component`; without them from the annotation
//! `sim.cutover.dev/system` and the label `app`.
//!
//! # Faults
//! By [`NodeSimulator::component`], for running pods and those to come, or by annotations of a pod:
//! `kubectl annotate pod -l app=storefront sim.cutover.dev/error-rate=0.5` (fields as in [`Script`], with
//! dashes). Where both are there, the annotation wins.

mod addresses;
mod app;
mod backend;
mod facts;
mod kubelet;
mod lifecycle;
mod machine;
mod metrics;
pub mod protocol;
mod reactor;
mod readiness;
mod script;
mod server;
mod simulator;
mod status;
mod targets;

pub use addresses::{COUNT, FIRST, QUARANTINE};
pub use app::{HEALTH_PATH, Identity, METRICS_PATH};
pub use backend::{Backend, serve_backend};
pub use protocol::System;
pub(crate) use reactor::Reactor;
pub use script::{ANNOTATION_PREFIX, ComponentScript, FaultSpan, Script};
use simulator::World;
pub use simulator::{NodeOptions, NodeSimulator, PodInfo};
pub use targets::Targets;
