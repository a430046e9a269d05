//! What sides say of themselves when they are asked. Pure.
//!
//! The endpoints of a side outside of the cluster are published by us or by its owner, whether anybody answers there or not. So while
//! the side itself does not answer, none of them counts. What cannot be asked says nothing.

use cutover_api::{conditions::reasons, v1alpha1::traffic_split::Side};

use super::Validated;
use crate::{
    Known,
    conditions::Health,
    router::{Problem, SideBackend},
};

/// What became of asking a side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Probed {
    /// Nobody is to ask.
    #[default]
    Unasked,
    /// It was asked, and there is no answer yet.
    Pending,
    /// It is there.
    Up,
    /// It is not, and why.
    Down(String),
    /// It could not be asked, and why.
    Blind(String),
}

/// How often a side said no in a row, and what follows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    failures: i32,
    now: Option<Probed>,
}

impl Answers {
    /// Takes in an answer: yes, or no and why, or that it could not be asked and why. Whether that changes anything.
    pub fn take(&mut self, answer: Result<Result<(), String>, String>, fail_after: i32) -> bool {
        let before = self.now.clone();
        match answer {
            Ok(Ok(())) => (self.failures, self.now) = (0, Some(Probed::Up)),
            Ok(Err(why)) => {
                self.failures = self.failures.saturating_add(1);
                if self.failures >= fail_after {
                    self.now = Some(Probed::Down(why));
                }
            }
            Err(why) => (self.failures, self.now) = (0, Some(Probed::Blind(why))),
        }
        match (&before, &self.now) {
            // How exactly a side is away is no news.
            (Some(Probed::Down(_)), Some(Probed::Down(_))) => false,
            (before, now) => before != now,
        }
    }

    /// What counts now.
    #[must_use]
    pub fn now(&self) -> Probed {
        self.now.clone().unwrap_or(Probed::Pending)
    }
}

impl Validated {
    /// Judges the sides by what they say.
    #[must_use]
    pub fn heeding(mut self, probed: &[Probed; 2]) -> Self {
        for (side, probed) in [Side::Legacy, Side::New].into_iter().zip(probed) {
            let ready = match probed {
                Probed::Unasked | Probed::Up => continue,
                Probed::Pending => Known::Unknown,
                Probed::Down(_) => Known::Known(0),
                Probed::Blind(why) => {
                    self.problem.get_or_insert_with(|| blind(side, why));
                    continue;
                }
            };
            if let Known::Known(sides) = &mut self.sides {
                let backend = match side {
                    Side::Legacy => &mut sides.legacy,
                    Side::New => &mut sides.new,
                };
                if let SideBackend::Present(backend) = backend {
                    backend.ready = ready;
                }
            }
        }
        self
    }
}

fn blind(side: Side, why: &str) -> Problem {
    let side = match side {
        Side::Legacy => "legacy",
        Side::New => "new",
    };
    let message =
        format!("spec.safety.{side}.probe: the side cannot be asked, so that its endpoints count as they are: {why}");
    Problem { reason: reasons::PROBE_BLIND, message, health: Health::Stalled }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::{Sides, tests::bed::backend};

    const NO: &str = "connection refused";

    fn validated() -> Validated {
        let side = |name| SideBackend::Present(backend(name));
        let sides = Sides { legacy: side("monolith"), new: side("storefront") };
        Validated { sides: Known::Known(sides), problem: None, conflicted: false }
    }

    fn ready(validated: &Validated, side: Side) -> Known<i32> {
        validated.sides.as_ref().ok().unwrap().get(side).present().unwrap().ready
    }

    #[test]
    fn a_side_that_does_not_answer_has_no_ready_endpoint() {
        let down = Probed::Down(NO.to_owned());
        for (probed, expected) in [
            (Probed::Unasked, Known::Known(2)),
            (Probed::Up, Known::Known(2)),
            (Probed::Pending, Known::Unknown),
            (down, Known::Known(0)),
            (Probed::Blind(NO.to_owned()), Known::Known(2)),
        ] {
            let blind = matches!(probed, Probed::Blind(_));
            let judged = validated().heeding(&[probed, Probed::Up]);
            assert_eq!((ready(&judged, Side::Legacy), ready(&judged, Side::New)), (expected, Known::Known(2)));
            assert_eq!(judged.problem.is_some(), blind);
        }
    }

    #[test]
    fn it_takes_so_many_in_a_row_and_one_answer_ends_it() {
        let mut answers = Answers::default();
        let no = || Ok(Err(NO.to_owned()));
        assert_eq!((answers.take(no(), 3), answers.now()), (false, Probed::Pending));
        assert!(answers.take(Ok(Ok(())), 3));
        for _ in 0..2 {
            assert_eq!((answers.take(no(), 3), answers.now()), (false, Probed::Up));
        }
        assert_eq!((answers.take(no(), 3), answers.now()), (true, Probed::Down(NO.to_owned())));
        assert!(!answers.take(Ok(Err("timed out".to_owned())), 3), "no news");
        assert_eq!((answers.take(Ok(Ok(())), 3), answers.now()), (true, Probed::Up));
        assert!(answers.take(Err("not allowed".to_owned()), 3));
        assert!(!answers.take(Err("not allowed".to_owned()), 3));
    }
}
