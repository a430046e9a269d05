//! Carries out the steps of a plan, each one request, and takes the API server's answers in.

use cutover_api::labels::MANAGER_TRAFFIC_SPLIT;
use cutover_engine::router::{Meta, ObjectKind, RouteStep};
use kube::{
    Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, Preconditions, PropagationPolicy},
    core::{PartialObjectMeta, Request},
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
                Ok(text) if lingers(&text) => read(kind, &text),
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
    let request = requests(kind, namespace).patch(name, params, patch).map_err(kube::Error::BuildRequest)?;
    read(kind, &client.request_text(request).await?)
}

/// The answer is read as a slim view: nothing else of it is looked at.
fn read(kind: ObjectKind, answer: &str) -> kube::Result<Answer> {
    fn view<V: DeserializeOwned>(answer: &str) -> kube::Result<V> {
        serde_json::from_str(answer).map_err(kube::Error::SerdeError)
    }
    Ok(match kind {
        ObjectKind::Ingress => Answer::Ingress(view(answer)?),
        ObjectKind::HttpRoute | ObjectKind::GrpcRoute => Answer::Route(view(answer)?),
        ObjectKind::Service => Answer::Service(view(answer)?),
        ObjectKind::EndpointSlice => Answer::EndpointSlice(view(answer)?),
        ObjectKind::IngressRoute
        | ObjectKind::TraefikService
        | ObjectKind::VirtualService
        | ObjectKind::Middleware
        | ObjectKind::ServersTransport
        | ObjectKind::ConfigMap => Answer::Whole(view(answer)?),
    })
}

/// Whether what was to be deleted is still there: somebody's finalizer is on it.
fn lingers(answer: &str) -> bool {
    let object: Option<PartialObjectMeta> = serde_json::from_str(answer).ok();
    object.is_some_and(|it| it.metadata.deletion_timestamp.is_some() && !it.finalizers().is_empty())
}

fn requests(kind: ObjectKind, namespace: &str) -> Request {
    let root = if kind.group().is_empty() { "api" } else { "apis" };
    Request::new(format!("/{root}/{}/namespaces/{namespace}/{}", kind.api_version(), kind.plural()))
}
