//! Timers that live in status. Instants are stored in whole seconds, rounded up where a timer starts, so that no timer ends early.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::conditions::whole_seconds;

/// What time it is, and since when somebody has watched.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    pub now: Timestamp,
    pub watching_since: Timestamp,
}

impl Clock {
    /// The start of a timer that begins now.
    pub fn stamp(self) -> Time {
        Time(self.ceiling())
    }

    /// Now, for the record.
    pub fn record(self) -> Time {
        Time(whole_seconds(self.now))
    }

    fn ceiling(self) -> Timestamp {
        let floor = whole_seconds(self.now);
        if floor == self.now { floor } else { floor.checked_add(SignedDuration::from_secs(1)).unwrap_or(floor) }
    }

    /// The instant, or now if the clock was set back behind it: a timer must not wait for the old time to come again.
    pub fn not_ahead(self, at: &Time) -> Time {
        Time(at.0.min(self.ceiling()))
    }

    /// How long ago the instant was; zero if it is to come.
    pub fn since(self, at: &Time) -> SignedDuration {
        self.now.duration_since(at.0).max(SignedDuration::ZERO)
    }

    /// How long ago the instant was, leaving out the time in which nobody watched.
    pub fn watched(self, at: &Time) -> SignedDuration {
        self.now.duration_since(at.0.max(self.watching_since)).max(SignedDuration::ZERO)
    }

    /// When a timer that began at the instant, and that counts watched time only, will have run for `length`.
    pub fn watched_end(self, at: &Time, length: SignedDuration) -> Timestamp {
        after(at.0.max(self.watching_since), length)
    }
}

/// The instant `length` later.
pub(super) fn after(at: Timestamp, length: SignedDuration) -> Timestamp {
    at.checked_add(length).unwrap_or(Timestamp::MAX)
}

/// A timer that can stand still. Its parts live in different structs of the status.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timer<'a> {
    pub start: &'a Time,
    pub held_seconds: i64,
    pub held_since: Option<&'a Time>,
}

impl Timer<'_> {
    /// How long the timer has run.
    pub fn elapsed(self, clock: Clock) -> SignedDuration {
        let end = self.held_since.map_or(clock.now, |at| at.0.min(clock.now));
        let ran = end.duration_since(self.start.0) - SignedDuration::from_secs(self.held_seconds);
        ran.max(SignedDuration::ZERO)
    }

    /// The same, leaving out the time in which nobody watched.
    pub fn watched(self, clock: Clock) -> SignedDuration {
        self.elapsed(clock).min(clock.now.duration_since(clock.watching_since).max(SignedDuration::ZERO))
    }

    /// When it will have run for `length`, if it goes on running.
    pub fn end(self, length: SignedDuration) -> Option<Timestamp> {
        let held = SignedDuration::from_secs(self.held_seconds);
        self.held_since.is_none().then(|| after(self.start.0, length.saturating_add(held)))
    }

    /// The later of [`Self::end`] and the end of as much watched time.
    pub fn watched_end(self, length: SignedDuration, clock: Clock) -> Option<Timestamp> {
        self.end(length).map(|end| end.max(after(clock.watching_since, length)))
    }
}

/// Lets a timer stand still, or run again.
pub(super) fn hold(held_seconds: &mut i64, held_since: &mut Option<Time>, still: bool, clock: Clock) {
    match (still, held_since.as_ref()) {
        (true, None) => *held_since = Some(clock.record()),
        (false, Some(since)) => {
            let stood = clock.stamp().0.duration_since(since.0).as_secs().max(0);
            *held_seconds = held_seconds.saturating_add(stood);
            *held_since = None;
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(millis).unwrap()
    }

    fn clock(millis: i64) -> Clock {
        Clock { now: at(millis), watching_since: at(0) }
    }

    #[test]
    fn a_timer_started_between_two_seconds_does_not_end_early() {
        let start = clock(10_900).stamp();
        let timer = Timer { start: &start, held_seconds: 0, held_since: None };
        assert_eq!(timer.end(SignedDuration::from_secs(30)), Some(at(41_000)));
        assert!(timer.elapsed(clock(40_900)) < SignedDuration::from_secs(30));
        assert_eq!(timer.elapsed(clock(41_000)), SignedDuration::from_secs(30));
    }

    #[test]
    fn a_held_timer_stands_still_and_goes_on_where_it_was() {
        let start = Time(at(0));
        let (mut seconds, mut since) = (0, None);
        hold(&mut seconds, &mut since, true, clock(10_000));
        hold(&mut seconds, &mut since, true, clock(20_000));
        let held = Timer { start: &start, held_seconds: seconds, held_since: since.as_ref() };
        assert_eq!(held.elapsed(clock(60_000)), SignedDuration::from_secs(10));
        assert_eq!(held.end(SignedDuration::from_secs(30)), None);
        hold(&mut seconds, &mut since, false, clock(60_000));
        let runs = Timer { start: &start, held_seconds: seconds, held_since: since.as_ref() };
        assert_eq!(runs.elapsed(clock(65_000)), SignedDuration::from_secs(15));
        assert_eq!(runs.end(SignedDuration::from_secs(30)), Some(at(80_000)));
    }

    #[test]
    fn time_that_nobody_watched_does_not_count() {
        let clock = Clock { now: at(100_000), watching_since: at(95_000) };
        let start = Time(at(0));
        assert_eq!(clock.watched(&start), SignedDuration::from_secs(5));
        assert_eq!(clock.since(&start), SignedDuration::from_secs(100));
        let timer = Timer { start: &start, held_seconds: 0, held_since: None };
        assert_eq!(timer.watched(clock), SignedDuration::from_secs(5));
        assert_eq!(timer.watched_end(SignedDuration::from_secs(30), clock), Some(at(125_000)));
    }

    #[test]
    fn an_instant_to_come_is_now_after_the_clock_was_set_back() {
        assert_eq!(clock(5_000).not_ahead(&Time(at(60_000))).0, at(5_000));
        assert_eq!(clock(5_000).not_ahead(&Time(at(4_000))).0, at(4_000));
        assert_eq!(clock(5_000).since(&Time(at(60_000))), SignedDuration::ZERO);
    }
}
