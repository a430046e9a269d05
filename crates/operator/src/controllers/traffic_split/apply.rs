//! Carries out the steps of a plan, each one request, and takes the API server's answers in.

use cutover_api::{
    labels::{FINALIZER_TRAFFIC_SPLIT, MANAGER_TRAFFIC_SPLIT},
    v1alpha1::TrafficSplit,
};
use cutover_engine::router::{Meta, ObjectKind, RouteStep};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, Preconditions, PropagationPolicy},
    core::Request,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Error, memory::Answer};
use crate::cluster;

/// An answer, and what it is about.
pub(super) struct Answered {
    pub(super) kind: ObjectKind,
    pub(super) name: String,
    pub(super) answer: Answer,
}

/// Sends the steps of one router in order, up to the first that fails.
pub(super) async fn apply(
    client: &Client,
    namespace: &str,
    steps: Vec<RouteStep>,
) -> (Vec<Answered>, Result<(), Error>) {
    let mut answers = Vec::new();
    for step in steps {
        let (kind, name) = (step.kind(), step.name().to_owned());
        match send(client, namespace, step).await {
            Ok(answer) => {
                tracing::debug!(kind = kind.kind(), namespace, name, "written");
                answers.push(Answered { kind, name, answer });
            }
            Err(source) => return (answers, Err(Error::Route { kind: kind.kind(), name, source })),
        }
    }
    (answers, Ok(()))
}

async fn send(client: &Client, namespace: &str, step: RouteStep) -> kube::Result<Answer> {
    match step {
        RouteStep::Apply { kind, name, mut object, resource_version } => {
            let mut params = PatchParams::apply(MANAGER_TRAFFIC_SPLIT);
            if let Some(version) = resource_version {
                params = params.force();
                if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
                    metadata.insert("resourceVersion".to_owned(), version.into());
                }
            }
            patch(client, namespace, kind, &name, &params, &Patch::Apply(object)).await
        }
        RouteStep::MergePatch { kind, name, patch: body } => {
            let params =
                PatchParams { field_manager: Some(MANAGER_TRAFFIC_SPLIT.to_owned()), ..PatchParams::default() };
            patch(client, namespace, kind, &name, &params, &Patch::Merge(body)).await
        }
        RouteStep::Delete { kind, name, uid, resource_version } => {
            let meta = Meta {
                name: name.as_str().into(),
                uid: uid.as_str().into(),
                resource_version: resource_version.as_str().into(),
                ..Meta::default()
            };
            let params = DeleteParams {
                propagation_policy: Some(PropagationPolicy::Background),
                preconditions: Some(Preconditions { uid: Some(uid), resource_version: Some(resource_version) }),
                ..DeleteParams::default()
            };
            let request = requests(kind, namespace).delete(&name, &params).map_err(kube::Error::BuildRequest)?;
            match client.request_text(request).await {
                Ok(_) => Ok(Answer::Deleted(meta)),
                Err(error) if cluster::is_not_found(&error) => Ok(Answer::Deleted(meta)),
                Err(error) => Err(error),
            }
        }
    }
}

async fn patch(
    client: &Client,
    namespace: &str,
    kind: ObjectKind,
    name: &str,
    params: &PatchParams,
    patch: &Patch<Value>,
) -> kube::Result<Answer> {
    async fn read<V: DeserializeOwned>(client: &Client, request: http::Request<Vec<u8>>) -> kube::Result<V> {
        client.request(request).await
    }
    let request = requests(kind, namespace).patch(name, params, patch).map_err(kube::Error::BuildRequest)?;
    // The answer is read as a slim view: nothing else of it is looked at.
    Ok(match kind {
        ObjectKind::Ingress => Answer::Ingress(read(client, request).await?),
        ObjectKind::HttpRoute => Answer::HttpRoute(read(client, request).await?),
        ObjectKind::Service => Answer::Service(read(client, request).await?),
        ObjectKind::EndpointSlice => Answer::EndpointSlice(read(client, request).await?),
    })
}

fn requests(kind: ObjectKind, namespace: &str) -> Request {
    let (root, plural) = match kind {
        ObjectKind::Ingress => ("apis", "ingresses"),
        ObjectKind::HttpRoute => ("apis", "httproutes"),
        ObjectKind::Service => ("api", "services"),
        ObjectKind::EndpointSlice => ("apis", "endpointslices"),
    };
    Request::new(format!("/{root}/{}/namespaces/{namespace}/{plural}", kind.api_version()))
}

/// Adds the finalizer: from then on a deletion waits for the routes to be released or removed.
pub(super) async fn add_finalizer(
    client: &Client,
    namespace: &str,
    split: &TrafficSplit,
) -> Result<TrafficSplit, Error> {
    let finalizers: Vec<&str> =
        split.finalizers().iter().map(String::as_str).chain([FINALIZER_TRAFFIC_SPLIT]).collect();
    write_finalizers(client, namespace, split, &finalizers).await
}

/// Removes it: what had to be done is done.
pub(super) async fn remove_finalizer(client: &Client, namespace: &str, split: &TrafficSplit) -> Result<(), Error> {
    let finalizers: Vec<&str> =
        split.finalizers().iter().map(String::as_str).filter(|name| *name != FINALIZER_TRAFFIC_SPLIT).collect();
    match write_finalizers(client, namespace, split, &finalizers).await {
        Err(Error::Finalizer { source }) if cluster::is_not_found(&source) => Ok(()),
        result => result.map(drop),
    }
}

async fn write_finalizers(
    client: &Client,
    namespace: &str,
    split: &TrafficSplit,
    finalizers: &[&str],
) -> Result<TrafficSplit, Error> {
    let api: Api<TrafficSplit> = Api::namespaced(client.clone(), namespace);
    // The version makes an outdated list of finalizers a conflict, so that nobody else's is lost.
    let body = json!({"metadata": {"resourceVersion": split.resource_version(), "finalizers": finalizers}});
    let params = PatchParams { field_manager: Some(MANAGER_TRAFFIC_SPLIT.to_owned()), ..PatchParams::default() };
    api.patch(&split.name_any(), &params, &Patch::Merge(body)).await.map_err(|source| Error::Finalizer { source })
}
