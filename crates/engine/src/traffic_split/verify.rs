//! The weight as it was seen on the wire: how well so many answers know it. Pure.

use cutover_api::v1alpha1::traffic_split::VerifiedWeight;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::conditions::{bounded, whole_seconds};

/// Of a normal distribution, for a confidence of 99 %.
const Z: f64 = 2.575_829_303_548_901;
/// Of the answers, so many must say who gave them.
const ENOUGH: f64 = 0.5;

/// Answers by who gave them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// The new side.
    pub new: u32,
    /// The legacy side.
    pub legacy: u32,
    /// Nobody, somebody else, or an answer that does not say.
    pub other: u32,
}

/// Wilson's score interval: between which shares the true one is, given `hits` of `count`.
#[must_use]
pub fn interval(hits: u32, count: u32) -> (f64, f64) {
    if count == 0 {
        return (0.0, 1.0);
    }
    let (n, p) = (f64::from(count), f64::from(hits) / f64::from(count));
    let z2 = Z * Z;
    let middle = p + z2 / (2.0 * n);
    let spread = Z * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z2 / n;
    (((middle - spread) / scale).max(0.0), ((middle + spread) / scale).min(1.0))
}

/// What a sample says about the weight in force; `Err` when none could be taken, and why.
#[must_use]
pub fn verified(
    sample: &Result<Tally, String>,
    applied_weight: i32,
    weight_total: i32,
    now: Timestamp,
) -> VerifiedWeight {
    let unseen = |samples, message| VerifiedWeight {
        applied_weight,
        new_weight: None,
        low: None,
        high: None,
        samples,
        confirmed: false,
        at: Time(whole_seconds(now)),
        message: Some(bounded(message)),
    };
    let tally = match sample {
        Ok(tally) => tally,
        Err(why) => return unseen(0, format!("spec.verify.http: nothing was seen: {why}")),
    };
    let (said, all) = (tally.new + tally.legacy, tally.new + tally.legacy + tally.other);
    let samples = i32::try_from(said).unwrap_or(i32::MAX);
    if said == 0 || f64::from(said) < ENOUGH * f64::from(all) {
        let message = format!("spec.verify.http: only {said} of {all} answers say by its header which side gave them");
        return unseen(samples, message);
    }
    let total = f64::from(weight_total);
    let (low, high) = interval(tally.new, said);
    // Outward, and by whole parts: an interval is not made narrower than it is.
    let (low, high) = (floor(low * total), ceil(high * total));
    // What nobody is to get, or everybody, one answer disproves.
    let allowed = match applied_weight {
        0 => tally.new == 0,
        all if all == weight_total => tally.legacy == 0,
        weight => (low..=high).contains(&weight),
    };
    let message = format!(
        "of {said} answers the new side gave {}, which is {low} to {high} of {weight_total}, and the weight in force is {applied_weight}",
        tally.new
    );
    VerifiedWeight {
        new_weight: Some(nearest(f64::from(tally.new) / f64::from(said) * total)),
        low: Some(low),
        high: Some(high),
        message: (!allowed).then_some(message),
        confirmed: allowed,
        ..unseen(samples, String::new())
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a share of at most 10000")]
fn floor(share: f64) -> i32 {
    share.floor() as i32
}

#[expect(clippy::cast_possible_truncation, reason = "a share of at most 10000")]
fn ceil(share: f64) -> i32 {
    share.ceil() as i32
}

#[expect(clippy::cast_possible_truncation, reason = "a share of at most 10000")]
fn nearest(share: f64) -> i32 {
    share.round() as i32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn at(new: u32, legacy: u32, other: u32, weight: i32) -> VerifiedWeight {
        verified(&Ok(Tally { new, legacy, other }), weight, 100, Timestamp::UNIX_EPOCH)
    }

    #[rstest]
    #[case::as_it_should(50, 150, 0, 25, true)]
    #[case::by_chance(40, 160, 0, 25, true)]
    #[case::far_off(100, 100, 0, 25, false)]
    #[case::nobody(0, 200, 0, 0, true)]
    #[case::one_of_nobody(1, 199, 0, 0, false)]
    #[case::everybody(200, 0, 0, 100, true)]
    #[case::all_but_one(199, 1, 0, 100, false)]
    #[case::seldom(0, 200, 0, 1, true)]
    #[case::not_said(20, 70, 110, 25, false)]
    #[case::nothing(0, 0, 0, 0, false)]
    fn a_weight_is_confirmed_by_what_is_seen(
        #[case] new: u32,
        #[case] legacy: u32,
        #[case] other: u32,
        #[case] weight: i32,
        #[case] confirmed: bool,
    ) {
        let seen = at(new, legacy, other, weight);
        assert_eq!(seen.confirmed, confirmed, "{seen:?}");
        assert_eq!(seen.message.is_none(), confirmed, "{seen:?}");
    }

    #[test]
    fn a_sample_that_was_not_taken_says_why() {
        let seen = verified(&Err("not allowed".to_owned()), 25, 100, Timestamp::UNIX_EPOCH);
        assert_eq!((seen.new_weight, seen.confirmed), (None, false));
        assert!(seen.message.unwrap().ends_with("not allowed"));
    }

    /// By the exact distribution: how often the interval holds the true share.
    #[rstest]
    fn the_interval_holds_the_true_share_nearly_always(
        #[values(0.01, 0.05, 0.1, 0.25, 0.5, 0.9, 0.99)] share: f64,
        #[values(50, 200, 1_000)] count: u32,
    ) {
        let (mut held, mut ways) = (0.0, 0.0);
        for hits in 0..=count {
            let (yes, no) = (f64::from(hits), f64::from(count - hits));
            let (low, high) = interval(hits, count);
            if (low..=high).contains(&share) {
                held += (ways + yes * share.ln() + no * (1.0 - share).ln()).exp();
            }
            // The logarithm of how many ways there are for one more.
            ways += (no / (yes + 1.0)).ln();
        }
        assert!(held > 0.975, "{held} at {share} of {count}");
    }

    proptest! {
        #[test]
        fn an_interval_is_around_what_was_seen(hits in 0_u32..500, more in 0_u32..500) {
            let count = hits + more;
            let (low, high) = interval(hits, count);
            prop_assert!((0.0..=1.0).contains(&low) && low <= high && high <= 1.0);
            if count > 0 {
                let seen = f64::from(hits) / f64::from(count);
                prop_assert!(low <= seen + 1e-9 && seen <= high + 1e-9);
                let (narrow_low, narrow_high) = interval(hits * 4, count * 4);
                prop_assert!(narrow_high - narrow_low <= high - low + 1e-9, "more answers know better");
            }
        }
    }
}
