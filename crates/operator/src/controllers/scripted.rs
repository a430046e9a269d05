//! What the tests of all controllers need: caches that show what a test says, and a reconcile against a scripted API server.

use std::sync::Arc;

use kube::{Client, runtime::controller::Action};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Error, driver::Reconciler};
use crate::{
    caches::{Caches, Kinds},
    cluster::{
        events::Events,
        scripted::{Scripted, server},
        stores::{Kept, Objects, View, listed_index, listed_objects},
    },
};

/// What the caches show; all of it is listed.
#[derive(Clone, Default)]
pub(super) struct Shown {
    pub(super) environments: Vec<Value>,
    pub(super) splits: Vec<Value>,
    pub(super) flags: Vec<Value>,
    pub(super) phases: Vec<Value>,
    pub(super) actions: Vec<Value>,
    pub(super) services: Vec<Value>,
    pub(super) slices: Vec<Value>,
    pub(super) deployments: Vec<Value>,
    pub(super) jobs: Vec<Value>,
    pub(super) config_maps: Vec<Value>,
    pub(super) schema_versions: Vec<Value>,
    pub(super) authorities: Vec<Value>,
    pub(super) backend_tls_policies: Vec<Value>,
    pub(super) ingresses: Vec<Value>,
    pub(super) http_routes: Vec<Value>,
    pub(super) grpc_routes: Vec<Value>,
    pub(super) gateways: Vec<Value>,
    pub(super) gateway_classes: Vec<Value>,
    pub(super) ingress_routes: Vec<Value>,
    pub(super) traefik_services: Vec<Value>,
    pub(super) middlewares: Vec<Value>,
    pub(super) servers_transports: Vec<Value>,
    pub(super) virtual_services: Vec<Value>,
}

impl Shown {
    /// The caches of our own kinds.
    pub(super) fn kinds(&self) -> Kinds {
        fn objects<K: Kept>(shown: &[Value]) -> Objects<K> {
            listed_objects(shown.iter().map(object).collect())
        }
        Kinds {
            environments: objects(&self.environments),
            splits: objects(&self.splits),
            flags: objects(&self.flags),
            phases: objects(&self.phases),
            actions: objects(&self.actions),
        }
    }

    /// The caches of all others.
    pub(super) fn caches(&self) -> Caches {
        fn index<V: View>(shown: &[Value]) -> crate::cluster::stores::Index<V> {
            listed_index(shown.to_vec())
        }
        Caches {
            services: index(&self.services),
            slices: index(&self.slices),
            deployments: index(&self.deployments),
            jobs: index(&self.jobs),
            config_maps: index(&self.config_maps),
            schema_versions: index(&self.schema_versions),
            authorities: index(&self.authorities),
            backend_tls_policies: index(&self.backend_tls_policies),
            ingresses: index(&self.ingresses),
            http_routes: index(&self.http_routes),
            grpc_routes: index(&self.grpc_routes),
            gateways: index(&self.gateways),
            gateway_classes: index(&self.gateway_classes),
            ingress_routes: index(&self.ingress_routes),
            traefik_services: index(&self.traefik_services),
            middlewares: index(&self.middlewares),
            servers_transports: index(&self.servers_transports),
            virtual_services: index(&self.virtual_services),
        }
    }
}

/// An object, from JSON.
pub(super) fn object<K: DeserializeOwned>(json: &Value) -> K {
    serde_json::from_value(json.clone()).unwrap()
}

/// Events that go to a server of their own, which does not answer.
pub(super) fn unheard() -> Events {
    Events::start(server().0, "cutover.dev/test", "test")
}

/// So many reconciles of `cached` in a row, and the server's part in them, which must be all of it.
pub(super) async fn reconciles<R: Reconciler, T>(
    controller: impl FnOnce(Client) -> R,
    cached: &Value,
    times: usize,
    serve: impl AsyncFnOnce(&mut Scripted) -> T,
) -> (Vec<Result<Action, Error>>, T) {
    let (client, mut api) = server();
    let controller = controller(client);
    tokio::join!(
        async move {
            let mut results = Vec::new();
            for _ in 0..times {
                results.push(controller.reconcile(Arc::new(object(cached))).await);
            }
            drop(controller);
            results
        },
        async {
            let served = serve(&mut api).await;
            api.no_more().await;
            served
        }
    )
}

/// The reason of a condition.
pub(super) fn reason(status: &Value, type_: &str) -> Option<String> {
    let found = status["conditions"].as_array()?.iter().find(|condition| condition["type"] == type_)?;
    Some(found["reason"].as_str()?.to_owned())
}
