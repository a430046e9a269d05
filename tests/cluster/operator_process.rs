//! The operator's process against a real control plane: who leads, what it asks for at rest, and how it ends.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use cutover_testkit::{
    control_plane::{AuditEntry, ControlPlane, Identity},
    eventually,
    operator::{NAMESPACE, Operator, Options},
    tools,
};
use jiff::SignedDuration;
use k8s_openapi::api::{coordination::v1::Lease, core::v1::Namespace};
use kube::{Api, api::PostParams};
use serde_json::{from_value, json};

/// Short, so that the test is; in the proportions of the defaults, and long enough for a machine with much else to do.
const LEASE: SignedDuration = SignedDuration::from_secs(6);
const ELECTION: [&str; 3] = ["--lease-duration=6s", "--lease-renew-deadline=4s", "--lease-retry-period=500ms"];

async fn plane(name: &str) -> Result<ControlPlane> {
    let plane = ControlPlane::start_named(name).await?;
    let definitions = std::fs::read_dir(tools::repository().join("crds"))?;
    plane
        .install_definitions(definitions.map(|file| file.map(|file| file.path())).collect::<Result<Vec<_>, _>>()?)
        .await?;
    let namespace: Namespace = from_value(json!({"metadata": {"name": NAMESPACE}}))?;
    Api::all(plane.admin().await?).create(&PostParams::default(), &namespace).await?;
    Ok(plane)
}

/// A replica as a user of its own name, so that the audit log tells the replicas apart.
async fn replica(plane: &ControlPlane, name: &str) -> Result<Operator> {
    let identity = Identity::User { name: name.to_owned(), groups: vec!["system:masters".to_owned()] };
    let flags = ELECTION.iter().map(|flag| (*flag).to_owned()).collect();
    let replica = Operator::start_as(plane, &identity, Options { name: name.to_owned(), flags, program: None }).await?;
    replica.ready().await?;
    Ok(replica)
}

/// Waits until the replica says that it may write.
async fn leads(replica: &Operator) -> Result<()> {
    eventually(&format!("{} leads", replica.name()), Duration::from_secs(30), || async {
        let metrics = replica.metrics().await?;
        ensure!(metrics.lines().any(|line| line == "cutover_leader 1"), "it does not");
        Ok(())
    })
    .await
}

async fn lease(plane: &ControlPlane) -> Result<Lease> {
    Ok(Api::<Lease>::namespaced(plane.admin().await?, NAMESPACE).get("cutover-operator").await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_takes_over_at_once_after_sigterm_and_after_the_lease_has_expired_after_sigkill() -> Result<()> {
    let plane = plane("election").await?;
    let beginning = plane.audit().mark()?;
    let one = replica(&plane, "one").await?;
    leads(&one).await?;
    let two = replica(&plane, "two").await?;

    eventually("the standby watches the lease", Duration::from_secs(10), || async {
        let watches = |entry: &AuditEntry| entry.user == "two" && entry.verb == "watch" && entry.resource == "leases";
        ensure!(plane.audit().since(beginning)?.iter().any(watches), "it does not");
        Ok(())
    })
    .await?;
    let mark = plane.audit().mark()?;
    let quiet = Duration::from_secs(5);
    tokio::time::sleep(quiet).await;
    let mut asked: BTreeMap<(String, String, String), usize> = BTreeMap::new();
    for entry in plane.audit().since(mark)? {
        // No policies are installed here: whether they have come is asked again now and then.
        if ["one", "two"].contains(&entry.user.as_str()) && entry.resource != "phaseactions" {
            *asked.entry((entry.user, entry.verb, entry.resource)).or_default() += 1;
        }
    }
    let renewals = asked.remove(&("one".to_owned(), "update".to_owned(), "leases".to_owned())).unwrap_or_default();
    ensure!((1..=11).contains(&renewals), "{renewals} renewals in {quiet:?}");
    ensure!(asked.is_empty(), "at rest nothing else is asked for: {asked:?}");

    let exit = tokio::task::block_in_place(|| one.process().stop())?;
    ensure!(exit.success(), "{exit}");
    leads(&two).await?;
    let transitions = lease(&plane).await?.spec.and_then(|spec| spec.lease_transitions);
    ensure!(transitions == Some(1), "{transitions:?} transitions");

    let three = replica(&plane, "three").await?;
    two.process().kill()?;
    let renewed = lease(&plane).await?.spec.and_then(|spec| spec.renew_time).context("never renewed")?.0;
    leads(&three).await?;
    let taken = lease(&plane).await?.spec.context("no spec")?;
    let (holder, acquired) = taken.holder_identity.zip(taken.acquire_time).context("no holder")?;
    ensure!(holder.starts_with("three_"), "{holder}");
    ensure!(
        acquired.0.duration_since(renewed) >= LEASE,
        "taken at {acquired:?}, renewed at {renewed}: before it expired"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_outage_is_survived_and_a_long_one_ends_the_leader() -> Result<()> {
    let plane = plane("outages").await?;
    let one = replica(&plane, "one").await?;
    leads(&one).await?;

    plane.pause_apiserver()?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    plane.resume_apiserver()?;
    leads(&one).await?;
    ensure!(one.process().exited().is_none(), "{}", one.process().log_tail());

    plane.pause_apiserver()?;
    let exit = one.process().wait_exit(Duration::from_secs(60)).await?;
    plane.resume_apiserver()?;
    ensure!(exit.code() == Some(1), "{exit}");
    let said = one.process().log_tail();
    ensure!(said.contains("this replica does not lead any more"), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_cannot_fill_its_caches_is_alive_not_ready_and_does_not_contend() -> Result<()> {
    let plane = ControlPlane::start_named("nodefinitions").await?;
    let client = plane.admin().await?;
    let namespace: Namespace = from_value(json!({"metadata": {"name": NAMESPACE}}))?;
    Api::all(client.clone()).create(&PostParams::default(), &namespace).await?;
    let identity = Identity::User { name: "one".to_owned(), groups: vec!["system:masters".to_owned()] };
    let flags = ELECTION.iter().map(|flag| (*flag).to_owned()).collect();
    let one = Operator::start_as(&plane, &identity, Options { name: "one".to_owned(), flags, program: None }).await?;
    // The server answers before anything else works.
    eventually("metrics", Duration::from_secs(10), || async {
        ensure!(one.metrics().await?.contains("\ncutover_leader 0"), "it leads");
        Ok(())
    })
    .await?;
    let leases: Api<Lease> = Api::namespaced(client, NAMESPACE);
    ensure!(leases.get_opt("cutover-operator").await?.is_none());
    let definitions = std::fs::read_dir(tools::repository().join("crds"))?;
    plane
        .install_definitions(definitions.map(|file| file.map(|file| file.path())).collect::<Result<Vec<_>, _>>()?)
        .await?;
    one.ready().await?;
    leads(&one).await?;
    Ok(())
}

#[test]
fn sinks_that_cannot_work_end_it_at_start_by_the_name_of_the_field() -> Result<()> {
    let folder = tools::repository().join("target/tmp");
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("sinks-of-a-test.json");
    std::fs::write(
        &file,
        r#"{"sinks": [{"name": "releases", "url": "https://x.example.com", "format": "CloudEvents"}]}"#,
    )?;
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| tools::repository().join("target"), std::path::PathBuf::from);
    let mut command = std::process::Command::new(target.join("debug/cutover-operator"));
    let output = command.env_clear().arg("--notification-sinks").arg(&file).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1), "{}: {said}", output.status);
    ensure!(
        said.contains("--notification-sinks") && said.contains("sinks[0].secretFile: CloudEvents are signed: give it"),
        "{said}"
    );
    Ok(())
}
