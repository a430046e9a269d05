//! Plays the controller of a Gateway: says of its class, of itself and of every route, in each of its forms, that it is accepted, as a
//! real one would. Without it every split would wait for its gateway, and the waiting would be measured.

use anyhow::Result;
use cutover_testkit::control_plane::ControlPlane;
use futures::StreamExt;
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::{Value, json};

use super::fleet::{self, NAMESPACE};

/// Name of the Gateway and of its class.
pub(super) const NAME: &str = "edge";
/// Namespace of the Gateway.
pub(super) const GATEWAY_NAMESPACE: &str = "infra";
const CONTROLLER: &str = "bench.example.com/gateway";
const MANAGER: &str = "gateway-controller";
/// Requests at once.
const AT_ONCE: usize = 8;

/// Makes the Gateway, and accepts routes until the process ends.
pub(super) async fn start(plane: &ControlPlane) -> Result<()> {
    let client = plane.client_for(MANAGER, &["system:masters"]).await?;
    fleet::create(&client, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": GATEWAY_NAMESPACE}}))
        .await?;
    let class = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
        "metadata": {"name": NAME}, "spec": {"controllerName": CONTROLLER},
    });
    let gateway = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"name": NAME, "namespace": GATEWAY_NAMESPACE},
        "spec": {"gatewayClassName": NAME, "listeners": [
            {"name": "http", "protocol": "HTTP", "port": 80, "allowedRoutes": {"namespaces": {"from": "All"}}},
        ]},
    });
    fleet::create(&client, class).await?;
    fleet::create(&client, gateway).await?;
    let status = |kinds: &[&str]| json!({"status": {"conditions": conditions(kinds, Some(1))}});
    let classes: Api<DynamicObject> = Api::all_with(client.clone(), &resource("GatewayClass"));
    classes.patch_status(NAME, &params(), &Patch::Merge(status(&["Accepted"]))).await?;
    let gateways = Api::<DynamicObject>::namespaced_with(client.clone(), GATEWAY_NAMESPACE, &resource("Gateway"));
    gateways.patch_status(NAME, &params(), &Patch::Merge(status(&["Accepted", "Programmed"]))).await?;
    tokio::spawn(accept(client));
    Ok(())
}

async fn accept(client: Client) {
    let routes: Api<DynamicObject> = Api::namespaced_with(client, NAMESPACE, &resource("HTTPRoute"));
    let changes = watcher(routes.clone(), watcher::Config::default()).default_backoff().applied_objects();
    changes
        .for_each_concurrent(AT_ONCE, async |route| {
            let accepted = match route {
                Ok(route) if is_accepted(&route) => Ok(()),
                Ok(route) => accept_one(&routes, &route).await,
                Err(error) => Err(error.into()),
            };
            if let Err(error) = accepted {
                crate::say::line(format_args!("the bench's gateway: {error}"));
            }
        })
        .await;
}

async fn accept_one(routes: &Api<DynamicObject>, route: &DynamicObject) -> Result<()> {
    let status = json!({"status": {"parents": [{
        "parentRef": {"name": NAME, "namespace": GATEWAY_NAMESPACE},
        "controllerName": CONTROLLER,
        "conditions": conditions(&["Accepted", "ResolvedRefs"], route.metadata.generation),
    }]}});
    routes.patch_status(&route.name_any(), &params(), &Patch::Merge(status)).await?;
    Ok(())
}

fn is_accepted(route: &DynamicObject) -> bool {
    let observed = route.data.pointer("/status/parents/0/conditions/0/observedGeneration").and_then(Value::as_i64);
    observed.is_some() && observed == route.metadata.generation
}

fn conditions(kinds: &[&str], generation: Option<i64>) -> Value {
    kinds
        .iter()
        .map(|kind| {
            json!({
                "type": kind, "status": "True", "reason": kind, "message": "",
                "observedGeneration": generation, "lastTransitionTime": "2026-01-01T00:00:00Z",
            })
        })
        .collect()
}

fn resource(kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", kind))
}

fn params() -> PatchParams {
    PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() }
}
