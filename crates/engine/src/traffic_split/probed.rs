//! What sides say of themselves when they are asked. Pure.
//!
//! The endpoints of a side outside of the cluster are published by us or by its owner, whether anybody answers there or not. So while
//! the side itself does not answer, none of them counts. What cannot be asked says nothing.

use cutover_api::{
    conditions::reasons,
    v1alpha1::traffic_split::{ProbeState, ProbeStatus, ProbesStatus, Side},
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::Validated;
use crate::{
    Known,
    conditions::{Health, cut, whole_seconds},
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

/// The longest text of a failure in the status, in bytes.
const LONGEST: usize = 252;

/// What the status says of the sides. A side that has not answered yet is what it was: after a restart of the operator, say.
#[must_use]
pub fn probes(probed: &[Probed; 2], previous: Option<&ProbesStatus>, now: Timestamp) -> Option<ProbesStatus> {
    let [legacy, new] = probed;
    let said = ProbesStatus {
        legacy: said(legacy, previous.and_then(|before| before.legacy.as_ref()), now),
        new: said(new, previous.and_then(|before| before.new.as_ref()), now),
    };
    (said != ProbesStatus::default()).then_some(said)
}

fn said(probed: &Probed, before: Option<&ProbeStatus>, now: Timestamp) -> Option<ProbeStatus> {
    let (state, failure) = match probed {
        Probed::Unasked => return None,
        Probed::Pending => return before.cloned(),
        Probed::Up => (ProbeState::Succeeding, None),
        Probed::Down(why) => (ProbeState::Failing, Some(why)),
        Probed::Blind(why) => (ProbeState::Blind, Some(why)),
    };
    // How exactly a side is away may change with every probe, and is no news.
    if let Some(before) = before.filter(|before| before.state == state) {
        return Some(before.clone());
    }
    let known = || before.and_then(|before| before.last_failure.clone());
    let last_failure = failure.map(|why| cut(why, LONGEST)).or_else(known);
    Some(ProbeStatus { state, since: Time(whole_seconds(now)), last_failure })
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
        Validated { sides: Known::Known(sides), problem: None, conflicted: false, said_otherwise: None }
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

    fn told(probed: Probed, before: Option<ProbeStatus>, second: i64) -> Option<ProbeStatus> {
        let previous = ProbesStatus { legacy: before, new: None };
        let now = Timestamp::from_second(second).unwrap();
        probes(&[probed, Probed::Unasked], Some(&previous), now).and_then(|said| said.legacy)
    }

    #[test]
    fn the_status_tells_changes_alone_and_keeps_the_last_failure() {
        let down = |why: &str| Probed::Down(why.to_owned());
        assert_eq!(told(Probed::Pending, None, 1), None);
        let up = told(Probed::Up, None, 2);
        assert_eq!(up.as_ref().map(|it| (it.state, it.last_failure.clone())), Some((ProbeState::Succeeding, None)));
        assert_eq!(told(Probed::Up, up.clone(), 3), up, "no news");
        let failing = told(down(NO), up, 4).unwrap();
        assert_eq!((failing.state, failing.since.0.as_second()), (ProbeState::Failing, 4));
        assert_eq!(failing.last_failure.as_deref(), Some(NO));
        let failing = Some(failing);
        assert_eq!(told(down("no answer within 1s"), failing.clone(), 5), failing, "other words are no news");
        assert_eq!(told(Probed::Pending, failing.clone(), 6), failing, "nothing is known since a restart");
        let again = told(Probed::Up, failing.clone(), 7).unwrap();
        assert_eq!((again.state, again.last_failure.as_deref()), (ProbeState::Succeeding, Some(NO)));
        assert_eq!(told(Probed::Unasked, failing.clone(), 8), None, "nobody asks any more");
        let blind = told(Probed::Blind("€".repeat(500)), failing, 9).unwrap();
        assert_eq!(blind.state, ProbeState::Blind);
        assert!(blind.last_failure.unwrap().len() <= 256);
    }
}
