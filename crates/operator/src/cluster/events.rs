//! Publishes Kubernetes Events, off the reconcile's path: an Event that cannot be written is a warning in the log and
//! never delays or fails a weight.
//!
//! The recorder merges Events of one object that differ only in their note into a series that shows the first note: put
//! what matters into `reason` and `action`.

use std::time::Duration;

use cutover_engine::{Note, Severity};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::sync::{mpsc, oneshot};

/// Events that wait to be written; more are dropped, with a warning.
const WAITING: usize = 256;
/// How long the end of a controller waits for the Events before it, at most: the lease is kept until then.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Events after which a recorder is replaced: it keeps those of the last six minutes, to merge what repeats, and looks through all of
/// them for each new one. In a rollout of a thousand splits they would be most of the process's memory.
const REMEMBERED: usize = 200;
/// In bytes, by the API's validation.
const LONGEST_NOTE: usize = 1024;

/// Publishes the Events of one controller. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Events {
    queue: mpsc::Sender<Waiting>,
}

enum Waiting {
    Event(Box<(Event, ObjectReference)>),
    /// Tells that all before it have been tried.
    Mark(oneshot::Sender<()>),
}

impl Events {
    /// Starts publishing for `controller` (such as `cutover.dev/traffic-split`) as `instance` (the pod's name). The task
    /// ends when the last clone is dropped.
    #[must_use]
    pub fn start(client: Client, controller: &str, instance: &str) -> Self {
        let reporter = Reporter { controller: controller.to_owned(), instance: Some(instance.to_owned()) };
        let (queue, mut waiting) = mpsc::channel(WAITING);
        tokio::spawn(async move {
            let new_recorder = || Recorder::new(client.clone(), reporter.clone());
            let (mut recorder, mut remembered) = (new_recorder(), 0);
            while let Some(next) = waiting.recv().await {
                match next {
                    Waiting::Event(told) => {
                        if remembered == REMEMBERED {
                            (recorder, remembered) = (new_recorder(), 0);
                        }
                        remembered += 1;
                        let (event, object) = *told;
                        if let Err(error) = recorder.publish(&event, &object).await {
                            let Event { reason, action, .. } = event;
                            tracing::warn!(%error, action, reason, object = object.name, "event not published");
                        }
                    }
                    // Whoever waited may have given up.
                    Waiting::Mark(reached) => drop(reached.send(())),
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
        if self.queue.try_send(Waiting::Event(Box::new((event, object)))).is_err() {
            tracing::warn!(action, reason, "event dropped: too many wait to be written");
        }
    }

    /// Waits until everything handed over so far has been tried, for at most two seconds: for the end of a controller, while this
    /// replica may still write.
    pub async fn drain(&self) {
        let (reached, mark) = oneshot::channel();
        let tried = async {
            if self.queue.send(Waiting::Mark(reached)).await.is_ok() {
                // Dropped unsent only when the runtime ends.
                drop(mark.await);
            }
        };
        if tokio::time::timeout(LAST_WORDS, tried).await.is_err() {
            tracing::warn!("events are dropped: they were not written in time");
        }
    }
}
