//! All I/O with the API server: clients, leadership, caches, writes.
//!
//! Controllers get one [`Client`](kube::Client), built by [`Clients::guarded`], whose every mutating request passes
//! [`guard`]: it is refused locally once leadership is lost, so no controller can forget to ask. The lease has a
//! client of its own, so that a burst of writes never delays its renewal.

pub mod backoff;
pub mod clients;
pub mod discovery;
pub mod events;
pub mod finalizer;
pub mod guard;
pub mod lean;
pub mod lease;
mod limits;
pub mod policies;
pub mod prune;
pub mod ssa;
pub mod status;
pub mod stores;

#[cfg(test)]
pub(crate) mod scripted;
#[cfg(test)]
mod tests;

pub use clients::Clients;

/// Whether the API server refused a write because it was made from an outdated copy of the object (409): observe
/// again and decide anew.
#[must_use]
pub fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}

/// Whether the API server answered that the object, or its kind, does not exist (404).
#[must_use]
pub fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// Whether trying the same request again later may succeed without anybody changing anything: outages, timeouts,
/// throttling and conflicts. What the API server judged invalid or forbidden waits for a change.
#[must_use]
pub fn is_retryable(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => matches!(status.code, 408 | 409 | 429 | 500..=599),
        kube::Error::BuildRequest(_) | kube::Error::HttpError(_) => false,
        _ => true,
    }
}
