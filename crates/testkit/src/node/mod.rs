//! tmp
mod app;
mod backend;
mod metrics;
pub mod protocol;
mod reactor;
mod script;
mod server;
mod targets;
pub use app::{HEALTH_PATH, Identity, METRICS_PATH};
pub use backend::{Backend, serve_backend};
pub use protocol::System;
pub(crate) use reactor::Reactor;
pub use script::{ANNOTATION_PREFIX, ComponentScript, FaultSpan, Script};
pub use targets::Targets;
