//! The objects that are measured with: splits with Services and endpoints of their own, and foreign objects around them.

use anyhow::{Result, bail};
use cutover_testkit::{control_plane::ControlPlane, gateway};
use futures::{StreamExt, TryStreamExt, stream};
use kube::{
    Api, Client,
    api::{DynamicObject, PostParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};

/// Namespace of the splits.
pub(super) const NAMESPACE: &str = "fleet";
const FOREIGN: &str = "foreign";
/// Requests at once.
const AT_ONCE: usize = 16;

/// The splits so far.
pub(super) struct Fleet {
    client: Client,
    names: Vec<String>,
}

impl Fleet {
    pub(super) async fn new(plane: &ControlPlane) -> Result<Self> {
        let client = plane.admin().await?;
        for name in [NAMESPACE, FOREIGN] {
            create(&client, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})).await?;
        }
        Ok(Self { client, names: Vec::new() })
    }

    /// Names of the splits.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    pub(super) async fn foreign(&self, count: usize) -> Result<()> {
        let objects = (0..count).flat_map(|i| {
            let name = format!("other-{i}");
            let mut objects = service(FOREIGN, &name, address(40_000 + i)).to_vec();
            objects.push(json!({
                "apiVersion": "networking.k8s.io/v1",
                "kind": "Ingress",
                "metadata": {"name": name, "namespace": FOREIGN, "labels": {"team": "others"}},
                "spec": {"ingressClassName": "nginx", "rules": [{
                    "host": format!("{name}.others.example.com"),
                    "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": {
                        "service": {"name": name, "port": {"number": 80}},
                    }}]},
                }]},
            }));
            objects
        });
        self.create_all(objects).await
    }

    /// Makes splits until there are `count`; returns the names of the new ones.
    pub(super) async fn grow_to(&mut self, count: usize) -> Result<&[String]> {
        let new: Vec<_> = (self.names.len()..count).collect();
        let objects = new.iter().flat_map(|i| {
            let name = format!("split-{i}");
            let mut objects = Vec::new();
            for (side, number) in [("legacy", 0), ("new", 1)] {
                objects.extend(service(NAMESPACE, &format!("{name}-{side}"), address(i * 2 + number)));
            }
            objects.push(split(&name));
            objects
        });
        self.create_all(objects).await?;
        let before = self.names.len();
        self.names.extend(new.iter().map(|i| format!("split-{i}")));
        Ok(self.names.get(before..).unwrap_or_default())
    }

    async fn create_all(&self, objects: impl Iterator<Item = Value>) -> Result<()> {
        stream::iter(objects)
            .map(|object| create(&self.client, object))
            .buffered(AT_ONCE)
            .try_for_each(|()| std::future::ready(Ok(())))
            .await
    }
}

/// A Service without selector and its three ready endpoints.
fn service(namespace: &str, name: &str, first: [u8; 3]) -> [Value; 2] {
    let [b, c, d] = first;
    let endpoints: Vec<_> = (0..3)
        .map(|i| json!({"addresses": [format!("198.{b}.{c}.{}", d + i)], "conditions": {"ready": true}}))
        .collect();
    [
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
        }),
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": format!("{name}-a"), "namespace": namespace,
                "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4", "ports": [{"name": "http", "port": 8080}], "endpoints": endpoints,
        }),
    ]
}

/// The first of four addresses of the pods' range.
fn address(number: usize) -> [u8; 3] {
    let byte = |value: usize| u8::try_from(value % 256).unwrap_or_default();
    [18, byte(1 + number / 60), byte(number % 60 * 4 + 1)]
}

fn split(name: &str) -> Value {
    json!({
        "apiVersion": "cutover.dev/v1alpha1", "kind": "TrafficSplit",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "hosts": [format!("{name}.example.com")],
            "legacy": {"service": {"name": format!("{name}-legacy"), "port": 80}},
            "new": {"service": {"name": format!("{name}-new"), "port": 80}},
            "newWeight": 0,
            "routers": [
                {"ingressNginx": {"className": "nginx"}},
                {"gatewayApi": {"parentRefs": [{"name": gateway::NAME, "namespace": gateway::GATEWAY_NAMESPACE}]}},
            ],
        },
    })
}

pub(super) async fn create(client: &Client, object: Value) -> Result<()> {
    let object: DynamicObject = serde_json::from_value(object)?;
    let Some(types) = &object.types else { bail!("an object without a kind") };
    let mut resource = ApiResource::from_gvk(&GroupVersionKind::try_from(types)?);
    if resource.kind == "Ingress" {
        "ingresses".clone_into(&mut resource.plural);
    }
    let api: Api<DynamicObject> = match &object.metadata.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    api.create(&PostParams::default(), &object).await?;
    Ok(())
}
