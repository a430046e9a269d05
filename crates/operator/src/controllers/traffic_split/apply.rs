//! Carries out the steps of a plan, each one request, and takes the API server's answers in.

use cutover_api::labels::MANAGER_TRAFFIC_SPLIT;
use cutover_engine::router::{Meta, ObjectKind, RouteStep};
use kube::{
    Client,
    api::{DeleteParams, Patch, PatchParams, Preconditions, PropagationPolicy},
    core::Request,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

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
        ObjectKind::HttpRoute | ObjectKind::GrpcRoute => Answer::Route(read(client, request).await?),
        ObjectKind::Service => Answer::Service(read(client, request).await?),
        ObjectKind::EndpointSlice => Answer::EndpointSlice(read(client, request).await?),
        ObjectKind::IngressRoute
        | ObjectKind::TraefikService
        | ObjectKind::VirtualService
        | ObjectKind::Middleware
        | ObjectKind::ServersTransport => Answer::Whole(read(client, request).await?),
    })
}

fn requests(kind: ObjectKind, namespace: &str) -> Request {
    let root = if kind.group().is_empty() { "api" } else { "apis" };
    Request::new(format!("/{root}/{}/namespaces/{namespace}/{}", kind.api_version(), kind.plural()))
}
