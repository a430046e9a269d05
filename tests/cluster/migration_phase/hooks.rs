//! Hooks as Jobs that Kubernetes' own controller runs, in pods of a simulated node.

use anyhow::{Context, Result, bail, ensure};
use cutover_api::{
    labels,
    v1alpha1::{
        MigrationPhase,
        migration_phase::{HookPoint, HookState, MigrationPhaseStatus, PhaseState, Stage},
    },
};
use cutover_testkit::eventually;
use k8s_openapi::api::batch::v1::Job;
use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams},
};
use serde_json::{Value, json};

use super::bed::{PATIENCE, Shop, approved, to, with};

/// A hook whose pod takes this long and ends with this code.
fn hook(name: &str, takes: &str, code: i32) -> Value {
    let annotations = json!({"sim.cutover.dev/run-time": takes, "sim.cutover.dev/exit-code": code.to_string()});
    let container = json!({"name": "run", "image": "registry.example.com/hook:1"});
    let job = json!({"template": {"metadata": {"annotations": annotations}, "spec": {"containers": [container]}}});
    json!({"name": name, "job": job, "timeout": "1m"})
}

fn good(name: &str) -> Value {
    hook(name, "50ms", 0)
}

fn states(status: &MigrationPhaseStatus) -> Vec<(&str, HookPoint, HookState)> {
    status.hooks.iter().map(|hook| (hook.name.as_str(), hook.point, hook.state)).collect()
}

async fn jobs(shop: &Shop) -> Result<Vec<Job>> {
    let ours = ListParams::default().labels(&format!("{}=MigrationPhase", labels::OWNER_KIND));
    Ok(shop.all::<Job>().list(&ours).await?.items)
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_run_one_after_the_other_and_the_weights_wait_for_them() -> Result<()> {
    let shop = Shop::open().await?;
    let steps = json!([with(to(50), &json!({"hooks": [good("smoke"), good("load")]})), to(100)]);
    let hooks =
        json!({"before": [hook("backup", "1500ms", 0)], "after": [good("clean")], "onRollback": [good("undo")]});
    shop.phase("shift", &json!({"steps": steps, "hooks": hooks})).await?;
    let status = shop.blocked("shift", "HookRunning", "hook backup runs as Job shift-").await?;
    ensure!(status.step.is_some_and(|step| step.stage == Stage::Preparing) && status.baseline.is_none());
    shop.moved(&[0]).await?;
    let status = shop.state("shift", PhaseState::Completed).await?;
    let expected = [
        ("backup", HookPoint::Before, HookState::Succeeded),
        ("smoke", HookPoint::Step, HookState::Succeeded),
        ("load", HookPoint::Step, HookState::Succeeded),
        ("clean", HookPoint::After, HookState::Succeeded),
    ];
    ensure!(states(&status) == expected, "{:#?}", status.hooks);
    shop.moved(&[0, 50, 100]).await?;
    let mut made = jobs(&shop).await?;
    made.sort_by_key(|job| job.status.as_ref().and_then(|status| status.start_time.clone()));
    let names: Vec<_> = made.iter().map(ResourceExt::name_any).collect();
    ensure!(
        names.len() == 4 && names.iter().all(|name| status.hooks.iter().any(|hook| hook.job == *name)),
        "{names:?}"
    );
    for job in &made {
        let spec = job.spec.as_ref().context("no spec")?;
        ensure!(spec.backoff_limit == Some(0) && spec.active_deadline_seconds == Some(60), "{spec:#?}");
        ensure!(job.owner_references().iter().any(|owner| owner.kind == "MigrationPhase"), "{:#?}", job.metadata);
    }
    // They go with their phase.
    shop.delete::<MigrationPhase>("shift").await?;
    eventually("no Job is left", PATIENCE, || async {
        let left = jobs(&shop).await?;
        ensure!(left.is_empty(), "{} are left", left.len());
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_fails_takes_the_step_back_and_says_with_which_code() -> Result<()> {
    let shop = Shop::open().await?;
    let steps = json!([with(to(50), &json!({"hooks": [hook("smoke", "50ms", 7)]})), to(100)]);
    let spec = json!({"steps": steps, "hooks": {"onRollback": [good("undo")]}});
    shop.phase("shift", &spec).await?;
    let status = shop.state("shift", PhaseState::RolledBack).await?;
    let expected =
        [("smoke", HookPoint::Step, HookState::Failed), ("undo", HookPoint::OnRollback, HookState::Succeeded)];
    ensure!(states(&status) == expected && status.hooks[0].exit_code == Some(7), "{:#?}", status.hooks);
    let failure = status.failure.context("no failure")?;
    ensure!(failure.reason == "HookFailed" && failure.message.contains("exit code 7"), "{failure:#?}");
    ensure!(failure.message.contains("BackoffLimitExceeded"), "{failure:#?}");
    shop.moved(&[0, 50, 0]).await?;
    // Mended, a new attempt has hooks of its own.
    let steps = json!([with(to(50), &json!({"hooks": [good("smoke")]})), to(100)]);
    shop.phase("shift", &with(spec, &json!({"steps": steps}))).await?;
    shop.accepted("ana", "shift", json!({"action": "Retry"})).await?;
    let status = shop.state("shift", PhaseState::Completed).await?;
    ensure!(states(&status) == [("smoke", HookPoint::Step, HookState::Succeeded)], "{:#?}", status.hooks);
    shop.moved(&[0, 50, 0, 50, 100]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_lines_of_a_hook_that_failed_are_shown() -> Result<()> {
    let shop = Shop::open().await?;
    let printed: Vec<_> = (1..=25).map(|line| format!("line {line} of 25")).collect();
    let mut smoke = hook("smoke", "50ms", 7);
    smoke["job"]["template"]["metadata"]["annotations"]["sim.cutover.dev/log"] = printed.join("\n").into();
    shop.phase("shift", &json!({"steps": [with(to(50), &json!({"hooks": [smoke]})), to(100)]})).await?;
    let status = shop.state("shift", PhaseState::RolledBack).await?;
    let [smoke] = status.hooks.as_slice() else { bail!("{:#?}", status.hooks) };
    ensure!((smoke.state, smoke.exit_code) == (HookState::Failed, Some(7)), "{smoke:#?}");
    // The last 20 of them.
    ensure!(smoke.log.as_deref() == Some(printed[5..].join("\n").as_str()), "{smoke:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_whose_job_is_gone_asks_a_person_and_is_not_started_again() -> Result<()> {
    let shop = Shop::open().await?;
    let steps = json!([with(to(50), &json!({"hooks": [hook("smoke", "5m", 0)]})), approved(to(100))]);
    shop.phase("shift", &json!({"steps": steps})).await?;
    shop.blocked("shift", "HookRunning", "hook smoke runs").await?;
    let made = eventually("its Job", PATIENCE, || async { jobs(&shop).await?.pop().context("no Job") }).await?;
    shop.all::<Job>().delete(&made.name_any(), &DeleteParams::background()).await?;
    let status = shop.blocked("shift", "HookUnknown", "Resume goes on as if it had succeeded").await?;
    ensure!(status.state == Some(PhaseState::Running), "{status:#?}");
    shop.rejected("ana", "shift", json!({"action": "Retry"}), "NotApplicable", "the phase is Running").await?;
    shop.accepted("ana", "shift", json!({"action": "Resume"})).await?;
    let status = shop.asks("shift", "to-100").await?;
    ensure!(states(&status) == [("smoke", HookPoint::Step, HookState::Waived)], "{:#?}", status.hooks);
    let left = jobs(&shop).await?.into_iter().filter(|job| job.metadata.deletion_timestamp.is_none());
    ensure!(left.count() == 0, "it was started again");
    shop.moved(&[0, 50, 100]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_takes_too_long_has_failed() -> Result<()> {
    let shop = Shop::open().await?;
    let slow = with(hook("backup", "5m", 0), &json!({"timeout": "2s"}));
    shop.phase("shift", &json!({"steps": [to(100)], "hooks": {"before": [slow]}})).await?;
    let status = shop.state("shift", PhaseState::Frozen).await?;
    ensure!(states(&status) == [("backup", HookPoint::Before, HookState::Failed)], "{:#?}", status.hooks);
    ensure!(status.failure.is_some_and(|failure| failure.message.contains("nothing has moved")));
    shop.moved(&[0]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_could_be_started_twice_is_refused_at_once() -> Result<()> {
    let shop = Shop::open().await?;
    let wrong = [("backoffLimit", json!(3)), ("completions", json!(2)), ("suspend", json!(true))];
    for (field, value) in wrong {
        let mut hook = good("backup");
        hook["job"][field] = value;
        let refused = shop.phase("shift", &json!({"steps": [to(100)], "hooks": {"before": [hook]}})).await;
        let told = refused.err().map(|error| format!("{error:#}")).unwrap_or_default();
        ensure!(told.contains(&format!("spec.hooks.before[0].job.{field}")), "{field}: {told}");
    }
    Ok(())
}
