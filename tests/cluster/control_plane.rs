//! The control plane does what later tests rely on.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result};
use cutover_testkit::{
    Bed,
    control_plane::{ControlPlane, Identity},
    eventually,
};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::{
    Api, Client, Error,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::json;

async fn apply(client: &Client, namespace: &str, manager: &str, value: &str) -> kube::Result<ConfigMap> {
    let object = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "settings"},
        "data": {"colour": value},
    });
    let maps = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    maps.patch("settings", &PatchParams::apply(manager), &Patch::Apply(object)).await
}

fn code<T>(result: kube::Result<T>) -> Option<u16> {
    match result {
        Err(Error::Api(status)) => Some(status.code),
        _ => None,
    }
}

#[tokio::test]
async fn server_side_apply_keeps_field_managers_apart() -> Result<()> {
    let plane = Bed::control_plane().await?;
    let namespace = plane.unique_namespace().await?;
    let client = plane.admin().await?;
    apply(&client, &namespace, "one", "red").await?;
    assert_eq!(code(apply(&client, &namespace, "two", "blue").await), Some(409));
    let same = apply(&client, &namespace, "two", "red").await?;
    let managers: BTreeSet<_> =
        same.metadata.managed_fields.iter().flatten().filter_map(|entry| entry.manager.as_deref()).collect();
    assert_eq!(managers, BTreeSet::from(["one", "two"]));
    Ok(())
}

#[tokio::test]
async fn audit_log_says_who_did_what() -> Result<()> {
    let plane = Bed::control_plane().await?;
    let namespace = plane.unique_namespace().await?;
    let before = plane.audit().mark()?;
    // Requests of other tests are in the log as well, and the end of a watch that began before.
    let anybody = plane.client_for("ann", &["people"]).await?;
    assert_eq!(code(apply(&anybody, &namespace, "ann", "red").await), Some(403));
    apply(&plane.admin().await?, &namespace, "root", "red").await?;

    let entries = plane.audit().since(before)?;
    let of = |user: &str| {
        entries
            .iter()
            .filter(|entry| entry.user == user && entry.namespace == namespace && entry.resource == "configmaps")
            .map(|entry| (entry.stage.as_str(), entry.verb.as_str(), entry.name.as_str(), entry.code))
            .collect::<Vec<_>>()
    };
    assert_eq!(of("ann"), [("ResponseComplete", "patch", "settings", 403)]);
    assert_eq!(of("admin"), [("ResponseComplete", "patch", "settings", 201)]);
    Ok(())
}

#[tokio::test]
async fn users_and_service_accounts_have_the_rights_that_rbac_gives() -> Result<()> {
    let plane = Bed::control_plane().await?;
    let namespace = plane.unique_namespace().await?;
    let bindings = format!(
        "
apiVersion: v1
kind: ServiceAccount
metadata: {{name: robot}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: edit}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: edit}}
subjects:
- {{kind: ServiceAccount, name: robot, namespace: {namespace}}}
- {{apiGroup: rbac.authorization.k8s.io, kind: Group, name: developers}}
"
    );
    plane.apply_yaml(&namespace, &bindings).await?;
    let robot = plane.service_account_client(&namespace, "robot").await?;
    // RBAC's cache follows its storage.
    let applied = eventually("the binding counts", Duration::from_secs(10), || async {
        Ok(apply(&robot, &namespace, "robot", "red").await?)
    });
    applied.await?;
    apply(&plane.client_for("dana", &["developers"]).await?, &namespace, "robot", "blue").await?;
    apply(&plane.client_for("anybody", &["developers"]).await?, &namespace, "robot", "blue").await?;
    assert_eq!(code(apply(&plane.client_for("dana", &[]).await?, &namespace, "robot", "blue").await), Some(403));
    Ok(())
}

#[tokio::test]
async fn controllers_run() -> Result<()> {
    let plane = Bed::control_plane().await?;
    let namespace = plane.unique_namespace().await?;
    let namespaces = Api::<Namespace>::all(plane.admin().await?);
    namespaces.delete(&namespace, &DeleteParams::default()).await?;
    eventually("the namespace goes", Duration::from_secs(30), || async {
        let left = namespaces.get_opt(&namespace).await?;
        anyhow::ensure!(left.is_none(), "still there: {left:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn command_line_tools_reach_it_as_anybody() -> Result<()> {
    let plane = Bed::control_plane().await?;
    let namespace = plane.unique_namespace().await?;
    let input = "{apiVersion: v1, kind: ConfigMap, metadata: {name: from-kubectl}}";
    let apply = ["apply", "--server-side", "-n", &namespace, "-f", "-"];
    let applied = plane.run("kubectl", apply, plane.kubeconfig(), input).await?.ok()?;
    assert_eq!(applied.trim(), "configmap/from-kubectl serverside-applied");

    let service_account = Identity::ServiceAccount { namespace: namespace.clone(), name: "default".into() };
    let refused = plane.run("kubectl", apply, &plane.kubeconfig_for(&service_account).await?, input).await?;
    assert!(!refused.status.success());
    assert!(refused.stderr.contains("Forbidden"), "{}", refused.stderr);

    let releases = plane.helm(["list", "-n", &namespace, "-o", "json"]).await?.ok()?;
    assert_eq!(releases.trim(), "[]");
    Ok(())
}

#[tokio::test]
async fn api_server_comes_back_on_its_port_with_all_objects() -> Result<()> {
    let plane = ControlPlane::start_named("restarted").await?;
    let namespace = plane.unique_namespace().await?;
    let client = plane.admin().await?;
    let before = apply(&client, &namespace, "root", "red").await?;

    plane.stop_apiserver()?;
    apply(&client, &namespace, "root", "blue").await.expect_err("nobody answers");
    plane.start_apiserver().await?;
    let after = Api::<ConfigMap>::namespaced(client, &namespace).get("settings").await?;
    assert_eq!(after.metadata.resource_version, before.metadata.resource_version);
    assert_eq!(after.data, before.data);

    // A token from before the restart still counts: the keys are the same.
    let account = plane.service_account_client(&namespace, "default").await?;
    plane.stop_apiserver()?;
    plane.start_apiserver().await?;
    let refused = Api::<ConfigMap>::namespaced(account, &namespace).get("settings").await;
    assert_eq!(code(refused), Some(403));
    Ok(())
}

#[tokio::test]
async fn frozen_api_server_answers_when_it_goes_on() -> Result<()> {
    let plane = ControlPlane::start_named("frozen").await?;
    let namespace = plane.unique_namespace().await?;
    let client = plane.admin().await?;
    plane.pause_apiserver()?;
    let request = apply(&client, &namespace, "root", "red");
    tokio::pin!(request);
    tokio::time::timeout(Duration::from_millis(300), &mut request).await.expect_err("nobody answers");
    plane.resume_apiserver()?;
    tokio::time::timeout(Duration::from_secs(30), request).await.context("no answer after it went on")??;
    Ok(())
}
