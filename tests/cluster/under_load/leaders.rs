//! Leaders die in the middle of shifts, up and down, on every router.

use std::{
    env,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, anyhow, ensure};
use cutover_api::v1alpha1::migration_phase::{PhaseState, Stage};
use cutover_testkit::{
    eventually,
    operator::{self, Operator},
};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    bed::{PATIENCE, Shop},
    traffic::Traffic,
};
use crate::routers::Router;

/// Ways that move at the same time, each by a phase of its own: one on each router, and one on all of them.
const MOVING: [&[Router]; 4] = [&[Router::Nginx], &[Router::Gateway], &[Router::Traefik], &Router::ALL];
/// A way that went the same way before anybody was killed, and stays where it came to.
const UNDISTURBED: usize = MOVING.len();
/// A way that is asked for nothing.
const STILL: usize = UNDISTURBED + 1;

/// What is asked of a phase, and where it rests then.
struct Leg {
    asked: Asked,
    rests: Rests,
    weight: i32,
}

#[derive(Clone, Copy)]
enum Asked {
    /// There is no phase yet.
    Begin,
    Approve(&'static str),
    Decide(&'static str),
}

#[derive(Clone, Copy)]
enum Rests {
    /// It asks people about a step.
    Asking(&'static str),
    State(PhaseState),
}

const fn leg(asked: Asked, rests: Rests, weight: i32) -> Leg {
    Leg { asked, rests, weight }
}

/// Up to everything and back to nothing; each a shift whose leader is killed.
const DISTURBED_LEGS: [Leg; 5] = [
    leg(Asked::Begin, Rests::Asking("to-20"), 20),
    leg(Asked::Approve("to-20"), Rests::Asking("to-60"), 60),
    leg(Asked::Approve("to-60"), Rests::Asking("to-100"), 100),
    leg(Asked::Decide("Rollback"), Rests::State(PhaseState::RolledBack), 0),
    leg(Asked::Decide("Retry"), Rests::Asking("to-20"), 20),
];
/// Up once more, in peace.
const LAST_LEGS: [Leg; 3] = [
    leg(Asked::Approve("to-20"), Rests::Asking("to-60"), 60),
    leg(Asked::Approve("to-60"), Rests::Asking("to-100"), 100),
    leg(Asked::Approve("to-100"), Rests::State(PhaseState::Completed), 100),
];
const SHIFTS: usize = MOVING.len() * DISTURBED_LEGS.len();
/// A shift takes as long as proxies may take to follow, which is 2 s, and some.
const SHIFT_MILLIS: u64 = 2_500;

impl Shop {
    async fn ask_for(&self, way: usize, leg: &Leg) -> Result<()> {
        match leg.asked {
            Asked::Begin => self.phase(way, &[20, 60, 100], "approval: {required: 1}").await,
            Asked::Approve(step) => self.ask(way, "Approve", Some(step)).await,
            Asked::Decide(action) => self.ask(way, action, None).await,
        }
    }

    /// Whether the way has come to the end of the leg, as status says.
    async fn rests(&self, way: usize, leg: &Leg) -> Result<()> {
        let status = self.status(way).await?;
        let at = status.step.as_ref().map(|step| (step.name.as_str(), step.stage));
        let is_there = match leg.rests {
            Rests::Asking(step) => at == Some((step, Stage::AwaitingApproval)),
            Rests::State(state) => status.state == Some(state),
        };
        ensure!(is_there, "way {way}: {:?} {at:?} {:?}", status.state, status.blocked_by);
        let applied = self.split(way).await?.applied_weight;
        ensure!(applied == Some(leg.weight), "way {way}: {applied:?} instead of {}", leg.weight);
        Ok(())
    }

    /// Waits until these ways have come to the end of the leg, as status says, and then as the wire says.
    async fn arrived(&self, ways: std::ops::Range<usize>, leg: &Leg, traffic: &Traffic) -> Result<()> {
        eventually(&format!("{ways:?} rest at {}", leg.weight), PATIENCE, || async {
            for way in ways.clone() {
                self.rests(way, leg).await?;
            }
            Ok(())
        })
        .await?;
        traffic.come_to(ways, leg.weight).await
    }

    /// What is left of a way when its phase is done, instants aside.
    async fn end(&self, way: usize) -> Result<Value> {
        let (status, split) = (self.status(way).await?, self.split(way).await?);
        let told: Vec<_> = status.history.iter().map(|entry| (&entry.reason, &entry.step, &entry.by)).collect();
        let mut observed: Vec<_> = split.routers.iter().map(|router| router.observed_weight).collect();
        observed.dedup();
        Ok(json!({
            "state": status.state, "attempt": status.attempt, "revision": status.request_revision,
            "requests": status.requests, "failure": status.failure.is_some(), "told": told,
            "approvals": status.approvals.len(), "applied": status.applied_actions.len(),
            "desired": split.desired_weight, "weight": split.applied_weight, "holder": split.holder, "epoch": split.epoch,
            "observed": observed,
        }))
    }
}

/// Moments that look random and can be had again.
struct Moments(u64);

impl Moments {
    fn new() -> Result<Self> {
        let seed = match env::var("CUTOVER_SEED") {
            Ok(seed) => seed.parse().context("CUTOVER_SEED")?,
            Err(_) => u64::from(SystemTime::now().duration_since(UNIX_EPOCH)?.subsec_nanos()) | 1,
        };
        Ok(Self(seed.max(1)))
    }

    fn next(&mut self) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Duration::from_millis(self.0 % SHIFT_MILLIS)
    }
}

/// The place of the replica that leads. Until its Lease has expired, one that was killed still holds it.
async fn leader(shop: &Shop, replicas: &[Operator]) -> Result<usize> {
    eventually("one of the replicas leads", PATIENCE, || async {
        let leader = operator::leader(&shop.client, replicas).await?.context("none does")?.name();
        replicas.iter().position(|replica| replica.name() == leader).ok_or_else(|| anyhow!("no {leader}"))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undisturbed_a_leader_killed_in_twenty_shifts_loses_and_misroutes_no_request() -> Result<()> {
    let mut moments = Moments::new()?;
    println!("CUTOVER_SEED={}", moments.0);
    let shop = Shop::open("killed-under-load").await?;
    let mut replicas = vec![shop.replica(0).await?, shop.replica(1).await?];
    let ways: Vec<_> = MOVING.into_iter().chain([&Router::ALL[..]; 2]).enumerate().collect();
    for (way, routers) in &ways {
        shop.way(*way, routers).await?;
    }
    let traffic = Traffic::start(&shop, 40, ways)?;

    traffic.may_move(UNDISTURBED)?;
    for leg in DISTURBED_LEGS.iter().chain(&LAST_LEGS) {
        shop.ask_for(UNDISTURBED, leg).await?;
        eventually("the first is there", PATIENCE, || shop.rests(UNDISTURBED, leg)).await?;
    }
    traffic.come_to([UNDISTURBED], 100).await?;

    let moving = 0..MOVING.len();
    let mut killed = Vec::new();
    for (round, leg) in DISTURBED_LEGS.iter().enumerate() {
        leader(&shop, &replicas).await?;
        for way in moving.clone() {
            traffic.may_move(way)?;
            shop.ask_for(way, leg).await?;
        }
        let moment = moments.next();
        sleep(moment).await;
        let replica = replicas.remove(leader(&shop, &replicas).await?);
        replica.process().kill()?;
        let mut on_the_way = 0;
        for way in moving.clone() {
            on_the_way += usize::from(shop.rests(way, leg).await.is_err());
        }
        killed.push((replica.name().to_owned(), moment, on_the_way));
        replicas.push(shop.replica(round + 2).await?);
        shop.arrived(moving.clone(), leg, &traffic).await?;
    }
    println!("killed, after which time, of {SHIFTS} shifts those that were on their way: {killed:?}");
    let disturbed: usize = killed.iter().map(|(_, _, on_the_way)| on_the_way).sum();
    ensure!(disturbed > 0, "no shift was on its way when its leader was killed: {killed:?}");

    for leg in &LAST_LEGS {
        for way in moving.clone() {
            traffic.may_move(way)?;
            shop.ask_for(way, leg).await?;
        }
        shop.arrived(moving.clone(), leg, &traffic).await?;
    }
    eventually("every way has come to the same end", PATIENCE, || async {
        let expected = shop.end(UNDISTURBED).await?;
        ensure!(expected["observed"] == json!([100]) && expected["holder"].is_null(), "{expected:#}");
        for way in moving.clone() {
            let end = shop.end(way).await?;
            ensure!(end == expected, "way {way}: {end:#}\ninstead of {expected:#}");
        }
        Ok(())
    })
    .await?;
    let still = shop.split(STILL).await?;
    let observed: Vec<_> = still.routers.iter().map(|router| router.observed_weight).collect();
    ensure!(still.applied_weight == Some(0) && observed == [Some(0); 3], "{still:#?}");
    println!("{}", traffic.stop(1_500).await?);
    Ok(())
}
