//! Publishes Kubernetes Events, off the reconcile's path: an Event that cannot be written is a warning in the log and
//! never delays or fails a weight.
//!
//! The recorder merges Events of one object that differ only in their note into a series that shows the first note: put
//! what matters into `reason` and `action`.

use cutover_engine::{Note, Severity};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::sync::mpsc;

/// Events that wait to be written; more are dropped, with a warning.
const WAITING: usize = 256;
/// In bytes, by the API's validation.
const LONGEST_NOTE: usize = 1024;

/// Publishes the Events of one controller. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Events {
    queue: mpsc::Sender<(Waiting, ObjectReference)>,
}

// kube's Event has no Debug.
struct Waiting(Event);

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.0.action, self.0.reason)
    }
}

impl Events {
    /// Starts publishing for `controller` (such as `cutover.dev/traffic-split`) as `instance` (the pod's name). The task
    /// ends when the last clone is dropped.
    #[must_use]
    pub fn start(client: Client, controller: &str, instance: &str) -> Self {
        let reporter = Reporter { controller: controller.to_owned(), instance: Some(instance.to_owned()) };
        let recorder = Recorder::new(client, reporter);
        let (queue, mut waiting) = mpsc::channel::<(Waiting, ObjectReference)>(WAITING);
        tokio::spawn(async move {
            while let Some((event, object)) = waiting.recv().await {
                if let Err(error) = recorder.publish(&event.0, &object).await {
                    tracing::warn!(%error, ?event, object = object.name, "event not published");
                }
            }
        });
        Self { queue }
    }

    /// Hands an Event about `object` over for publishing; returns at once. Of the message at most 1 kB is kept.
    pub fn publish(&self, note: Note, object: ObjectReference) {
        let Note { severity, reason, action, mut message } = note;
        // The API server refuses longer ones.
        if let Some(cut) = message.char_indices().map(|(at, _)| at).find(|at| *at > LONGEST_NOTE - 4) {
            message.truncate(cut);
        }
        let event = Event {
            type_: match severity {
                Severity::Normal => EventType::Normal,
                Severity::Warning => EventType::Warning,
            },
            reason: reason.to_owned(),
            action: action.to_owned(),
            note: Some(message),
            secondary: None,
        };
        if let Err(error) = self.queue.try_send((Waiting(event), object)) {
            tracing::warn!(%error, "event dropped");
        }
    }
}
