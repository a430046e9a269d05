//! Whether somebody else keeps undoing what we write to a route. The same write, over and over, within a short time, says so: the
//! object is then left alone for a while, longer each time, and never for a write that says something new. No I/O.

use std::time::{Duration, Instant};

use cutover_engine::router::{ObjectKind, RouteStep};

/// Writes of the same to the same object within [`WINDOW`] that are too many; after a first rest, and after that.
const TOO_MANY: [usize; 2] = [6, 2];
/// How long a write is remembered.
const WINDOW: Duration = Duration::from_secs(60);
/// The first rest; each that follows is twice as long, up to [`LONGEST`].
const REST: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_secs(300);
/// After so long without a rest, the next one is a first one again.
const FORGOTTEN: Duration = Duration::from_secs(900);

/// One write of a route, by what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Write {
    kind: ObjectKind,
    name: Box<str>,
    content: u64,
}

impl Write {
    /// The write that a step is; `None` for what is not a route, or removes one. What a patch says is said by the weight that it is
    /// for: the rest of it is what others have in the object.
    pub(super) fn of(step: &RouteStep, weight: i32) -> Option<Self> {
        let content = match step {
            RouteStep::Apply { kind, object, .. } if kind.is_route() => hash_of(&object.to_string()),
            RouteStep::MergePatch { kind, .. } if kind.is_route() => u64::from(weight.unsigned_abs()),
            _ => return None,
        };
        Some(Self { kind: step.kind(), name: step.name().into(), content })
    }

    fn is_to_the_object_of(&self, other: &Self) -> bool {
        (self.kind, &self.name) == (other.kind, &other.name)
    }
}

fn hash_of(text: &str) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// What is remembered of one split.
#[derive(Debug, Default)]
pub(super) struct Contention {
    writes: Vec<(Instant, Write)>,
    rests: u32,
    until: Option<Instant>,
}

impl Contention {
    /// Whether nothing is remembered.
    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.rests == 0
    }

    /// Takes in that this was written.
    pub(super) fn wrote(&mut self, write: Write, now: Instant) {
        self.writes.retain(|(at, _)| now.duration_since(*at) < WINDOW);
        let same_object = self.writes.iter().rev().map(|(_, it)| it).filter(|it| it.is_to_the_object_of(&write));
        let run = 1 + same_object.take_while(|it| it.content == write.content).count();
        self.writes.push((now, write));
        let [at_first, later] = TOO_MANY;
        if run >= if self.rests == 0 { at_first } else { later } {
            let rest = REST.saturating_mul(1 << self.rests.min(8)).min(LONGEST);
            self.rests += 1;
            self.until = Some(now + rest);
        }
    }

    /// Whether this would say again what was written last.
    pub(super) fn is_repeated(&self, write: &Write) -> bool {
        let last = self.writes.iter().rev().map(|(_, it)| it).find(|it| it.is_to_the_object_of(write));
        last.is_some_and(|last| last.content == write.content)
    }

    /// How long what would only be repeated is still to be left alone.
    pub(super) fn resting(&mut self, now: Instant) -> Option<Duration> {
        let until = self.until?;
        let left = until.saturating_duration_since(now);
        if !left.is_zero() {
            return Some(left);
        }
        // What was written before the rest is no part of what comes after.
        self.writes.retain(|(at, _)| *at >= until);
        if now.duration_since(until) > FORGOTTEN {
            (self.rests, self.until) = (0, None);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn weight(weight: i32) -> Write {
        let patch = RouteStep::MergePatch { kind: ObjectKind::HttpRoute, name: "shop".into(), patch: json!({}) };
        Write::of(&patch, weight).unwrap()
    }

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Somebody undoes every write a second after it; how often we write within the time, and how long the rests are.
    fn war(within: u64) -> (usize, Vec<u64>) {
        let (mut contention, start) = (Contention::default(), Instant::now());
        let (mut writes, mut rests) = (0, Vec::new());
        for second in 0..within {
            let now = start + seconds(second);
            let before = contention.resting(now).is_some();
            if before && contention.is_repeated(&weight(20)) {
                continue;
            }
            contention.wrote(weight(20), now);
            writes += 1;
            rests.extend(contention.resting(now).filter(|_| !before).map(|rest| rest.as_secs()));
        }
        (writes, rests)
    }

    #[test]
    fn a_war_is_not_waged() {
        let (writes, rests) = war(3600);
        assert_eq!(rests[..6], [30, 60, 120, 240, 300, 300]);
        assert!(writes < 40, "{writes} writes in an hour of writes by somebody else");
    }

    #[test]
    fn what_is_new_is_written_all_the_same() {
        let (mut contention, start) = (Contention::default(), Instant::now());
        for second in 0..6 {
            contention.wrote(weight(20), start + seconds(second));
        }
        assert!(contention.resting(start + seconds(6)).is_some());
        assert!(contention.is_repeated(&weight(20)) && !contention.is_repeated(&weight(30)));
    }

    #[test]
    fn changes_of_our_own_are_no_contention() {
        let (mut contention, start) = (Contention::default(), Instant::now());
        for second in 0..50 {
            contention.wrote(weight(if second % 2 == 0 { 10 } else { 20 }), start + seconds(second));
        }
        for minute in 1..50 {
            contention.wrote(weight(10), start + seconds(100 * minute));
        }
        assert_eq!(contention.resting(start + seconds(5000)), None);
    }

    #[test]
    fn peace_is_trusted_again_after_a_while() {
        let (mut contention, start) = (Contention::default(), Instant::now());
        for second in 0..6 {
            contention.wrote(weight(20), start + seconds(second));
        }
        let peace = start + seconds(6) + REST + FORGOTTEN;
        assert_eq!(contention.resting(peace), None);
        assert!(contention.is_empty());
        for second in 0..5 {
            contention.wrote(weight(20), peace + seconds(second));
        }
        assert_eq!(contention.resting(peace + seconds(5)), None);
    }
}
