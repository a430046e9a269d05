//! What people decide: approvals, pauses, going back, giving up, trying again; and what is no decision about this phase any more.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cutover_api::v1alpha1::{
    MigrationPhase, MigrationPhaseStatus, TrafficSplit,
    migration_phase::{PhaseState, Stage},
    phase_action::ActionState,
};
use cutover_testkit::eventually;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::bed::{Shop, approved, is, reasons, to, turned_down, with};

fn approve(step: &str, groups: &[&str]) -> Value {
    json!({"action": "Approve", "step": step, "groups": groups})
}

fn from_now(seconds: i64) -> Timestamp {
    Timestamp::now() + SignedDuration::from_secs(seconds)
}

fn when(status: &MigrationPhaseStatus, reason: &str) -> Result<Timestamp> {
    let entry = status.history.iter().find(|entry| entry.reason == reason);
    entry.map(|entry| entry.at.0).with_context(|| format!("no {reason}: {:?}", reasons(status)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_goes_on_when_enough_people_of_its_groups_have_approved_it() -> Result<()> {
    let shop = Shop::open().await?;
    shop.phase("before", &json!({"steps": [approved(to(0))]})).await?;
    let half = with(to(50), &json!({"soak": "2s", "approval": {"required": 2, "groups": ["owners", "leads"]}}));
    shop.phase("shift", &json!({"after": ["before"], "steps": [half, to(100)]})).await?;

    // That the phase may start is not that the step was seen to be well.
    shop.blocked("shift", "PredecessorNotCompleted", "before").await?;
    let early = approve("to-50", &["owners"]);
    shop.rejected("ana", "shift", early.clone(), "NotApplicable", "no step is under way").await?;
    shop.asks("before", "to-0").await?;
    shop.accepted("ana", "before", approve("to-0", &[])).await?;
    shop.until("shift", "soaking", |s| s.step.as_ref().is_some_and(|step| step.stage == Stage::Soaking)).await?;
    shop.rejected("ana", "shift", early, "NotApplicable", "does not await approval: approve when it has soaked")
        .await?;

    shop.blocked(
        "shift",
        "AwaitingApproval",
        "step to-50 has 0 of 2 approvals by members of owners or leads: Approve it",
    )
    .await?;
    let nobody = "only members of owners, leads can approve: name the group in spec.groups";
    shop.rejected("ana", "shift", approve("to-50", &[]), "NotApplicable", nobody).await?;
    shop.rejected("ana", "shift", approve("to-50", &["guests"]), "NotApplicable", nobody).await?;
    let other = "step to-100 is not the present one, which is to-50";
    shop.rejected("ana", "shift", approve("to-100", &["owners"]), "NotApplicable", other).await?;
    shop.accepted("ana", "shift", approve("to-50", &["owners"])).await?;
    let twice = "ana has approved already: each person counts once";
    shop.rejected("ana", "shift", approve("to-50", &["leads"]), "NotApplicable", twice).await?;
    let status = shop.blocked("shift", "AwaitingApproval", "step to-50 has 1 of 2 approvals").await?;
    ensure!(
        is(&status.conditions, "Ready", "True").is_some_and(|(reason, _)| reason == "AwaitingApproval"),
        "{status:#?}"
    );
    shop.moved(&[0, 50]).await?;

    shop.accepted("ben", "shift", approve("to-50", &["guests", "leads"])).await?;
    let status = shop.state("shift", PhaseState::Completed).await?;
    let by: Vec<&str> = status.approvals.iter().map(|record| record.by.as_str()).collect();
    ensure!(by == ["ana", "ben"], "{by:?}");
    shop.moved(&[0, 50, 100]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_counts_for_as_long_as_it_says_and_for_what_was_seen() -> Result<()> {
    let shop = Shop::open().await?;
    let half = |weight: i32| json!({"name": "some", "traffic": [{"split": "storefront", "newWeight": weight}], "approval": {"required": 2}});
    shop.phase("shift", &json!({"steps": [half(50)]})).await?;
    shop.asks("shift", "some").await?;
    let short = with(approve("some", &[]), &json!({"expiresAt": from_now(4)}));
    shop.accepted("ana", "shift", short).await?;
    let status = shop.asks("shift", "some").await?;
    ensure!(status.approvals.len() == 1, "{status:#?}");

    // What is approved is a weight that was seen. Another weight is another thing.
    shop.accepted("ana", "shift", approve("some", &[])).await?;
    shop.blocked("shift", "AwaitingApproval", "step some has 1 of 2 approvals").await?;
    shop.phase("shift", &json!({"steps": [half(60)]})).await?;
    shop.asks("shift", "some").await?;
    shop.moved(&[0, 50, 60]).await?;
    for who in ["ana", "ben"] {
        shop.accepted(who, "shift", approve("some", &[])).await?;
    }
    shop.state("shift", PhaseState::Completed).await?;
    shop.moved(&[0, 50, 60]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_holds_until_a_person_resumes() -> Result<()> {
    let shop = Shop::open().await?;
    shop.phase("shift", &json!({"steps": [approved(to(50)), to(100)]})).await?;
    shop.asks("shift", "to-50").await?;
    shop.rejected(
        "ana",
        "shift",
        json!({"action": "Resume"}),
        "NotApplicable",
        "only a paused or frozen one can resume",
    )
    .await?;
    shop.accepted("ana", "shift", json!({"action": "Pause"})).await?;
    let status = shop.blocked("shift", "Paused", "paused by a person: Resume, Rollback or Abort").await?;
    ensure!(status.state == Some(PhaseState::Paused), "{status:#?}");
    let until = status.paused_until.context("paused for ever")?.0;
    ensure!(until > from_now(50 * 60) && until <= from_now(61 * 60), "{until}");
    // What is approved meanwhile counts, and is not acted on.
    shop.accepted("ana", "shift", approve("to-50", &[])).await?;
    shop.moved(&[0, 50]).await?;
    shop.accepted("ben", "shift", json!({"action": "Resume"})).await?;
    let status = shop.state("shift", PhaseState::Completed).await?;
    let told = reasons(&status);
    ensure!(told.windows(4).any(|it| it == ["Paused", "Approved", "Resumed", "StepDone"]), "{told:?}");
    shop.moved(&[0, 50, 100]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_ends_by_itself_and_harm_counts_again_from_then() -> Result<()> {
    let shop = Shop::open().await?;
    shop.phase("shift", &json!({"steps": [approved(to(50))], "deadAfter": "1s"})).await?;
    shop.asks("shift", "to-50").await?;
    let past = json!({"action": "Pause", "until": from_now(-5)});
    shop.rejected("ana", "shift", past, "NotApplicable", "is over: give an instant to come").await?;
    let until = from_now(5);
    shop.accepted("ana", "shift", json!({"action": "Pause", "until": until})).await?;
    shop.endpoints("new", 0).await?;
    let dead = shop.until("shift", "harmed", |status| !status.dead_sides.is_empty()).await?;
    ensure!(dead.state == Some(PhaseState::Paused), "{dead:#?}");
    let status = shop.state("shift", PhaseState::RolledBack).await?;
    let (resumed, back) = (when(&status, "Resumed")?, when(&status, "RollingBack")?);
    ensure!(resumed >= until - SignedDuration::from_secs(1), "{resumed} is before {until}");
    ensure!(back >= resumed + SignedDuration::from_secs(1), "{back} is not a second after {resumed}");
    shop.moved(&[0, 50, 0]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn promote_ends_a_soak_and_an_approval_and_opens_no_gate() -> Result<()> {
    let shop = Shop::open().await?;
    let promote = json!({"action": "Promote"});
    let long = with(approved(to(50)), &json!({"soak": "1h"}));
    shop.phase("before", &json!({"steps": [approved(to(0))]})).await?;
    let steps = [long, with(to(100), &json!({"soak": "1h"}))];
    shop.phase("shift", &json!({"after": ["before"], "steps": steps, "deadAfter": "1h"})).await?;
    shop.blocked("shift", "PredecessorNotCompleted", "before").await?;
    shop.rejected("ana", "shift", promote.clone(), "NotApplicable", "Promote opens none: see blockedBy").await?;
    shop.asks("before", "to-0").await?;
    shop.accepted("ana", "before", with(promote.clone(), &json!({"step": "to-0"}))).await?;
    shop.state("before", PhaseState::Completed).await?;

    shop.blocked("shift", "Soaking", "step to-50 soaks for 1h").await?;
    let other = with(promote.clone(), &json!({"step": "to-100"}));
    shop.rejected("ana", "shift", other, "NotApplicable", "step to-100 is not the present one, which is to-50").await?;
    shop.accepted("ana", "shift", promote.clone()).await?;
    shop.asks("shift", "to-50").await?;
    shop.accepted("ben", "shift", promote.clone()).await?;
    shop.blocked("shift", "Soaking", "step to-100 soaks for 1h").await?;
    shop.endpoints("new", 0).await?;
    shop.until("shift", "harmed", |status| !status.dead_sides.is_empty()).await?;
    shop.rejected("ana", "shift", promote.clone(), "NotApplicable", "SideDead").await?;
    shop.endpoints("new", 1).await?;
    shop.until("shift", "well", |status| status.dead_sides.is_empty()).await?;
    shop.accepted("ana", "shift", promote.clone()).await?;
    let status = shop.state("shift", PhaseState::Completed).await?;
    let promoted: Vec<_> = status.history.iter().filter(|entry| entry.reason == "Promoted").collect();
    let by: Vec<_> = promoted.iter().map(|entry| entry.by.as_deref()).collect();
    ensure!(by == [Some("ana"), Some("ben"), Some("ana")] && status.approvals.is_empty(), "{status:#?}");
    shop.rejected("ana", "shift", promote, "NotApplicable", "no soak or approval is under way").await?;
    shop.moved(&[0, 50, 100]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn promote_goes_on_where_the_traffic_is_already() -> Result<()> {
    let shop = Shop::open().await?;
    shop.phase("shift", &json!({"steps": [to(10), approved(to(50)), to(100)]})).await?;
    shop.asks("shift", "to-50").await?;
    shop.accepted("ana", "shift", json!({"action": "Abort"})).await?;
    shop.accepted("ana", "shift", json!({"action": "Retry"})).await?;
    shop.blocked("shift", "StepWouldLower", "storefront is at 50 and the step asks for 10").await?;
    shop.accepted("ana", "shift", json!({"action": "Promote"})).await?;
    shop.asks("shift", "to-50").await?;
    shop.accepted("ana", "shift", approve("to-50", &[])).await?;
    shop.state("shift", PhaseState::Completed).await?;
    shop.moved(&[0, 10, 50, 100]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phase_is_given_up_where_it_stands_and_can_be_tried_again() -> Result<()> {
    let shop = Shop::open().await?;
    shop.phase("shift", &json!({"steps": [approved(to(50)), to(100)]})).await?;
    shop.asks("shift", "to-50").await?;
    shop.rejected(
        "ana",
        "shift",
        json!({"action": "Retry"}),
        "NotApplicable",
        "only one that is rolled back, frozen or aborted",
    )
    .await?;
    shop.accepted("ana", "shift", json!({"action": "Abort"})).await?;
    let status = shop.state("shift", PhaseState::Aborted).await?;
    ensure!(status.requests.is_none() && is(&status.conditions, "Degraded", "True").is_some(), "{status:#?}");
    shop.free("storefront", 50).await?;
    shop.rejected("ana", "shift", json!({"action": "Abort"}), "NotApplicable", "the phase is Aborted").await?;
    shop.rejected("ana", "shift", json!({"action": "Pause"}), "NotApplicable", "moves nothing").await?;

    shop.accepted("ana", "shift", json!({"action": "Retry"})).await?;
    let status = shop.asks("shift", "to-50").await?;
    ensure!(status.attempt == Some(2) && status.approvals.is_empty(), "{status:#?}");
    let old = with(approve("to-50", &[]), &json!({"attempt": 1}));
    shop.rejected("ana", "shift", old, "Superseded", "it is for attempt 1 and the phase is in attempt 2").await?;
    shop.accepted("ana", "shift", approve("to-50", &[])).await?;
    shop.state("shift", PhaseState::Completed).await?;
    shop.moved(&[0, 50, 100]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phase_at_rest_goes_back_to_its_baseline_and_to_legacy() -> Result<()> {
    let shop = Shop::open_at(20, json!({})).await?;
    shop.phase("shift", &json!({"steps": [to(50), to(100)]})).await?;
    shop.state("shift", PhaseState::Completed).await?;
    shop.free("storefront", 100).await?;
    shop.accepted("ana", "shift", json!({"action": "Rollback"})).await?;
    let status = shop.state("shift", PhaseState::RolledBack).await?;
    ensure!(is(&status.conditions, "Ready", "True").is_some() && is(&status.conditions, "Degraded", "True").is_some());
    ensure!(is(&status.conditions, "Completed", "False").is_some(), "{status:#?}");
    shop.free("storefront", 20).await?;
    shop.rejected("ana", "shift", json!({"action": "Rollback"}), "NotApplicable", "the phase is at Baseline already")
        .await?;
    shop.accepted("ana", "shift", json!({"action": "Rollback", "to": "Legacy"})).await?;
    shop.free("storefront", 0).await?;
    let status = shop.state("shift", PhaseState::RolledBack).await?;
    ensure!(status.way_back.is_some_and(|way| way.to == cutover_api::v1alpha1::phase_action::RollbackTo::Legacy));
    // The spec's 20 is not a new value.
    shop.edit::<TrafficSplit>("storefront", json!({"metadata": {"annotations": {"touched": "1"}}})).await?;
    shop.accepted("ana", "shift", json!({"action": "Retry"})).await?;
    shop.state("shift", PhaseState::Completed).await?;
    shop.moved(&[20, 50, 100, 20, 0, 50, 100]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_decided_about_another_phase_of_that_name_counts_no_more() -> Result<()> {
    let shop = Shop::open().await?;
    let spec = json!({"steps": [approved(to(50)), to(100)]});
    shop.phase("shift", &spec).await?;
    shop.asks("shift", "to-50").await?;
    let uid = shop.all::<MigrationPhase>().get("shift").await?.metadata.uid;
    shop.accepted("ana", "shift", approve("to-50", &[])).await?;
    shop.state("shift", PhaseState::Completed).await?;
    shop.delete::<MigrationPhase>("shift").await?;
    shop.edit::<TrafficSplit>("storefront", json!({"spec": {"newWeight": 10}})).await?;
    shop.free("storefront", 10).await?;

    shop.phase("shift", &spec).await?;
    // The approval of old is still there, settled, and the phase asks again.
    let status = shop.asks("shift", "to-50").await?;
    ensure!(status.attempt == Some(1) && status.applied_actions.is_empty(), "{status:#?}");
    for action in [approve("to-50", &[]), json!({"action": "Rollback", "to": "Legacy", "force": true})] {
        let old = with(action, &json!({"phaseUID": uid}));
        shop.rejected("ana", "shift", old, "Superseded", "it is for a phase shift that is no more: give phaseUID")
            .await?;
    }
    for attempt in [2, 7] {
        let later = with(approve("to-50", &[]), &json!({"attempt": attempt}));
        shop.rejected("ana", "shift", later, "Superseded", "the phase is in attempt 1: look at it and ask again")
            .await?;
    }
    let status = shop.asks("shift", "to-50").await?;
    ensure!(status.state == Some(PhaseState::Running) && status.approvals.is_empty(), "{status:#?}");
    shop.moved(&[0, 50, 100, 10, 50]).await
}

/// The operator stands still for three seconds, and all these tests' phases with it: that is nothing they may mind.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_asked_while_nobody_listened_is_not_done_late() -> Result<()> {
    let shop = Shop::open().await?;
    shop.phase("shift", &json!({"steps": [approved(to(50)), to(100)]})).await?;
    shop.asks("shift", "to-50").await?;
    let process = shop.bed.operator.process();
    process.pause()?;
    let until = from_now(3);
    let asked = async {
        let approval = shop.ask("ana", "shift", with(approve("to-50", &[]), &json!({"expiresAt": until}))).await?;
        let rollback = shop.ask("ana", "shift", json!({"action": "Rollback", "expiresAt": until})).await?;
        eventually("both have expired", Duration::from_secs(10), || async {
            ensure!(Timestamp::now() > until);
            Ok(())
        })
        .await?;
        anyhow::Ok([approval, rollback])
    };
    let asked = asked.await;
    process.resume()?;
    for action in asked? {
        let status = shop.decided(&action).await?;
        turned_down(&status, ActionState::Expired, "Expired", "ask again, with expiresAt if it needs longer")?;
    }
    let status = shop.asks("shift", "to-50").await?;
    ensure!(status.state == Some(PhaseState::Running) && status.applied_actions.is_empty(), "{status:#?}");
    shop.moved(&[0, 50]).await
}
