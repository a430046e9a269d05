//! Conditions as kstatus wants them: `lastTransitionTime` moves only when the status changes.

use cutover_api::conditions::types;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The longest message that is written.
const MAX_MESSAGE: usize = 1024;

/// One condition to be, before it is compared with what was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Type, from [`types`].
    pub type_: &'static str,
    /// `Some(true)` → `True`, `Some(false)` → `False`, `None` → the condition is left out.
    pub status: Option<bool>,
    /// Reason, from [`cutover_api::conditions::reasons`].
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// How an object is, as kstatus sees it. The three conditions follow from it and cannot contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Declared state reached, or resting as declared.
    Ready,
    /// Moving now.
    Reconciling,
    /// Cannot go on without a person.
    Stalled,
}

impl Health {
    /// `Ready`, `Reconciling` and `Stalled` for this health.
    #[must_use]
    pub fn conditions(self, reason: &'static str, message: &str) -> [Wanted; 3] {
        let wanted = |type_, status| Wanted { type_, status, reason, message: message.to_owned() };
        [
            wanted(types::READY, Some(self == Self::Ready)),
            wanted(types::RECONCILING, (self == Self::Reconciling).then_some(true)),
            wanted(types::STALLED, (self == Self::Stalled).then_some(true)),
        ]
    }
}

/// The conditions that follow `previous` when `wanted` holds from `now` on. Types that `wanted` does not name are dropped; the order is
/// that of `wanted`.
#[must_use]
pub fn merge(
    previous: &[Condition],
    wanted: impl IntoIterator<Item = Wanted>,
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    wanted
        .into_iter()
        .filter_map(|Wanted { type_, status, reason, message }| {
            let status = if status? { "True" } else { "False" };
            let before = previous.iter().find(|c| c.type_ == type_ && c.status == status);
            Some(Condition {
                type_: type_.to_owned(),
                status: status.to_owned(),
                reason: reason.to_owned(),
                message: bounded(message),
                observed_generation: generation,
                last_transition_time: before.map_or(Time(whole_seconds(now)), |c| c.last_transition_time.clone()),
            })
        })
        .collect()
}

/// The instant as the API server stores it: without fractions of a second, so that what was written equals what is read.
#[must_use]
pub fn whole_seconds(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// The message cut at a character boundary so that it fits a status field.
#[must_use]
pub fn bounded(mut message: String) -> String {
    if message.len() > MAX_MESSAGE {
        let cut = (0..=MAX_MESSAGE - 3).rev().find(|i| message.is_char_boundary(*i)).unwrap_or(0);
        message.truncate(cut);
        message.push('…');
    }
    message
}
/// The text, or as much of it as fits into so many bytes, and a sign that there was more.
#[must_use]
pub fn cut(message: &str, longest: usize) -> String {
    if message.len() <= longest {
        return message.to_owned();
    }
    let at = (0..=longest).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
    format!("{}…", message.get(..at).unwrap_or_default())
}
