//! Who is told of a transition. Pure: the controller hands what is decided here to the sinks, once the status is stored.

use std::collections::BTreeSet;

use cutover_api::{
    conditions::reasons,
    v1alpha1::migration_phase::{AuditRecord, NotifyOn},
};

use super::{audit::plain, machine::Machine};

/// One message to one sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Name of the sink.
    pub sink: String,
    /// Of what it is told.
    pub event: NotifyOn,
    /// Namespace of the phase.
    pub namespace: String,
    /// Name of the phase.
    pub phase: String,
    /// UID of the phase.
    pub uid: String,
    /// Present step.
    pub step: Option<String>,
    /// The person who decided it; absent if the operator did.
    pub by: Option<String>,
    /// What happened, for people.
    pub message: String,
    /// The audit record of the same transition.
    pub record: AuditRecord,
}

impl Machine<'_> {
    /// Tells the sinks that want to know of what has just been recorded.
    pub(super) fn notify(&mut self, reason: &str, message: &str) {
        let events = events(reason, self.person.is_some());
        let observed = self.observed;
        if events.is_empty() || observed.sinks.is_empty() {
            return;
        }
        let Some(record) = self.status.audit.as_ref().and_then(|chain| chain.records.last()).cloned() else { return };
        let step = self.status.step.as_ref().map(|step| step.name.clone());
        let by = self.person.as_ref().map(|_| record.who.clone());
        let named = self.guards().map(|guards| guards.notify.clone()).unwrap_or_default();
        for (sink, always) in &observed.sinks {
            let asked = named.iter().find(|receiver| receiver.sink == *sink).map(|receiver| receiver.events.as_slice());
            let wanted = |event: &&NotifyOn| always.contains(event) || asked.is_some_and(|asked| asked.contains(event));
            let Some(event) = events.iter().find(wanted) else { continue };
            self.notifications.push(Notification {
                sink: sink.clone(),
                event: *event,
                namespace: observed.phase.namespace.clone(),
                phase: observed.phase.name.clone(),
                uid: observed.phase.uid.clone(),
                step: step.clone(),
                by: by.clone(),
                message: plain(message),
                record: record.clone(),
            });
        }
    }

    /// Sinks that the phase names and that nobody has configured for it.
    pub(super) fn unknown_sinks(&self) -> Vec<String> {
        let named = self.guards().into_iter().flat_map(|guards| &guards.notify).map(|receiver| &receiver.sink);
        let unknown = named.filter(|sink| !self.observed.sinks.contains_key(*sink));
        unknown.cloned().collect::<BTreeSet<_>>().into_iter().collect()
    }
}

/// What a transition is, the most telling first.
fn events(reason: &str, by_person: bool) -> &'static [NotifyOn] {
    match reason {
        "Started" => &[NotifyOn::Started],
        "StepDone" => &[NotifyOn::StepDone],
        reasons::AWAITING_APPROVAL => &[NotifyOn::AwaitingApproval],
        "Approved" => &[NotifyOn::Approved],
        "Promoted" => &[NotifyOn::Promoted],
        reasons::PREPARE_TIMED_OUT => &[NotifyOn::PrepareTimedOut],
        reasons::HOOK_UNKNOWN => &[NotifyOn::HookUnknown],
        reasons::PAUSED => &[NotifyOn::Paused],
        "Resumed" => &[NotifyOn::Resumed],
        reasons::ROLLING_BACK if by_person => &[NotifyOn::RollingBack],
        reasons::ROLLING_BACK => &[NotifyOn::Failed, NotifyOn::RollingBack],
        reasons::ROLLED_BACK => &[NotifyOn::RolledBack],
        reasons::FROZEN => &[NotifyOn::Failed, NotifyOn::Frozen],
        reasons::COMPLETED => &[NotifyOn::Completed],
        reasons::ABORTED => &[NotifyOn::Aborted],
        "Retried" => &[NotifyOn::Retried],
        _ => &[],
    }
}
