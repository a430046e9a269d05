//! What is missing in the cluster itself: the definitions of a router, and a right of the operator's own.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use cutover_api::v1alpha1::{TrafficSplit, TrafficSplitStatus};
use cutover_testkit::{
    control_plane::ControlPlane,
    eventually,
    operator::{NAMESPACE, SERVICE_ACCOUNT},
    tools,
};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::json;

use super::{Bed, may};
use crate::installed;

struct Shop<'a> {
    bed: &'a Bed,
    client: Client,
    namespace: String,
}

impl<'a> Shop<'a> {
    async fn open(bed: &'a Bed) -> Result<Self> {
        let namespace = bed.plane.unique_namespace().await?;
        let world = include_str!("world.yaml");
        // Services and their endpoints; the rest needs definitions that are missing here.
        let sides: Vec<&str> = world.split("---").take(4).collect();
        bed.plane.apply_yaml(&namespace, &sides.join("---")).await?;
        Ok(Self { client: bed.plane.admin().await?, bed, namespace })
    }

    /// Applies a split and waits for what its status says then.
    async fn split(&self, name: &str, weight: i32, routers: &str, expected: &Expected<'_>) -> Result<()> {
        let yaml = format!(
            "
apiVersion: cutover.dev/v1alpha1
kind: TrafficSplit
metadata: {{name: {name}}}
spec:
  hosts: [{name}.example.com]
  legacy: {{service: {{name: old, port: 80}}}}
  new: {{service: {{name: new, port: 80}}}}
  newWeight: {weight}
  routers: {routers}
"
        );
        self.bed.plane.apply_yaml(&self.namespace, &yaml).await?;
        self.until(name, expected).await
    }

    async fn until(&self, name: &str, expected: &Expected<'_>) -> Result<()> {
        let splits: Api<TrafficSplit> = Api::namespaced(self.client.clone(), &self.namespace);
        eventually(name, Duration::from_secs(30), || async {
            let split = splits.get(name).await?;
            let status = split.status.context("no status yet")?;
            ensure!(status.observed_generation == split.metadata.generation, "of an older generation");
            let (reason, message) = reason(&status).context("no reason")?;
            let says = expected.says.iter().all(|part| message.contains(part));
            ensure!(reason == expected.reason && says, "{reason}: {message}");
            Ok(())
        })
        .await
    }

    async fn canary_carries(&self, split: &str, weight: i32) -> Result<()> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("networking.k8s.io", "v1", "Ingress"));
        let ingresses: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &self.namespace, &resource);
        eventually("the Ingress carries the weight", Duration::from_secs(10), || async {
            let canary = ingresses.get(&format!("{split}-cutover-canary")).await?;
            let carried = canary.metadata.annotations.context("no annotations")?;
            let carried = carried.get("nginx.ingress.kubernetes.io/canary-weight").cloned();
            ensure!(carried == Some(weight.to_string()), "{carried:?}");
            Ok(())
        })
        .await
    }

    async fn route(&self, split: &str) -> Result<Option<DynamicObject>> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "HTTPRoute"));
        let routes: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &self.namespace, &resource);
        Ok(routes.get_opt(split).await?)
    }
}

struct Expected<'a> {
    reason: &'a str,
    says: &'a [&'a str],
}

/// Reason and message of what keeps a split from being ready; of `Ready` when nothing does.
fn reason(status: &TrafficSplitStatus) -> Option<(&str, &str)> {
    let open =
        status.conditions.iter().find(|it| matches!(&*it.type_, "Stalled" | "Reconciling") && it.status == "True");
    let told = open.or_else(|| status.conditions.iter().find(|it| it.type_ == "Ready"))?;
    Some((&told.reason, &told.message))
}

const BOTH: &str = "[{ingressNginx: {className: nginx}}, {gatewayApi: {parentRefs: [{name: edge, namespace: infra}]}}]";
const CALLS: &str = "[{ingressNginx: {className: nginx}}, {gatewayApi: {routeKind: GRPCRoute, parentRefs: [{name: edge, namespace: infra}]}}]";
const INGRESS: &str = "[{ingressNginx: {className: nginx}}]";
const LIMITED: &str = "[{traefik: {}}]\n  edge: {rateLimit: {requestsPerMinute: 600}}";
const AS_DECLARED: Expected = Expected { reason: "AsDeclared", says: &[] };

/// The split waits for its Gateway, which nobody runs here: its route is written.
const NO_GATEWAY: Expected = Expected {
    reason: "ReferenceNotFound",
    says: &["spec.routers[1].gatewayApi.parentRefs[0]: there is no Gateway infra/edge: create it, or name another"],
};

#[tokio::test(flavor = "multi_thread")]
async fn what_the_cluster_or_the_operator_lacks_is_told_and_clears_without_a_restart() -> Result<()> {
    let bed = Bed::start("missing", false).await?;
    let shop = Shop::open(&bed).await?;
    without_definitions(&shop).await?;
    without_traefik(&shop).await?;
    without_a_right(&shop).await?;
    ensure!(bed.operator.process().exited().is_none(), "the operator has ended");
    Ok(())
}

/// Of the Gateway API some definitions may be there and others not.
fn definitions_of_calls() -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let is_of_calls = |file: &PathBuf| file.to_string_lossy().contains("grpcroutes");
    let (calls, others): (Vec<_>, Vec<_>) = tools::definitions("gateway-api")?.into_iter().partition(is_of_calls);
    ensure!(calls.len() == 1, "{calls:?}");
    Ok((calls, others))
}

async fn without_definitions(shop: &Shop<'_>) -> Result<()> {
    let (calls, others) = definitions_of_calls()?;
    let told = Expected { reason: "RouterNotInstalled", says: &["spec.routers[1].gatewayApi", "install"] };
    shop.split("both", 20, BOTH, &told).await?;
    shop.canary_carries("both", 20).await?;
    shop.split("both", 40, BOTH, &told).await?;
    shop.canary_carries("both", 40).await?;

    shop.bed.plane.install_definitions(others).await?;
    shop.until("both", &NO_GATEWAY).await?;
    // The kind for gRPC is missing alone: who needs it is told so, and nobody else.
    let of_calls = Expected {
        reason: "RouterNotInstalled",
        says: &["spec.routers[1].gatewayApi", "GRPCRoutes of gateway.networking.k8s.io/v1", "install"],
    };
    shop.split("calls", 20, CALLS, &of_calls).await?;
    shop.canary_carries("calls", 20).await?;
    shop.until("both", &NO_GATEWAY).await?;
    shop.bed.plane.install_definitions(calls).await?;
    shop.until("calls", &NO_GATEWAY).await?;
    let route = shop.route("both").await?.context("no HTTPRoute was made")?;
    let weights: Vec<_> = route.data["spec"]["rules"][0]["backendRefs"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|backend| backend["weight"].as_i64())
        .collect();
    ensure!(weights == [Some(60), Some(40)], "{weights:?}");
    Ok(())
}

async fn without_traefik(shop: &Shop<'_>) -> Result<()> {
    const ROUTERS: &str = "[{ingressNginx: {className: nginx}}, {traefik: {}}]";
    let told = Expected { reason: "RouterNotInstalled", says: &["spec.routers[1].traefik", "install Traefik's CRDs"] };
    shop.split("traefik", 20, ROUTERS, &told).await?;
    shop.canary_carries("traefik", 20).await?;
    shop.split("traefik", 40, ROUTERS, &told).await?;
    shop.canary_carries("traefik", 40).await?;
    shop.bed.plane.install_definitions(tools::definitions("traefik")?).await?;
    shop.until("traefik", &AS_DECLARED).await?;
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("traefik.io", "v1alpha1", "TraefikService"));
    let services: Api<DynamicObject> = Api::namespaced_with(shop.client.clone(), &shop.namespace, &resource);
    let weighted = services.get("traefik-cutover-weighted").await?;
    let members = weighted.data["spec"]["weighted"]["services"].as_array().cloned().unwrap_or_default();
    let weights: Vec<_> = members.iter().map(|member| member["weight"].as_i64()).collect();
    ensure!(weights == [Some(60), Some(40)], "{weights:?}");
    Ok(())
}

/// Of these kinds every right is taken.
const TAKEN: [&str; 2] = ["httproutes", "middlewares"];

/// Takes every right on HTTPRoutes and on Middlewares from the operator. Returns the rules that it had.
async fn take_the_right(client: &Client) -> Result<Vec<PolicyRule>> {
    let roles: Api<ClusterRole> = Api::all(client.clone());
    let rules = roles.get("cutover").await?.rules.unwrap_or_default();
    let is_taken = |rule: &&PolicyRule| rule.resources.iter().flatten().any(|name| TAKEN.contains(&name.as_str()));
    let left: Vec<_> = rules.iter().filter(|rule| !is_taken(rule)).cloned().collect();
    ensure!(left.len() + TAKEN.len() == rules.len(), "one rule is about each: {rules:?}");
    give(client, &left, false).await?;
    Ok(rules)
}

/// Gives the operator these rights, with or without those on HTTPRoutes.
async fn give(client: &Client, rules: &[PolicyRule], routes: bool) -> Result<()> {
    let roles: Api<ClusterRole> = Api::all(client.clone());
    let patch = Patch::Merge(json!({"rules": rules}));
    roles.patch("cutover", &PatchParams::default(), &patch).await?;
    in_force(client, routes).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_never_had_a_right_is_ready_and_says_what_it_lacks() -> Result<()> {
    let plane = ControlPlane::start_named("never-allowed").await?;
    plane.install_definitions(tools::definitions("gateway-api")?).await?;
    plane.install_definitions(tools::definitions("traefik")?).await?;
    installed::install(&plane).await?;
    let client = plane.admin().await?;
    let rules = take_the_right(&client).await?;
    let bed = Bed::operate(plane, "never-allowed").await?;

    let shop = Shop::open(&bed).await?;
    let told = Expected {
        reason: "Forbidden",
        says: &["spec.routers[1].gatewayApi", "may not list httproutes.gateway.networking.k8s.io", "grant"],
    };
    shop.split("both", 30, BOTH, &told).await?;
    // The other router goes on.
    shop.canary_carries("both", 30).await?;
    shop.split("both", 40, BOTH, &told).await?;
    shop.canary_carries("both", 40).await?;
    ensure!(shop.route("both").await?.is_none(), "an HTTPRoute was made blindly");
    // Without Middlewares Traefik's routes go on that name none.
    shop.split("limited", 20, "[{traefik: {}}]", &AS_DECLARED).await?;
    let told = Expected { reason: "Forbidden", says: &["spec.edge", "may not list middlewares", "grant"] };
    shop.split("limited", 40, LIMITED, &told).await?;

    give(&client, &rules, true).await?;
    shop.until("both", &NO_GATEWAY).await?;
    ensure!(shop.route("both").await?.is_some(), "the HTTPRoute is still not there");
    shop.until("limited", &AS_DECLARED).await
}

async fn without_a_right(shop: &Shop<'_>) -> Result<()> {
    let rules = take_the_right(&shop.client).await?;

    let told = Expected {
        reason: "Forbidden",
        says: &[
            "spec.routers[1].gatewayApi",
            "HTTPRoute late",
            "httproutes.gateway.networking.k8s.io",
            "cutover",
            "grant",
        ],
    };
    shop.split("late", 30, BOTH, &told).await?;
    shop.canary_carries("late", 30).await?;
    ensure!(shop.route("late").await?.is_none(), "an HTTPRoute was made without the right");
    // Others do not suffer from it.
    shop.split("plain", 25, INGRESS, &AS_DECLARED).await?;
    shop.split("plain", 35, INGRESS, &AS_DECLARED).await?;
    shop.canary_carries("plain", 35).await?;

    // No watch tells of a right that is given: it is tried again, a few seconds later at first.
    give(&shop.client, &rules, true).await?;
    shop.until("late", &NO_GATEWAY).await?;
    ensure!(shop.route("late").await?.is_some(), "the HTTPRoute is still not there");
    Ok(())
}

/// Waits until the API server goes by the changed role.
async fn in_force(client: &Client, allowed: bool) -> Result<()> {
    let user = format!("system:serviceaccount:{NAMESPACE}:{SERVICE_ACCOUNT}");
    eventually("the role in force", Duration::from_secs(10), || async {
        ensure!(may(client, &user, "patch", "gateway.networking.k8s.io", "httproutes").await? == allowed, "not yet");
        Ok(())
    })
    .await
}
