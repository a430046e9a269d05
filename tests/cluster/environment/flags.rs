//! Flags: one ConfigMap for all, percentages moved by phases and held without.

use anyhow::{Context, Result, ensure};
use cutover_api::v1alpha1::{FeatureFlag, FeatureFlagStatus, MigrationPhase, migration_phase::PhaseState};
use cutover_testkit::eventually;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::bed::{PATIENCE, Space, is};

const ENVIRONMENT: &str = r"
apiVersion: cutover.dev/v1alpha1
kind: Environment
metadata: {name: production}
spec:
  tier: Production
  components:
  - {name: database, system: Shared, source: {external: {addresses: [203.0.113.5], port: 5432}}}
";

fn flag(name: &str, more: &str) -> String {
    format!(
        r#"
apiVersion: cutover.dev/v1alpha1
kind: FeatureFlag
metadata: {{name: {name}}}
spec:
  environment: production
  variants: {{"on": true, "off": false}}
  defaultVariant: "off"
{more}
"#
    )
}

const ROLLOUT: &str = r#"  rules: [{name: all, percentage: {growing: "on", rest: "off", percent: 10}}]"#;

async fn space() -> Result<Space> {
    let space = Space::open().await?;
    space.apply(ENVIRONMENT).await?;
    Ok(space)
}

fn weights(flags: &Value, key: &str) -> Value {
    flags[key]["targeting"]["fractional"].clone()
}

async fn percent(space: &Space, name: &str, percent: i32) -> Result<FeatureFlagStatus> {
    let status = space.flag_until(name, &format!("{percent} %"), |status| status.percent == Some(percent)).await?;
    let flags = space.published().await?;
    ensure!(weights(&flags, name) == json!([["on", percent], ["off", 100 - percent]]), "{flags:#}");
    Ok(status)
}

#[tokio::test(flavor = "multi_thread")]
async fn all_flags_of_an_environment_are_one_config_map() -> Result<()> {
    let space = space().await?;
    let names = ["apple", "banana", "cherry", "damson"];
    for name in names {
        space.apply(&flag(name, ROLLOUT)).await?;
    }
    for name in names {
        let status = percent(&space, name, 10).await?;
        let published = status.published.context("not published")?;
        assert_eq!(published.config_map, "production-flags");
        assert!(is(&status.conditions, "Ready", "True").is_some());
    }
    let before = space.config_maps().get("production-flags").await?;
    // The value of the spec counts when it changes; other flags' statuses are not touched.
    let apple = space.flags().get("apple").await?.resource_version();
    space.edit::<FeatureFlag>("banana", json!({"spec": {"state": "Disabled"}})).await?;
    eventually("the flag is disabled", PATIENCE, || async {
        ensure!(space.published().await?["banana"]["state"] == "DISABLED");
        Ok(())
    })
    .await?;
    percent(&space, "banana", 10).await?;
    assert_eq!(space.flags().get("apple").await?.resource_version(), apple);
    assert_ne!(space.config_maps().get("production-flags").await?.resource_version(), before.resource_version());

    space.flags().delete("cherry", &DeleteParams::default()).await?;
    eventually("the flag is gone", PATIENCE, || async {
        let flags = space.published().await?;
        ensure!(flags.as_object().context("no flags")?.keys().eq(["apple", "banana", "damson"]), "{flags:#}");
        ensure!(space.flags().get_opt("cherry").await?.is_none());
        Ok(())
    })
    .await?;

    // What somebody else does to the ConfigMap does not last.
    space.edit::<ConfigMap>("production-flags", json!({"data": {"flags.json": "{}"}})).await?;
    percent_is_back(&space, &["apple", "damson"]).await?;
    space.config_maps().delete("production-flags", &DeleteParams::default()).await?;
    percent_is_back(&space, &["apple", "damson"]).await
}

async fn percent_is_back(space: &Space, names: &[&str]) -> Result<()> {
    eventually("the flags are back", PATIENCE, || async {
        let flags = space.published().await?;
        for name in names {
            ensure!(weights(&flags, name) == json!([["on", 10], ["off", 90]]), "{flags:#}");
        }
        Ok(())
    })
    .await
}

fn declared(percent: i32) -> Value {
    let rule = json!({"growing": "on", "rest": "off", "percent": percent});
    json!({"spec": {"rules": [{"name": "all", "percentage": rule}]}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phase_moves_a_flag_and_nothing_jumps_when_it_lets_go() -> Result<()> {
    let space = space().await?;
    space.apply(&flag("checkout", ROLLOUT)).await?;
    percent(&space, "checkout", 10).await?;
    space
        .apply(
            "
apiVersion: cutover.dev/v1alpha1
kind: MigrationPhase
metadata: {name: shift}
spec:
  steps: [{name: half, flags: [{flag: checkout, percent: 50}], soak: 6s}]
",
        )
        .await?;
    let held = percent(&space, "checkout", 50).await?;
    let holder = held.held_by.context("not held")?;
    assert_eq!((holder.phase.as_str(), holder.epoch), ("shift", 1));
    assert!(is(&held.conditions, "SpecDiverged", "True").is_some());
    // While a phase holds it, the spec's value is noted, not carried out; nor is it when the phase lets go.
    space.edit::<FeatureFlag>("checkout", declared(77)).await?;
    let free = space.flag_until("checkout", "is let go", |status| status.held_by.is_none()).await?;
    assert_eq!((free.percent, free.held_spec_percent, free.epoch), (Some(50), Some(77), Some(1)));
    let phase = space.all::<MigrationPhase>().get("shift").await?;
    assert_eq!(phase.status.and_then(|status| status.state), Some(PhaseState::Completed));
    percent(&space, "checkout", 50).await?;
    space.edit::<FeatureFlag>("checkout", declared(20)).await?;
    let moved = percent(&space, "checkout", 20).await?;
    assert!(is(&moved.conditions, "SpecDiverged", "True").is_none());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flag_that_a_phase_moves_is_not_deleted_before_the_phase_lets_go() -> Result<()> {
    let space = space().await?;
    space.apply(&flag("checkout", ROLLOUT)).await?;
    percent(&space, "checkout", 10).await?;
    space
        .apply(
            "
apiVersion: cutover.dev/v1alpha1
kind: MigrationPhase
metadata: {name: shift}
spec:
  steps: [{name: half, flags: [{flag: checkout, percent: 50}], soak: 1h}]
",
        )
        .await?;
    percent(&space, "checkout", 50).await?;
    let deleted = space.flags().delete("checkout", &DeleteParams::default()).await;
    // A policy may refuse it at once; the finalizer holds it in any case.
    if deleted.is_ok() {
        space
            .flag_until("checkout", "is held", |status| {
                is(&status.conditions, "Ready", "False").is_some_and(|(reason, _)| reason == "HeldByPhase")
            })
            .await?;
    }
    assert_eq!(weights(&space.published().await?, "checkout"), json!([["on", 50], ["off", 50]]));
    // Without the phase nobody holds it.
    space.all::<MigrationPhase>().delete("shift", &DeleteParams::default()).await?;
    space.flags().delete("checkout", &DeleteParams::default()).await.map(drop).or_else(|error| match error {
        kube::Error::Api(status) if status.code == 404 => Ok(()),
        other => Err(other),
    })?;
    eventually("the flag is gone", PATIENCE, || async {
        ensure!(space.flags().get_opt("checkout").await?.is_none());
        ensure!(space.published().await? == json!({}));
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_status_lost_the_config_map_is_the_truth() -> Result<()> {
    let space = space().await?;
    space.apply(&flag("checkout", ROLLOUT)).await?;
    percent(&space, "checkout", 10).await?;
    space.edit::<FeatureFlag>("checkout", declared(35)).await?;
    percent(&space, "checkout", 35).await?;
    let client = space.bed.plane.client(&crate::installed::operator()).await?;
    let flags: Api<FeatureFlag> = Api::namespaced(client, &space.namespace);
    // As a backup restored without status: only the operator's account may write it.
    let nothing = Patch::Merge(json!({"status": null}));
    flags.patch_status("checkout", &PatchParams::default(), &nothing).await?;
    space.edit::<FeatureFlag>("checkout", json!({"metadata": {"annotations": {"touched": "1"}}})).await?;
    percent(&space, "checkout", 35).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_flag_is_told_and_drops_no_other() -> Result<()> {
    let space = space().await?;
    space.apply(&flag("good", ROLLOUT)).await?;
    percent(&space, "good", 10).await?;
    let stalled = async |name: &str| {
        let status =
            space.flag_until(name, "is stalled", |status| is(&status.conditions, "Stalled", "True").is_some()).await?;
        let (reason, message) = is(&status.conditions, "Stalled", "True").context("not stalled")?;
        anyhow::Ok((reason.to_owned(), message.to_owned()))
    };
    space.apply(&flag("mixed", ROLLOUT).replace("\"off\": false", "\"off\": \"no\"")).await?;
    let (reason, message) = stalled("mixed").await?;
    assert_eq!(reason, "InvalidSpec");
    ensure!(message.contains("spec.variants.on: is a boolean, and off is a string"), "{message}");

    space.apply(&flag("raw", "  targeting: {rollout: [1, 2]}")).await?;
    let (_, message) = stalled("raw").await?;
    ensure!(message.starts_with("spec.targeting.rollout: is not an operator"), "{message}");

    space.apply(&flag("second", "  key: good")).await?;
    let (reason, message) = stalled("second").await?;
    assert_eq!(reason, "Conflicted");
    ensure!(message.contains("good is the key of the older FeatureFlag good"), "{message}");

    // A flag that becomes invalid keeps the form in which it was published.
    space.edit::<FeatureFlag>("good", json!({"spec": {"variants": {"off": "no"}}})).await?;
    stalled("good").await?;
    let flags = space.published().await?;
    ensure!(flags.as_object().context("no flags")?.keys().eq(["good"]), "{flags:#}");
    assert_eq!(weights(&flags, "good"), json!([["on", 10], ["off", 90]]));
    assert_eq!(flags["good"]["variants"], json!({"on": true, "off": false}));

    // The key is free when its owner goes.
    space.flags().delete("good", &DeleteParams::default()).await?;
    space.flag_until("second", "has the key", |status| is(&status.conditions, "Ready", "True").is_some()).await?;
    assert_eq!(space.published().await?["good"]["metadata"]["featureFlag"], "second");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_map_of_somebody_else_is_left_alone() -> Result<()> {
    let space = space().await?;
    space
        .apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: production-flags}, data: {flags.json: theirs}}")
        .await?;
    space.apply(&flag("checkout", ROLLOUT)).await?;
    let status = space
        .flag_until("checkout", "is stalled", |status| is(&status.conditions, "Stalled", "True").is_some())
        .await?;
    assert_eq!(is(&status.conditions, "Stalled", "True").map(|(reason, _)| reason), Some("Conflicted"));
    let theirs = space.config_maps().get("production-flags").await?;
    assert_eq!(theirs.data.context("empty")?["flags.json"], "theirs");
    // It can be deleted all the same.
    space.flags().delete("checkout", &DeleteParams::default()).await?;
    eventually("the flag is gone", PATIENCE, || async {
        ensure!(space.flags().get_opt("checkout").await?.is_none());
        Ok(())
    })
    .await
}
