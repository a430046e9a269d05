//! One candidate's view of the lease and its next step: pure, driven by answers and a clock given from outside.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};

use super::evaluate::{Decision, Mono, Record, Seen, evaluate};

/// The three durations of the election; `retry < renew_deadline < lease`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// For how long after the last change nobody else takes the lease. Whole seconds.
    pub lease: Duration,
    /// For how long after the last confirmed renewal the holder goes on writing.
    pub renew_deadline: Duration,
    /// Between renewals, and between attempts that failed.
    pub retry: Duration,
}

impl Timing {
    /// Says what is wrong with the durations, if anything.
    ///
    /// # Errors
    /// A sentence for the user.
    pub fn validate(&self) -> Result<(), String> {
        if self.lease < Duration::from_secs(1) || self.lease.subsec_nanos() != 0 {
            return Err("the lease duration must be whole seconds, at least 1".to_owned());
        }
        if self.renew_deadline >= self.lease {
            return Err("the renew deadline must be shorter than the lease duration".to_owned());
        }
        if self.retry.is_zero() || self.retry.saturating_mul(2) > self.renew_deadline {
            return Err("the retry period must be positive and at most half of the renew deadline".to_owned());
        }
        Ok(())
    }
}

/// Why leadership ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// No renewal was confirmed in time.
    #[error("the lease could not be renewed before the deadline")]
    Deadline,
    /// The record names another.
    #[error("the lease was taken by {0}")]
    TakenBy(String),
}

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Read the lease.
    Observe,
    /// Create it as given; the answer is 409 if somebody else was faster.
    Create(Box<Lease>),
    /// Replace it as given; the resourceVersion in it makes an outdated replacement fail.
    Replace(Box<Lease>),
    /// Nothing before then.
    Wait(Mono),
    /// Leadership is over.
    Lost(Why),
}

/// What came of a step.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The lease as read; `None` if there is none.
    Current(Option<Box<Lease>>),
    /// The lease as written.
    Written(Box<Lease>),
    /// Not written: somebody else wrote in between.
    Conflict,
    /// No answer, or one that says nothing about the lease. A write may or may not have happened.
    Failed,
}

#[derive(Debug, Clone)]
enum Known {
    Unknown,
    Absent,
    Present(Box<Lease>),
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Tracker {
    me: String,
    name: String,
    timing: Timing,
    known: Known,
    last: Option<Seen>,
    deadline: Option<Mono>,
    not_before: Mono,
}

impl Tracker {
    /// A candidate `me` for the lease called `name`.
    #[must_use]
    pub fn new(me: String, name: String, timing: Timing) -> Self {
        Self { me, name, timing, known: Known::Unknown, last: None, deadline: None, not_before: Mono::ZERO }
    }

    /// Until when this candidate leads; `None` if it never did.
    #[must_use]
    pub fn deadline(&self) -> Option<Mono> {
        self.deadline
    }

    /// The holder that was last seen, for the log.
    #[must_use]
    pub fn holder(&self) -> Option<&str> {
        self.last.as_ref().and_then(|seen| seen.record.holder.as_deref())
    }

    /// The next step at `now`; `wall` is only written down for people to read.
    #[must_use]
    pub fn next(&self, now: Mono, wall: Timestamp) -> Step {
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            return Step::Lost(Why::Deadline);
        }
        let lease = match &self.known {
            _ if now < self.not_before => return Step::Wait(self.capped(self.not_before)),
            Known::Unknown => return Step::Observe,
            Known::Absent => None,
            Known::Present(lease) => Some(lease),
        };
        let record = lease.map(|lease| Record::read(lease, self.timing.lease));
        match evaluate(record.as_ref(), self.last.as_ref(), &self.me, self.deadline.is_some(), now) {
            Decision::Create => Step::Create(Box::new(self.write(None, wall))),
            Decision::Take | Decision::Renew => match lease {
                Some(lease) => Step::Replace(Box::new(self.write(Some(lease), wall))),
                None => Step::Observe,
            },
            Decision::WaitUntil(until) => Step::Wait(until),
            Decision::Lost { holder } => Step::Lost(Why::TakenBy(holder)),
        }
    }

    /// Takes in the answer to a step that was sent at `sent` and answered at `now`.
    pub fn answered(&mut self, sent: Mono, answer: Answer, now: Mono) {
        match answer {
            Answer::Current(lease) => self.observed(lease.map(|lease| *lease), now),
            Answer::Written(lease) => {
                self.observed(Some(*lease), now);
                // Counted from the sending: the others saw the change later than that.
                let deadline = sent.saturating_add(self.timing.renew_deadline);
                if deadline > now {
                    self.deadline = Some(deadline);
                }
                self.not_before = sent.saturating_add(self.timing.retry);
            }
            Answer::Conflict => self.known = Known::Unknown,
            Answer::Failed => {
                self.known = Known::Unknown;
                self.not_before = now.saturating_add(self.timing.retry);
            }
        }
    }

    /// Takes in the lease as read or as a watch reported it.
    pub fn observed(&mut self, lease: Option<Lease>, now: Mono) {
        match lease {
            None => self.known = Known::Absent,
            Some(lease) => {
                let record = Record::read(&lease, self.timing.lease);
                self.last = Some(Seen::update(self.last.as_ref(), record, now));
                self.known = Known::Present(Box::new(lease));
            }
        }
    }

    /// The lease given back: without a holder, so that a standby need not wait. `None` if it is not ours.
    #[must_use]
    pub fn released(&self, lease: &Lease, wall: Timestamp) -> Option<Lease> {
        let record = Record::read(lease, self.timing.lease);
        (record.holder.as_deref() == Some(self.me.as_str())).then(|| {
            let mut lease = lease.clone();
            if let Some(spec) = lease.spec.as_mut() {
                spec.holder_identity = Some(String::new());
                spec.renew_time = Some(MicroTime(wall));
            }
            lease
        })
    }

    fn capped(&self, until: Mono) -> Mono {
        self.deadline.map_or(until, |deadline| until.min(deadline))
    }

    fn write(&self, lease: Option<&Lease>, wall: Timestamp) -> Lease {
        let record = lease.map(|lease| Record::read(lease, self.timing.lease));
        let ours = record.as_ref().is_some_and(|record| record.holder.as_deref() == Some(self.me.as_str()));
        let acquired = record.as_ref().filter(|_| ours).and_then(|record| record.acquired).unwrap_or(wall);
        let transitions = record.map_or(0, |record| record.transitions.saturating_add(i32::from(!ours)));
        Lease {
            metadata: lease.map_or_else(
                || ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
                |lease| lease.metadata.clone(),
            ),
            spec: Some(LeaseSpec {
                holder_identity: Some(self.me.clone()),
                lease_duration_seconds: Some(i32::try_from(self.timing.lease.as_secs()).unwrap_or(i32::MAX)),
                acquire_time: Some(MicroTime(acquired)),
                renew_time: Some(MicroTime(wall)),
                lease_transitions: Some(transitions),
                ..LeaseSpec::default()
            }),
        }
    }
}
