//! Who may answer a request that was under way at a given time. No I/O.

use std::time::{Duration, Instant};

use crate::node::System;

/// Who must answer the requests of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The legacy system.
    Legacy,
    /// The new system.
    New,
    /// The legacy or the new system: a split in between.
    Either,
    /// What both systems share.
    Shared,
    /// Nobody: the proxy has no route and answers 404 itself.
    NotRouted,
}

/// The set of right answers for one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "a set of four members, each there or not")]
pub(super) struct Allowed {
    pub(super) legacy: bool,
    pub(super) new: bool,
    pub(super) shared: bool,
    pub(super) not_routed: bool,
}

impl Allowed {
    fn or(self, other: Self) -> Self {
        Self {
            legacy: self.legacy || other.legacy,
            new: self.new || other.new,
            shared: self.shared || other.shared,
            not_routed: self.not_routed || other.not_routed,
        }
    }

    pub(super) fn system(self, system: System) -> bool {
        match system {
            System::Legacy => self.legacy,
            System::New => self.new,
            System::Shared => self.shared,
        }
    }
}

impl From<Expect> for Allowed {
    fn from(expect: Expect) -> Self {
        let none = Self::default();
        match expect {
            Expect::Legacy => Self { legacy: true, ..none },
            Expect::New => Self { new: true, ..none },
            Expect::Either => Self { legacy: true, new: true, ..none },
            Expect::Shared => Self { shared: true, ..none },
            Expect::NotRouted => Self { not_routed: true, ..none },
        }
    }
}

/// The expectations of one stream over time.
#[derive(Debug)]
pub(super) struct Timeline {
    first: Expect,
    changes: Vec<Change>,
}

#[derive(Debug)]
struct Change {
    at: Instant,
    grace: Duration,
    to: Expect,
}

impl Timeline {
    pub(super) fn new(first: Expect) -> Self {
        Self { first, changes: Vec::new() }
    }

    /// From `at` on, `to` is expected; requests started until `at + grace` may still see the former.
    pub(super) fn change(&mut self, at: Instant, grace: Duration, to: Expect) {
        self.changes.push(Change { at, grace, to });
    }

    /// What is right for a request under way from `start` to `end`: everything expected at some
    /// instant of that time, and the former expectation while a change's grace lasts.
    pub(super) fn allowed(&self, start: Instant, end: Instant) -> Allowed {
        let mut allowed = Allowed::default();
        let mut current = self.first;
        // The time over which `current` counts ends a grace after the next change.
        for change in &self.changes {
            if start <= change.at + change.grace {
                allowed = allowed.or(current.into());
            }
            if end < change.at {
                return allowed;
            }
            current = change.to;
        }
        allowed.or(current.into())
    }
}
