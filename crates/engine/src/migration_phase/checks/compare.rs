//! The new side's errors against legacy's. Pure arithmetic on counts since the step began.
//!
//! **Method.** A mixture sequential probability ratio test (mSPRT) of "the new side's error rate is at most `margin` above legacy's".
//! The evidence is an e-process: the likelihood of all requests so far, each side's rate mixed over a Beta prior that was fixed
//! beforehand, divided by the largest likelihood that any pair of rates within the null hypothesis reaches. For every pair within it that
//! ratio is at most a non-negative martingale which begins at 1, so that by Ville's inequality it ever comes to `1 / significance` with
//! a probability of at most `significance`: one may look as often as one likes and stop whenever one wants.
//!
//! **Sources.** H. Robbins, *Statistical methods related to the law of the iterated logarithm*, Ann. Math. Stat. 41 (1970): mixtures;
//! R. Johari, P. Koomen, L. Pekelis, D. Walsh, *Always valid inference: continuous monitoring of A/B tests*, Operations Research 70
//! (2022): the mSPRT for experiments; L. Wasserman, A. Ramdas, S. Balakrishnan, *Universal inference*, PNAS 117 (2020): dividing by the
//! largest likelihood of a composite null hypothesis.
//!
//! **What it assumes.** A request's chance to fail depends on its side, and not on other requests. Errors that come in clusters (an outage
//! of something that both sides use) are what `margin` is for. Counts come from `increase()`, which sees to counters that begin anew,
//! and which estimates at the window's ends: they need not be whole.

/// The prior of each side's error rate, Beta(½, 10): most of it lies below 10 %, where error rates are. Any fixed prior keeps the promise;
/// this one needs fewer requests to notice a small rate that grew.
const PRIOR: (f64, f64) = (0.5, 10.0);
/// Halvings of an interval no longer than 1: past the precision of the rates.
const HALVINGS: u32 = 60;

/// What one side did since the step began.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    /// Requests that failed.
    pub errors: f64,
    /// All requests.
    pub requests: f64,
}

impl Counts {
    /// `None` if these are no counts. Estimates at the window's ends may make more errors than requests of a few.
    #[must_use]
    pub fn new(errors: f64, requests: f64) -> Option<Self> {
        let count = |n: f64| n.is_finite() && n >= 0.0;
        (count(errors) && count(requests)).then(|| Self { errors: errors.min(requests), requests })
    }

    /// Share of the requests that failed; zero if there were none.
    #[must_use]
    pub fn rate(self) -> f64 {
        if self.requests > 0.0 { self.errors / self.requests } else { 0.0 }
    }

    fn successes(self) -> f64 {
        self.requests - self.errors
    }
}

/// Natural logarithm of the evidence that the new side's error rate is more than `margin` above legacy's. Zero when the counts do not even
/// point that way. The promise of the module holds for `log_evidence >= ln(1 / significance)`.
#[must_use]
pub fn log_evidence(legacy: Counts, new: Counts, margin: f64) -> f64 {
    if new.rate() <= legacy.rate() + margin {
        return 0.0;
    }
    log_mixture(legacy) + log_mixture(new) - log_null(legacy, new, margin)
}

/// Logarithm of the likelihood, mixed over the prior.
fn log_mixture(side: Counts) -> f64 {
    let (a, b) = PRIOR;
    log_beta(a + side.errors, b + side.successes()) - log_beta(a, b)
}

/// Logarithm of the largest likelihood under "new is at most `margin` above legacy", given that the counts themselves say otherwise: then
/// it lies where new is exactly `margin` above legacy, and legacy's rate between what each side's own counts say it is. The likelihood
/// is concave there, so that its slope finds it.
fn log_null(legacy: Counts, new: Counts, margin: f64) -> f64 {
    let (mut low, mut high) = (legacy.rate(), new.rate() - margin);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if slope(legacy, middle) + slope(new, middle + margin) > 0.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
    let rate = f64::midpoint(low, high);
    log_likelihood(legacy, rate) + log_likelihood(new, rate + margin)
}

fn slope(side: Counts, rate: f64) -> f64 {
    let part = |count: f64, rate: f64| if count > 0.0 { count / rate } else { 0.0 };
    part(side.errors, rate) - part(side.successes(), 1.0 - rate)
}

fn log_likelihood(side: Counts, rate: f64) -> f64 {
    let part = |count: f64, rate: f64| if count > 0.0 { count * rate.max(f64::MIN_POSITIVE).ln() } else { 0.0 };
    part(side.errors, rate) + part(side.successes(), 1.0 - rate)
}

fn log_beta(a: f64, b: f64) -> f64 {
    log_gamma(a) + log_gamma(b) - log_gamma(a + b)
}

/// Logarithm of the gamma function of a positive number: Stirling's series, from 15 on, where its first terms are exact to a double.
fn log_gamma(x: f64) -> f64 {
    let (mut x, mut product) = (x, 1.0_f64);
    while x < 15.0 {
        product *= x;
        x += 1.0;
    }
    let square = x * x;
    let series = (1.0 / 12.0 - (1.0 / 360.0 - (1.0 / 1260.0 - 1.0 / (1680.0 * square)) / square) / square) / x;
    (x - 0.5) * x.ln() - x + 0.5 * std::f64::consts::TAU.ln() + series - product.ln()
}

#[cfg(test)]
mod tests;
