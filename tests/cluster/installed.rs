//! A control plane of its own with Cutover installed as its users install it: both charts, by Helm.
//!
//! The shared control plane has no policies, so that tests of one part may play the others.

use std::{sync::LazyLock, time::Duration};

use anyhow::{Result, anyhow, ensure};
use cutover_api::v1alpha1::MigrationPhase;
use cutover_testkit::{
    control_plane::{ControlPlane, Identity},
    eventually,
    operator::{NAMESPACE, SERVICE_ACCOUNT},
    tools,
};
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, PostParams},
};
use serde_json::{Value, json};
use tokio::{runtime::Runtime, sync::OnceCell};

static RUNTIME: LazyLock<std::io::Result<Runtime>> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build());

static PLANE: OnceCell<ControlPlane> = OnceCell::const_new();

/// The control plane, with the charts installed and their policies in force. No operator runs.
pub(crate) async fn plane() -> Result<&'static ControlPlane> {
    let runtime = RUNTIME.as_ref().map_err(|error| anyhow!("no runtime: {error}"))?;
    PLANE.get_or_try_init(|| async { runtime.spawn(start()).await? }).await
}

async fn start() -> Result<ControlPlane> {
    let plane = ControlPlane::start_named("installed").await?;
    let gateway = tools::definitions("gateway-api")?;
    plane.install_definitions(gateway).await?;
    install(&plane).await?;
    Ok(plane)
}

/// Installs both charts and waits until the policies are in force.
pub(crate) async fn install(plane: &ControlPlane) -> Result<()> {
    cutover_testkit::operator::install(plane).await?;
    policies_in_force(plane).await
}

/// Waits until the API server refuses what each policy is there to refuse, and has found nothing to warn about.
pub(crate) async fn policies_in_force(plane: &ControlPlane) -> Result<()> {
    let nobody = plane.client_for("nobody", &["system:masters"]).await?;
    let probes = [
        (
            "PhaseAction",
            json!({"phase": "p", "phaseUID": "u", "attempt": 1, "action": "Pause", "requestedBy": "x", "reason": "r"}),
        ),
        ("FeatureFlag", json!({"environment": "e", "variants": {"on": true}, "defaultVariant": "off"})),
    ];
    for (kind, spec) in &probes {
        eventually("a policy in force", Duration::from_secs(30), || async {
            let answer = create(&nobody, "default", &object(kind, "probe", spec), true).await;
            ensure!(
                refusal(&answer).is_some_and(|why| why.contains("ValidatingAdmissionPolicy")),
                "{kind}: {answer:?}"
            );
            Ok(())
        })
        .await?;
    }
    let policies = Api::<ValidatingAdmissionPolicy>::all(plane.admin().await?);
    eventually("policies checked", Duration::from_secs(30), || async {
        for policy in policies.list(&ListParams::default().labels("app.kubernetes.io/part-of=cutover")).await? {
            let status = policy.status.clone().unwrap_or_default();
            ensure!(status.observed_generation == policy.metadata.generation, "{} is not looked at", policy.name_any());
            let warnings = status.type_checking.and_then(|checking| checking.expression_warnings).unwrap_or_default();
            ensure!(warnings.is_empty(), "{}: {warnings:?}", policy.name_any());
        }
        Ok(())
    })
    .await
}

/// The operator's own account, with a real token.
pub(crate) fn operator() -> Identity {
    Identity::ServiceAccount { namespace: NAMESPACE.into(), name: SERVICE_ACCOUNT.into() }
}

/// An object of one of our kinds.
pub(crate) fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "cutover.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

/// A person's decision on the present attempt of a phase. `more` has the action, and may say otherwise of every other field.
pub(crate) fn decision(phase: &MigrationPhase, by: &str, more: &Value) -> Value {
    let attempt = phase.status.as_ref().and_then(|status| status.attempt);
    let mut spec = json!({
        "phase": phase.name_any(), "phaseUID": phase.metadata.uid, "attempt": attempt, "requestedBy": by, "reason": "a test",
    });
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    let mut decision = object("PhaseAction", "", &spec);
    decision["metadata"] = json!({"generateName": "action-"});
    decision
}

/// A Service of this name, and the one ready endpoint behind it.
pub(crate) fn side(name: &str, address: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{ports: [{{name: http, port: 80, targetPort: 8080}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
ports: [{{name: http, port: 8080, protocol: TCP}}]
endpoints: [{{addresses: [{address}], conditions: {{ready: true}}}}]
"
    )
}

/// Our kinds in one namespace.
pub(crate) fn api(client: &Client, namespace: &str, kind: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("cutover.dev", "v1alpha1", kind));
    Api::namespaced_with(client.clone(), namespace, &resource)
}

/// Creates an object, or only asks whether it would be.
pub(crate) async fn create(
    client: &Client,
    namespace: &str,
    object: &Value,
    dry_run: bool,
) -> kube::Result<DynamicObject> {
    let kind = object["kind"].as_str().unwrap_or_default();
    let params = PostParams { dry_run, field_manager: None };
    let object: DynamicObject = serde_json::from_value(object.clone()).map_err(kube::Error::SerdeError)?;
    api(client, namespace, kind).create(&params, &object).await
}

/// Why the API server refused, if it did.
pub(crate) fn refusal<T>(answer: &kube::Result<T>) -> Option<&str> {
    match answer {
        Err(kube::Error::Api(status)) => Some(&status.message),
        _ => None,
    }
}
