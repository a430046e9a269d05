//! Plays the controller of a Gateway: says of its class, of itself and of every route, in each of its forms, that it is accepted, as a
//! real one would. Carries no traffic. For tests and measurements of what waits for a gateway's word. API I/O.

use anyhow::Result;
use futures::StreamExt;
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::{Value, json};

use crate::control_plane::ControlPlane;

/// Name of the Gateway and of its class.
pub const NAME: &str = "edge";
/// Namespace of the Gateway.
pub const GATEWAY_NAMESPACE: &str = "infra";
const CONTROLLER: &str = "testkit.example.com/gateway";
const MANAGER: &str = "gateway-controller";
/// Requests at once.
const AT_ONCE: usize = 8;

/// Makes the Gateway, and accepts routes for as long as the runtime lives. The definitions of the Gateway API must be there.
///
/// # Errors
/// When the API server refuses one of its objects.
pub async fn start(plane: &ControlPlane) -> Result<()> {
    let client = plane.client_for(MANAGER, &["system:masters"]).await?;
    let objects = format!(
        "
{{apiVersion: v1, kind: Namespace, metadata: {{name: {GATEWAY_NAMESPACE}}}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {{name: {NAME}}}
spec: {{controllerName: {CONTROLLER}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: {NAME}, namespace: {GATEWAY_NAMESPACE}}}
spec:
  gatewayClassName: {NAME}
  listeners: [{{name: http, protocol: HTTP, port: 80, allowedRoutes: {{namespaces: {{from: All}}}}}}]
"
    );
    plane.apply_yaml(GATEWAY_NAMESPACE, &objects).await?;
    let status = |kinds: &[&str]| json!({"status": {"conditions": conditions(kinds, Some(1))}});
    let classes: Api<DynamicObject> = Api::all_with(client.clone(), &resource("GatewayClass"));
    classes.patch_status(NAME, &params(), &Patch::Merge(status(&["Accepted"]))).await?;
    let gateways = Api::<DynamicObject>::namespaced_with(client.clone(), GATEWAY_NAMESPACE, &resource("Gateway"));
    gateways.patch_status(NAME, &params(), &Patch::Merge(status(&["Accepted", "Programmed"]))).await?;
    tokio::spawn(accept(client));
    Ok(())
}

async fn accept(client: Client) {
    let routes: Api<DynamicObject> = Api::all_with(client.clone(), &resource("HTTPRoute"));
    let changes = watcher(routes, watcher::Config::default()).default_backoff().applied_objects();
    changes
        .for_each_concurrent(AT_ONCE, async |route| {
            let accepted = match route {
                Ok(route) if is_accepted(&route) => Ok(()),
                Ok(route) => accept_one(&client, &route).await,
                Err(error) => Err(error.into()),
            };
            if let Err(error) = accepted {
                tracing::warn!(%error, "routes");
            }
        })
        .await;
}

async fn accept_one(client: &Client, route: &DynamicObject) -> Result<()> {
    let namespace = route.namespace().unwrap_or_default();
    let routes = Api::<DynamicObject>::namespaced_with(client.clone(), &namespace, &resource("HTTPRoute"));
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
