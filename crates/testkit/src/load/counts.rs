//! Sums of judged requests. No I/O.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::verdict::Verdict;
use crate::node::System;

/// Why a request is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Loss {
    /// A status from 500 to 599.
    ServerError,
    /// A backend answered, with a status other than 2xx and 5xx.
    UnexpectedStatus,
    /// No backend's answer: the proxy's own page, for one.
    NotServed,
    /// The echoed id is missing or is another request's.
    WrongId,
    /// The connection was refused.
    Refused,
    /// The connection could not be made for another reason.
    Connect,
    /// The connection ended before the answer was complete.
    Reset,
    /// What came back is not HTTP, or more than an answer may hold.
    Malformed,
    /// No complete answer in time.
    Timeout,
    /// Not sent: too many requests were waiting for an answer.
    Saturated,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ServerError => "5xx",
            Self::UnexpectedStatus => "unexpected status",
            Self::NotServed => "answered by no backend",
            Self::WrongId => "wrong request id",
            Self::Refused => "refused",
            Self::Connect => "no connection",
            Self::Reset => "reset",
            Self::Malformed => "malformed",
            Self::Timeout => "time-out",
            Self::Saturated => "generator saturated",
        })
    }
}

/// Sums over a set of requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All requests, lost and misrouted ones included.
    pub total: u64,
    /// Answered by a backend of the legacy system, rightly or not, with whatever status.
    pub legacy: u64,
    /// The same for the new system.
    pub new: u64,
    /// The same for what both share.
    pub shared: u64,
    /// Rightly answered by the proxy alone, as nothing was to be routed.
    pub not_routed: u64,
    /// Not answered: see [`Loss`].
    pub lost: u64,
    /// Answered by the wrong side.
    pub misrouted: u64,
    /// Requests sent on a connection of their own.
    pub fresh_connections: u64,
    /// Kept connections found closed before anything was sent on them. Not losses.
    pub stale_connections: u64,
    /// Answers by status.
    pub by_status: BTreeMap<u16, u64>,
    /// Lost requests by reason.
    pub by_loss: BTreeMap<Loss, u64>,
    /// Sum of the times from the planned start to the end of the answer.
    pub latency_sum: Duration,
    /// The longest of them.
    pub latency_max: Duration,
}

/// One judged request, ready to be added.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) verdict: &'a Verdict,
    pub(super) status: Option<u16>,
    pub(super) system: Option<System>,
    pub(super) fresh: bool,
    pub(super) stale: u32,
    pub(super) latency: Duration,
}

impl Counts {
    /// Neither lost nor misrouted.
    #[must_use]
    pub fn good(&self) -> u64 {
        self.total.saturating_sub(self.lost).saturating_sub(self.misrouted)
    }

    /// The new system's share of all answers of the two systems, 0 to 1; none without an answer.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    pub fn share_new(&self) -> Option<f64> {
        let answered = self.legacy + self.new;
        (answered > 0).then(|| self.new as f64 / answered as f64)
    }

    /// Mean time from the planned start to the end of the answer.
    #[must_use]
    pub fn latency_mean(&self) -> Duration {
        u32::try_from(self.total).ok().and_then(|total| self.latency_sum.checked_div(total)).unwrap_or_default()
    }

    /// Adds another sum to this one.
    pub fn add(&mut self, other: &Self) {
        // Destructured, so that a new field cannot be forgotten here.
        let Self {
            total,
            legacy,
            new,
            shared,
            not_routed,
            lost,
            misrouted,
            fresh_connections,
            stale_connections,
            by_status,
            by_loss,
            latency_sum,
            latency_max,
        } = other;
        self.total += total;
        self.legacy += legacy;
        self.new += new;
        self.shared += shared;
        self.not_routed += not_routed;
        self.lost += lost;
        self.misrouted += misrouted;
        self.fresh_connections += fresh_connections;
        self.stale_connections += stale_connections;
        for (status, count) in by_status {
            *self.by_status.entry(*status).or_default() += count;
        }
        for (loss, count) in by_loss {
            *self.by_loss.entry(*loss).or_default() += count;
        }
        self.latency_sum += *latency_sum;
        self.latency_max = self.latency_max.max(*latency_max);
    }

    pub(super) fn record(&mut self, entry: Entry<'_>) {
        self.total += 1;
        match entry.system {
            Some(System::Legacy) => self.legacy += 1,
            Some(System::New) => self.new += 1,
            Some(System::Shared) => self.shared += 1,
            None => {}
        }
        match entry.verdict {
            Verdict::Served => {}
            Verdict::NotRouted => self.not_routed += 1,
            Verdict::Lost(loss) => {
                self.lost += 1;
                *self.by_loss.entry(*loss).or_default() += 1;
            }
            Verdict::Misrouted(_) => self.misrouted += 1,
        }
        if let Some(status) = entry.status {
            *self.by_status.entry(status).or_default() += 1;
        }
        self.fresh_connections += u64::from(entry.fresh);
        self.stale_connections += u64::from(entry.stale);
        self.latency_sum += entry.latency;
        self.latency_max = self.latency_max.max(entry.latency);
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} requests: {} legacy, {} new, {} shared, {} not routed, {} lost, {} misrouted",
            self.total, self.legacy, self.new, self.shared, self.not_routed, self.lost, self.misrouted
        )?;
        for (loss, count) in &self.by_loss {
            write!(f, ", {count} × {loss}")?;
        }
        Ok(())
    }
}
