//! Who may hold the lease: a pure function of what was read and when it was seen to change.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;

/// Time on this process's monotonic clock, counted from a start of its own.
pub type Mono = Duration;

/// What the lease says. The timestamps serve only to notice that the record changed; they are another machine's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Who holds it; `None` when it was given back.
    pub holder: Option<String>,
    /// For how long after a change nobody else may take it.
    pub duration: Duration,
    /// How often it changed hands.
    pub transitions: i32,
    /// When the holder took it, by the holder's clock.
    pub acquired: Option<Timestamp>,
    /// When the holder renewed it, by the holder's clock.
    pub renewed: Option<Timestamp>,
}

impl Record {
    /// Reads a lease; `default` stands in for a missing duration.
    #[must_use]
    pub fn read(lease: &Lease, default: Duration) -> Self {
        let spec = lease.spec.as_ref();
        Self {
            holder: spec.and_then(|s| s.holder_identity.clone()).filter(|holder| !holder.is_empty()),
            duration: spec
                .and_then(|s| s.lease_duration_seconds)
                .and_then(|seconds| u64::try_from(seconds).ok())
                .filter(|seconds| *seconds > 0)
                .map_or(default, Duration::from_secs),
            transitions: spec.and_then(|s| s.lease_transitions).unwrap_or(0),
            acquired: spec.and_then(|s| s.acquire_time.as_ref()).map(|time| time.0),
            renewed: spec.and_then(|s| s.renew_time.as_ref()).map(|time| time.0),
        }
    }
}

/// A record, and when this process first saw it in this form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The record.
    pub record: Record,
    /// When it was first seen so.
    pub at: Mono,
}

impl Seen {
    /// The sighting after `record` was read at `now`: the old one if nothing changed.
    #[must_use]
    pub fn update(previous: Option<&Self>, record: Record, now: Mono) -> Self {
        match previous {
            Some(seen) if seen.record == record => seen.clone(),
            _ => Self { record, at: now },
        }
    }

    fn expires(&self) -> Mono {
        self.at.saturating_add(self.record.duration)
    }
}

/// What a candidate does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// There is no lease: create it.
    Create,
    /// It is free, given back or expired: put our name in it.
    Take,
    /// It is ours: renew it.
    Renew,
    /// It is another's, at least until then.
    WaitUntil(Mono),
    /// It was ours and is another's now.
    Lost {
        /// The holder that the record names.
        holder: String,
    },
}

/// Decides from the lease as last read (`None`: it does not exist), from the last record seen, and when.
///
/// A lease that disappeared while another held it is waited out like one that is still there: its holder may not
/// have noticed.
#[must_use]
pub fn evaluate(lease: Option<&Record>, last: Option<&Seen>, me: &str, leading: bool, now: Mono) -> Decision {
    let others = |seen: &&Seen| seen.record.holder.as_deref().is_some_and(|holder| holder != me);
    let Some(record) = lease else {
        return match last.filter(others) {
            Some(seen) if !leading && now < seen.expires() => Decision::WaitUntil(seen.expires()),
            _ => Decision::Create,
        };
    };
    match record.holder.as_deref() {
        Some(holder) if holder == me => Decision::Renew,
        Some(holder) if leading => Decision::Lost { holder: holder.to_owned() },
        None => Decision::Take,
        Some(_) => {
            let seen = Seen::update(last, record.clone(), now);
            if now >= seen.expires() { Decision::Take } else { Decision::WaitUntil(seen.expires()) }
        }
    }
}
