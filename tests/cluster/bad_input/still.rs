//! What must not move: every route, Deployment, Service, ConfigMap and EndpointSlice of a namespace, and what is in force on the
//! splits and flags in it.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, ListParams},
    core::{ApiResource, GroupVersionKind},
};

const OBJECTS: [(&str, &str, &str); 7] = [
    ("networking.k8s.io", "v1", "Ingress"),
    ("gateway.networking.k8s.io", "v1", "HTTPRoute"),
    ("gateway.networking.k8s.io", "v1", "GRPCRoute"),
    ("apps", "v1", "Deployment"),
    ("", "v1", "Service"),
    ("", "v1", "ConfigMap"),
    ("discovery.k8s.io", "v1", "EndpointSlice"),
];

/// What is wanted and what is in force, by kind: where the status says it.
const IN_FORCE: [(&str, &[&str]); 2] = [
    ("TrafficSplit", &["desiredWeight", "appliedWeight", "exposure", "holder"]),
    ("FeatureFlag", &["percent", "published"]),
];

/// Kind and name, and what is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Still(BTreeMap<String, String>);

impl Still {
    /// Looks at a namespace. The object called `except` is the one that is wrong: what *its* status says in force may appear.
    pub(super) async fn look(client: &Client, namespace: &str) -> Result<Self> {
        let mut seen = BTreeMap::new();
        for (group, version, kind) in OBJECTS {
            for object in list(client, namespace, group, version, kind).await? {
                let version = object.resource_version().unwrap_or_default();
                seen.insert(format!("{kind}/{}", object.name_any()), format!("{:?} {version}", object.uid()));
            }
        }
        for (kind, fields) in IN_FORCE {
            for object in list(client, namespace, "cutover.dev", "v1alpha1", kind).await? {
                let values = fields.iter().map(|field| format!("{field}={}", object.data["status"][field]));
                seen.insert(format!("{kind}/{}", object.name_any()), values.collect::<Vec<_>>().join(" "));
            }
        }
        Ok(Self(seen))
    }

    pub(super) fn has(&self, object: &str) -> bool {
        self.0.contains_key(object)
    }

    /// Whether everything is as it was. A wrong object that is new (`own`, as kind and name) may be there with nothing in force, and
    /// what it `makes` of its own (`*` stands for the rest of a name).
    pub(super) fn same(&self, later: &Self, own: &str, makes: &[String]) -> Result<()> {
        let in_force = ["appliedWeight", "holder", "percent", "published"];
        let nothing = |value: &str| {
            let fields = value.split(' ').filter_map(|field| field.split_once('='));
            fields.into_iter().all(|(name, value)| value == "null" || !in_force.contains(&name))
        };
        let mut changed = Vec::new();
        for name in self.0.keys().chain(later.0.keys()) {
            let (before, after) = (self.0.get(name), later.0.get(name));
            let merely_stored = name == own && before.is_none() && after.is_none_or(|after| nothing(after));
            let is = |made: &String| made.strip_suffix('*').map_or(made == name, |start| name.starts_with(start));
            let made = before.is_none() && makes.iter().any(is);
            if before != after && !merely_stored && !made {
                changed.push(format!("{name}: {before:?} became {after:?}"));
            }
        }
        changed.dedup();
        ensure!(changed.is_empty(), "moved: {}", changed.join(", "));
        Ok(())
    }
}

async fn list(client: &Client, namespace: &str, group: &str, version: &str, kind: &str) -> Result<Vec<DynamicObject>> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    Ok(api.list(&ListParams::default()).await?.items)
}
