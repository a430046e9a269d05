//! How the weight in force moves: in steps of the ramp, and by itself when a side dies.

use cutover_api::v1alpha1::traffic_split::{FailedOver, Failover, Ramp, Side};
use jiff::SignedDuration;
use proptest::prelude::*;

use super::{
    super::ramp::{pause, time_for},
    decide::Cluster,
    *,
};

fn ramped(max_step: i32, interval: &str) -> Cluster {
    let mut cluster = Cluster::new();
    cluster.spec.ramp = Some(Ramp { max_step, interval: interval.parse().unwrap() });
    cluster
}

fn applied(cluster: &Cluster) -> i32 {
    cluster.status.applied_weight.unwrap_or_default()
}

/// Reconciles whenever it is due, until nothing is due any more; gives the instants at which the weight in force was another.
fn run(cluster: &mut Cluster) -> Vec<(i64, i32)> {
    let mut seen = vec![(cluster.second, applied(cluster))];
    for _ in 0..400 {
        cluster.reconcile();
        if seen.last().is_some_and(|(_, last)| *last != applied(cluster)) {
            seen.push((cluster.second, applied(cluster)));
        }
        let wait = cluster.decide().wanted.wait;
        assert_eq!(wait, pause(&cluster.spec, &cluster.status, cluster.now()), "both know when to look again");
        let Some(wait) = wait else { return seen };
        cluster.second += wait.as_secs().max(1);
    }
    panic!("no end: {seen:?}");
}

#[test]
fn a_ramp_is_walked_in_steps_there_and_back() {
    let mut cluster = ramped(40, "10s");
    cluster.reconcile();
    for (to, way) in [(100, [40, 80, 100]), (0, [60, 20, 0])] {
        cluster.spec.new_weight = to;
        let seen = run(&mut cluster);
        assert_eq!(seen.iter().skip(1).map(|(_, weight)| *weight).collect::<Vec<_>>(), way);
        let pauses = seen.windows(2).skip(1).map(|pair| pair[1].0 - pair[0].0).collect::<Vec<_>>();
        assert!(pauses.iter().all(|pause| *pause >= 10), "{pauses:?}");
        assert_eq!(cluster.condition("Ready").map(|(is, _)| is), Some("True"));
    }
}

#[test]
fn a_ramp_is_no_reason_to_stay_with_the_dead_nor_to_resist_force() {
    let mut cluster = ramped(10, "1h");
    cluster.spec.new_weight = 100;
    cluster.spec.ramp = None;
    cluster.reconcile();
    cluster.spec.ramp = Some(Ramp { max_step: 10, interval: "1h".parse().unwrap() });
    cluster.claims = vec![claim("a", 1, Some(0))];
    cluster.claims[0].request.as_mut().unwrap().force = true;
    run(&mut cluster);
    assert_eq!(applied(&cluster), 0);

    let mut cluster = ramped(10, "1h");
    cluster.claims = vec![claim("a", 1, Some(10))];
    cluster.reconcile();
    assert_eq!(applied(&cluster), 10);
    cluster.claims = vec![claim("a", 2, Some(0))];
    cluster.ready = [3, 0];
    cluster.reconcile();
    assert_eq!(applied(&cluster), 0, "the hour is not over, and the new side is dead");
}

#[test]
fn a_status_from_the_future_does_not_hold_the_weight_for_ever() {
    let mut cluster = ramped(10, "10s");
    cluster.spec.new_weight = 50;
    cluster.reconcile();
    cluster.second -= 100_000;
    let wait = cluster.decide().wanted.wait.unwrap();
    assert!(wait <= SignedDuration::from_secs(11), "{wait:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_weight_in_force_never_moves_faster_than_its_ramp(
        max_step in 1..60_i32,
        interval in 1..60_i64,
        moves in prop::collection::vec((0..=100_i32, 0..40_i64), 1..8),
    ) {
        let mut cluster = ramped(max_step, &format!("{interval}s"));
        cluster.reconcile();
        let mut last = (cluster.second, applied(&cluster));
        let mut changed = None;
        for (weight, seconds) in moves.into_iter().chain([(37, 100 * 60)]) {
            cluster.spec.new_weight = weight;
            for _ in 0..seconds {
                cluster.reconcile();
                let now = (cluster.second, applied(&cluster));
                if now.1 != last.1 {
                    prop_assert!((now.1 - last.1).abs() <= max_step, "{:?} {:?}", last, now);
                    prop_assert!(changed.is_none_or(|at| now.0 - at >= interval), "{:?} {:?}", changed, now);
                    changed = Some(now.0);
                    last = now;
                }
                if now.1 == weight {
                    break;
                }
            }
        }
        prop_assert_eq!(applied(&cluster), 37, "and it arrives");
    }

    #[test]
    fn a_forecast_of_a_ramp_is_not_too_short(max_step in 1..60_i32, from in 0..=100_i32, to in 0..=100_i32) {
        let ramp = Ramp { max_step, interval: "10s".parse().unwrap() };
        let mut cluster = ramped(max_step, "10s");
        cluster.spec.ramp = None;
        cluster.spec.new_weight = from;
        cluster.reconcile();
        cluster.second += 3_600;
        cluster.spec.ramp = Some(ramp);
        cluster.spec.new_weight = to;
        let began = cluster.second;
        let seen = run(&mut cluster);
        let took = seen.last().unwrap().0 - began;
        prop_assert!(took <= time_for(ramp, from, to).as_secs() + 5, "{took} {:?}", time_for(ramp, from, to));
        prop_assert_eq!(applied(&cluster), to);
    }
}

fn automatic(weight: i32) -> Cluster {
    let mut cluster = Cluster::new();
    cluster.spec.failover = Failover::Automatic;
    cluster.spec.new_weight = weight;
    cluster.reconcile();
    assert_eq!(applied(&cluster), weight);
    cluster
}

/// Looks every second, for so long.
fn watch(cluster: &mut Cluster, seconds: i64) {
    let end = cluster.second + seconds;
    while cluster.second < end {
        cluster.reconcile();
    }
}

#[test]
fn a_side_that_dies_gives_its_share_to_the_other_within_ten_seconds() {
    for (ready, to, from) in [([3, 0], 0, Side::New), ([0, 3], 100, Side::Legacy)] {
        let mut cluster = automatic(30);
        cluster.ready = ready;
        watch(&mut cluster, 4);
        assert_eq!((applied(&cluster), cluster.status.died.len()), (30, 1), "a moment is no death");
        watch(&mut cluster, 5);
        assert_eq!((applied(&cluster), cluster.carried()), (to, vec![Some(to); 2]));
        let over = cluster.status.failed_over.clone().unwrap();
        assert_eq!((over.from, over.new_weight), (from, 30));
        assert_eq!(cluster.condition("Ready"), Some(("True", "FailedOver")));
        assert_eq!(cluster.condition("SpecDiverged").map(|(is, _)| is), Some("True"));
    }
}

#[test]
fn a_failover_does_not_ask_for_full_capacity() {
    let mut cluster = Cluster::new();
    cluster.spec.failover = Failover::Automatic;
    cluster.spec.safety = serde_json::from_value(json!({"new": {"fullCapacityEndpoints": 10}})).unwrap();
    cluster.reconcile();
    cluster.ready = [0, 1];
    watch(&mut cluster, 10);
    assert_eq!(applied(&cluster), 100, "one endpoint is more than none");
    watch(&mut cluster, 10);
    assert_eq!(applied(&cluster), 100);
}

#[test]
fn what_failed_over_stays_until_a_person_or_a_phase_moves_it() {
    let mut cluster = automatic(30);
    cluster.ready = [3, 0];
    watch(&mut cluster, 10);
    cluster.ready = [3, 3];
    watch(&mut cluster, 600);
    assert_eq!(applied(&cluster), 0, "it does not come back by itself");
    cluster.spec.new_weight = 20;
    cluster.reconcile();
    assert_eq!((applied(&cluster), &cluster.status.failed_over), (20, &None));

    cluster.ready = [3, 0];
    watch(&mut cluster, 10);
    assert_eq!(applied(&cluster), 0);
    cluster.ready = [3, 3];
    cluster.claims = vec![claim("a", 1, Some(50))];
    cluster.reconcile();
    assert_eq!((applied(&cluster), &cluster.status.failed_over), (50, &None));
}

#[test]
fn under_a_phase_and_where_it_is_off_nothing_fails_over() {
    let mut off = automatic(30);
    off.spec.failover = Failover::Off;
    let mut held = automatic(30);
    held.claims = vec![claim("a", 1, None)];
    let mut unknown = automatic(30);
    unknown.known = false;
    for mut cluster in [off, held, unknown] {
        cluster.ready = [3, 0];
        watch(&mut cluster, 60);
        assert_eq!(applied(&cluster), 30);
    }
}

#[test]
fn a_side_that_was_never_ready_has_not_died_and_two_dead_sides_have_nowhere_to_go() {
    let mut cluster = Cluster::new();
    cluster.spec.failover = Failover::Automatic;
    cluster.ready = [0, 3];
    watch(&mut cluster, 60);
    assert_eq!(applied(&cluster), 0, "legacy is still being started");

    let mut cluster = automatic(30);
    cluster.ready = [0, 0];
    watch(&mut cluster, 60);
    assert_eq!(applied(&cluster), 30);
    cluster.ready = [1, 0];
    watch(&mut cluster, 10);
    assert_eq!(applied(&cluster), 0, "the first that comes back takes everything");
}

#[test]
fn two_sides_that_die_in_turn_are_not_played_off_against_each_other() {
    let mut cluster = automatic(30);
    let mut changes = 0;
    let mut last = 30;
    for minute in 0..20 {
        cluster.ready = if minute % 2 == 0 { [3, 0] } else { [0, 3] };
        for _ in 0..60 {
            cluster.reconcile();
            changes += i32::from(applied(&cluster) != last);
            last = applied(&cluster);
        }
    }
    assert!((2..=5).contains(&changes), "{changes} failovers in 20 minutes");
}

#[test]
fn the_time_of_a_death_outlives_the_operator() {
    let mut cluster = automatic(30);
    cluster.ready = [3, 0];
    cluster.reconcile();
    assert_eq!(cluster.status.died.len(), 1);
    // It was away for a while.
    cluster.second += 30;
    cluster.reconcile();
    assert_eq!(applied(&cluster), 0);
    let FailedOver { new_weight, .. } = cluster.status.failed_over.clone().unwrap();
    assert_eq!(new_weight, 30);
}
