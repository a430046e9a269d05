//! The test's arithmetic, and its promise shown by simulation.

use proptest::prelude::*;
use rstest::rstest;

use super::*;

const SIGNIFICANCE: f64 = 0.01;
const MARGIN: f64 = 0.002;
const LEAST: f64 = 200.0;

/// A generator of its own, so that the figures are the same on every machine (splitmix64).
struct Chance(u64);

impl Chance {
    /// Between 0 and 1, neither of them.
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let upper = u32::try_from((z ^ (z >> 31)) >> 32).unwrap();
        (f64::from(upper) + 0.5) / (f64::from(u32::MAX) + 1.0)
    }

    /// Errors among so many requests: from one to the next, the number of successes is geometric.
    fn errors(&mut self, requests: u32, rate: f64) -> f64 {
        let (mut at, mut errors) = (0.0, 0.0);
        loop {
            at += (self.unit().ln() / (1.0 - rate).ln()).floor() + 1.0;
            if at > f64::from(requests) {
                return errors;
            }
            errors += 1.0;
        }
    }
}

/// A soak: what each side gets between two looks, and how it fails.
#[derive(Clone, Copy)]
struct Soak {
    legacy: (u32, f64),
    new: (u32, f64),
}

impl Soak {
    /// The look at which it fails, if it does within so many.
    fn fails_at(self, looks: u32, chance: &mut Chance) -> Option<u32> {
        let (mut legacy, mut new) = (Counts::default(), Counts::default());
        (1..=looks).find(|_| {
            for (side, (requests, rate)) in [(&mut legacy, self.legacy), (&mut new, self.new)] {
                side.requests += f64::from(requests);
                side.errors += chance.errors(requests, rate);
            }
            let enough = legacy.requests.min(new.requests) >= LEAST;
            enough && log_evidence(legacy, new, MARGIN) >= (1.0 / SIGNIFICANCE).ln()
        })
    }
}

/// Rates, and requests between two looks: even sides, a new side with little traffic, rare errors, frequent ones. Each is healthy at the
/// worst: new is a whole margin above legacy.
const HEALTHY: [Soak; 4] = [
    Soak { legacy: (300, 0.01), new: (300, 0.012) },
    Soak { legacy: (570, 0.01), new: (30, 0.012) },
    Soak { legacy: (300, 0.001), new: (300, 0.003) },
    Soak { legacy: (300, 0.2), new: (300, 0.202) },
];

#[test]
fn of_a_thousand_healthy_soaks_no_more_fail_than_was_promised() {
    let mut chance = Chance(4_711);
    let failed = |soak: Soak| (0..250).filter(|_| soak.fails_at(240, &mut chance).is_some()).count();
    let failed: usize = HEALTHY.into_iter().map(failed).sum();
    println!("healthy soaks that failed: {failed} of 1000, looked at 240 times each; promised: at most 10");
    assert!(failed <= 10, "{failed} of 1000 soaks failed");
}

/// The figures that docs/checks.md has.
#[rstest]
#[case::even_sides(Soak { legacy: (300, 0.01), new: (300, 0.02) }, 40, 80)]
#[case::five_percent(Soak { legacy: (570, 0.01), new: (30, 0.02) }, 250, 500)]
#[case::frequent_errors(Soak { legacy: (300, 0.05), new: (300, 0.1) }, 8, 16)]
fn a_doubled_error_rate_is_caught(#[case] soak: Soak, #[case] median: u32, #[case] ninetieth: u32) {
    let mut chance = Chance(815);
    let mut looks: Vec<_> = (0..100).map(|_| soak.fails_at(1_000, &mut chance).unwrap_or(u32::MAX)).collect();
    looks.sort_unstable();
    let at = |look: u32| u64::from(look) * u64::from(soak.new.0);
    println!(
        "{:.0} % of the requests, {} -> {}: caught after {} requests to the new side (half of the soaks), {} (nine in ten)",
        100.0 * f64::from(soak.new.0) / f64::from(soak.new.0 + soak.legacy.0),
        soak.legacy.1,
        soak.new.1,
        at(looks[49]),
        at(looks[89]),
    );
    assert!(looks[49] <= median && looks[89] <= ninetieth, "{} and {} looks", looks[49], looks[89]);
}

#[rstest]
#[case(1.0, 0.0)]
#[case(2.0, 0.0)]
#[case(0.5, 0.572_364_942_924_700_1)]
#[case(11.0, 15.104_412_573_075_516)]
#[case(101.0, 363.739_375_555_563_5)]
#[case(1e6, 12_815_504.569_147_611)]
fn the_gamma_function_is_right(#[case] x: f64, #[case] expected: f64) {
    assert!((log_gamma(x) - expected).abs() <= 1e-14_f64.max(expected * 1e-14) * 4.0, "{}", log_gamma(x));
}

#[test]
fn all_failing_is_evidence_and_none_failing_is_none() {
    let (well, ill) = (Counts { errors: 0.0, requests: 100.0 }, Counts { errors: 100.0, requests: 100.0 });
    assert!(log_evidence(well, ill, 0.0) > 20.0);
    assert!(log_evidence(ill, well, 0.0).abs() < f64::EPSILON);
    assert!(log_evidence(well, well, 0.0).abs() < f64::EPSILON);
}

#[rstest]
#[case(f64::NAN, 1.0)]
#[case(1.0, f64::INFINITY)]
#[case(-1.0, 1.0)]
fn what_is_no_count_is_none(#[case] errors: f64, #[case] requests: f64) {
    assert_eq!(Counts::new(errors, requests), None);
}

#[test]
fn there_are_never_more_errors_than_requests() {
    assert_eq!(Counts::new(5.0, 4.5), Some(Counts { errors: 4.5, requests: 4.5 }));
}

fn counts() -> impl Strategy<Value = Counts> {
    (1.0..1e7_f64, 0.0..=1.0_f64).prop_map(|(requests, rate)| Counts { errors: requests * rate, requests })
}

proptest! {
    /// The null hypothesis's best is at least as likely as any pair of rates within it.
    #[test]
    fn no_pair_within_the_null_is_likelier(
        legacy in counts(), new in counts(), margin in 0.0..0.2_f64, rate in 0.0..1.0_f64, below in 0.0..1.0_f64,
    ) {
        prop_assume!(new.rate() > legacy.rate() + margin);
        let rate_of_new = (rate + margin).min(1.0) * below;
        let pair = log_likelihood(legacy, rate) + log_likelihood(new, rate_of_new);
        let best = log_null(legacy, new, margin);
        prop_assert!(best >= pair - 1e-6 * pair.abs().max(1.0), "{best} < {pair}");
    }

    #[test]
    fn evidence_is_a_number_and_falls_as_the_margin_grows(legacy in counts(), new in counts(), margin in 0.0..0.5_f64) {
        let (less, more) = (log_evidence(legacy, new, margin), log_evidence(legacy, new, margin + 0.01));
        prop_assert!(less.is_finite() && more.is_finite());
        prop_assert!(less.max(0.0) + 1e-6 * less.abs().max(1.0) >= more);
    }
}
