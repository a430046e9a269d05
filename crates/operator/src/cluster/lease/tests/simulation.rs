//! Several candidates over a slow, lossy way to one API server: requests and answers are delayed, reordered and lost,
//! processes are stopped for a while, killed and restarted, leases are given back, and every wall clock is wrong by
//! hours. At no moment do two candidates believe that they may write.

use std::time::Duration;

use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;

use super::{
    super::tracker::{Answer, Step, Timing, Tracker},
    at,
};

const TICK: Duration = Duration::from_millis(100);
/// Faults end here, and the rest must be enough for somebody to lead.
const FAULTS: Duration = Duration::from_secs(180);
const END: Duration = Duration::from_secs(230);

#[derive(Default, Debug)]
struct Visits {
    leaders: usize,
    takeovers: usize,
    conflicts: usize,
    lost_answers: usize,
    lost_deadlines: usize,
    kills: usize,
    releases: usize,
    pauses: usize,
}

enum Message {
    Request { step: Step, reply: bool },
    Answer(Answer),
    Watch(Box<Lease>),
}

struct Envelope {
    due: Duration,
    to: usize,
    generation: u64,
    sequence: u64,
    message: Message,
}

struct Candidate {
    tracker: Tracker,
    generation: u64,
    born: Duration,
    clock: SignedDuration,
    asked: Option<(u64, Duration)>,
    paused_until: Duration,
    dead_until: Option<Duration>,
}

struct World {
    rng: Rng,
    timing: Timing,
    now: Duration,
    candidates: Vec<Candidate>,
    server: Option<Lease>,
    version: u64,
    sequence: u64,
    mail: Vec<Envelope>,
    visits: Visits,
}

impl World {
    fn new(seed: u64, timing: Timing) -> Self {
        let mut rng = Rng::with_seed(seed);
        let count = rng.usize(2..=4);
        let mut world = Self {
            rng,
            timing,
            now: Duration::ZERO,
            candidates: Vec::new(),
            server: None,
            version: 0,
            sequence: 0,
            mail: Vec::new(),
            visits: Visits::default(),
        };
        for index in 0..count {
            let candidate = world.born(index, 0);
            world.candidates.push(candidate);
        }
        world
    }

    fn born(&mut self, index: usize, generation: u64) -> Candidate {
        Candidate {
            tracker: Tracker::new(format!("{index}-{generation}"), "lease".to_owned(), self.timing),
            generation,
            born: self.now,
            clock: SignedDuration::from_secs(self.rng.i64(-50_000..50_000)),
            asked: None,
            paused_until: Duration::ZERO,
            dead_until: None,
        }
    }

    fn faulty(&self) -> bool {
        self.now < FAULTS
    }

    /// Mostly fast, sometimes longer than any timeout.
    fn delay(&mut self) -> Duration {
        let millis = match self.rng.u8(..) {
            0..=20 if self.faulty() => self.rng.u64(2_000..40_000),
            21..=80 if self.faulty() => self.rng.u64(100..2_000),
            _ => self.rng.u64(1..100),
        };
        Duration::from_millis(millis)
    }

    fn lost(&mut self) -> bool {
        self.faulty() && self.rng.u8(..) < 20
    }

    fn leaders(&self) -> Vec<usize> {
        let leads = |candidate: &Candidate| {
            let local = self.now - candidate.born;
            candidate.dead_until.is_none() && candidate.tracker.deadline().is_some_and(|deadline| local < deadline)
        };
        (0..self.candidates.len()).filter(|index| leads(&self.candidates[*index])).collect()
    }

    /// Runs to the end; the error names the moment two led.
    fn run(mut self) -> Result<Visits, String> {
        let mut led = usize::MAX;
        while self.now < END {
            self.now += TICK;
            self.deliver();
            for index in 0..self.candidates.len() {
                self.act(index);
            }
            let leaders = self.leaders();
            if leaders.len() > 1 {
                return Err(format!("{leaders:?} lead at {:?}", self.now));
            }
            if let [leader] = leaders[..] {
                self.visits.leaders += 1;
                if led != usize::MAX && led != leader {
                    self.visits.takeovers += 1;
                }
                led = leader;
            }
        }
        if self.leaders().is_empty() {
            return Err("nobody leads although all is well".to_owned());
        }
        Ok(self.visits)
    }

    fn act(&mut self, index: usize) {
        let now = self.now;
        if let Some(until) = self.candidates[index].dead_until {
            if now >= until {
                let generation = self.candidates[index].generation + 1;
                self.candidates[index] = self.born(index, generation);
            }
            return;
        }
        if now < self.candidates[index].paused_until {
            return;
        }
        if self.faulty() {
            match self.rng.u32(0..6_000) {
                0..=3 => {
                    self.visits.pauses += 1;
                    self.candidates[index].paused_until = now + Duration::from_secs(self.rng.u64(1..30));
                    return;
                }
                4..=6 => return self.kill(index),
                7..=9 => return self.release(index),
                _ => {}
            }
        }
        let candidate = &mut self.candidates[index];
        let local = now - candidate.born;
        if let Some((_, sent)) = candidate.asked {
            let timeout = self.timing.renew_deadline / 2;
            if local - sent < timeout {
                return;
            }
            candidate.asked = None;
            candidate.tracker.answered(sent, Answer::Failed, local);
        }
        let wall: Timestamp = at(0) + SignedDuration::try_from(now).unwrap() + candidate.clock;
        match candidate.tracker.next(local, wall) {
            Step::Wait(_) => {}
            Step::Lost(_) => {
                self.visits.lost_deadlines += 1;
                self.kill(index);
            }
            step => self.send(index, step, local),
        }
    }

    fn kill(&mut self, index: usize) {
        self.visits.kills += 1;
        let rest = Duration::from_millis(self.rng.u64(100..20_000));
        self.candidates[index].dead_until = Some(self.now + rest);
    }

    /// Gives the lease back as the process does: it stops writing first, and then replaces what it has read.
    fn release(&mut self, index: usize) {
        let mut released = self.server.as_ref().and_then(|lease| self.candidates[index].tracker.released(lease, at(0)));
        self.kill(index);
        if let Some(lease) = released.take() {
            self.visits.releases += 1;
            self.version += 1;
            self.store(lease);
        }
    }

    fn post(&mut self, to: usize, sequence: u64, message: Message) {
        let (due, generation) = (self.now + self.delay(), self.candidates[to].generation);
        self.mail.push(Envelope { due, to, generation, sequence, message });
    }

    fn send(&mut self, index: usize, step: Step, local: Duration) {
        self.sequence += 1;
        self.candidates[index].asked = Some((self.sequence, local));
        if self.lost() {
            return;
        }
        let reply = !self.lost();
        self.post(index, self.sequence, Message::Request { step, reply });
    }

    fn deliver(&mut self) {
        let (mut due, later) = std::mem::take(&mut self.mail).into_iter().partition::<Vec<_>, _>(|m| m.due <= self.now);
        self.mail = later;
        due.sort_by_key(|envelope| envelope.due);
        for Envelope { to, generation, sequence, message, .. } in due {
            match message {
                Message::Request { step, reply } => {
                    let writes = !matches!(step, Step::Observe);
                    let answer = self.serve(step);
                    if reply {
                        self.post(to, sequence, Message::Answer(answer));
                    } else if writes {
                        self.visits.lost_answers += 1;
                    }
                }
                Message::Answer(answer) => {
                    let now = self.now;
                    let candidate = &mut self.candidates[to];
                    // What a dead process was told, or had given up waiting for, nobody hears. A paused one hears later,
                    // which is as if the answer had been slow.
                    let waited_for = candidate.asked.filter(|(asked, _)| *asked == sequence);
                    let Some((_, sent)) = waited_for.filter(|_| candidate.generation == generation) else { continue };
                    if now < candidate.paused_until {
                        let due = candidate.paused_until;
                        self.mail.push(Envelope { due, to, generation, sequence, message: Message::Answer(answer) });
                        continue;
                    }
                    candidate.asked = None;
                    self.visits.conflicts += usize::from(answer == Answer::Conflict);
                    let local = now - candidate.born;
                    candidate.tracker.answered(sent, answer, local);
                }
                Message::Watch(lease) => {
                    let candidate = &mut self.candidates[to];
                    let hears = candidate.generation == generation && candidate.dead_until.is_none();
                    if hears && candidate.tracker.deadline().is_none() && candidate.asked.is_none() {
                        candidate.tracker.observed(Some(*lease), self.now - candidate.born);
                    }
                }
            }
        }
    }

    fn serve(&mut self, step: Step) -> Answer {
        let version = |lease: &Lease| lease.metadata.resource_version.clone();
        match step {
            Step::Create(_) if self.server.is_some() => Answer::Conflict,
            Step::Replace(lease) if self.server.as_ref().map(version) != Some(version(&lease)) => Answer::Conflict,
            Step::Create(lease) | Step::Replace(lease) => {
                self.version += 1;
                Answer::Written(Box::new(self.store(*lease)))
            }
            Step::Observe | Step::Wait(_) | Step::Lost(_) => Answer::Current(self.server.clone().map(Box::new)),
        }
    }

    fn store(&mut self, mut lease: Lease) -> Lease {
        lease.metadata.resource_version = Some(self.version.to_string());
        self.server = Some(lease.clone());
        for index in 0..self.candidates.len() {
            if self.rng.bool() {
                self.post(index, 0, Message::Watch(Box::new(lease.clone())));
            }
        }
        lease
    }
}

fn timing(lease: u64, renew_deadline: u64, retry: u64) -> Timing {
    let seconds = Duration::from_secs;
    Timing { lease: seconds(lease), renew_deadline: seconds(renew_deadline), retry: seconds(retry) }
}

#[test]
fn never_two_holders_within_their_deadlines_and_in_the_end_one() {
    let mut total = Visits::default();
    for seed in 0..300 {
        let timing = if seed % 2 == 0 { timing(15, 10, 2) } else { timing(4, 3, 1) };
        match World::new(seed, timing).run() {
            Err(error) => panic!("seed {seed}: {error}"),
            Ok(visits) => {
                total.leaders += visits.leaders;
                total.takeovers += visits.takeovers;
                total.conflicts += visits.conflicts;
                total.lost_answers += visits.lost_answers;
                total.lost_deadlines += visits.lost_deadlines;
                total.kills += visits.kills;
                total.releases += visits.releases;
                total.pauses += visits.pauses;
            }
        }
    }
    let Visits { leaders, takeovers, conflicts, lost_answers, lost_deadlines, kills, releases, pauses } = total;
    let seen = [takeovers, conflicts, lost_answers, lost_deadlines, kills, releases, pauses];
    assert!(
        seen.iter().all(|count| *count >= 100) && leaders > 100_000,
        "the simulation hardly did anything: {total:?}"
    );
}

#[test]
fn the_simulation_notices_a_deadline_longer_than_the_lease() {
    let caught = (0..60).filter(|seed| World::new(*seed, timing(4, 12, 1)).run().is_err()).count();
    assert!(caught >= 10, "only {caught} of 60 runs saw two holders");
}
