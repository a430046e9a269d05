//! Carries an environment's plan out. Each step is one request, and one more before something is made for the first time: whether
//! somebody else has the name.

use std::{collections::BTreeSet, fmt::Debug};

use cutover_api::{
    conditions::reasons,
    labels::{MANAGER_ENVIRONMENT, OWNER_UID},
};
use cutover_engine::{
    Known,
    environment::{
        Applied, ConfigMapView, DeploymentView, Identity, Marks, ObjectKind, ObjectRef, Observed, Plan, PolicyView,
        Refusal, ServiceView, SliceView, Step,
        build::{BackendTlsPolicy, ServersTransport},
        decide::conflict,
        observed::{MANAGED_BY, SLICE_MANAGER},
        plan::Body,
    },
};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Service},
        discovery::v1::EndpointSlice,
    },
};
use kube::{Api, Client, Resource, ResourceExt, api::ListParams, core::PartialObjectMeta};
use serde::{Serialize, de::DeserializeOwned};

use super::memory::{Answer, Memory};
use crate::{
    cluster::{
        prune::{self, Candidate, Pruned},
        ssa::{self, Ownership, Precondition},
    },
    controllers::Error,
};

/// What carrying out came to: what was done, and what stopped it.
pub(super) type Outcome = (Applied, Result<(), Error>);

/// Carries the steps out, in order. What is refused ends its component's steps; what fails ends all.
pub(super) async fn apply(client: &Client, memory: &Memory, identity: &Identity, plan: &Plan) -> Outcome {
    let Plan { steps, waiting: _, conflicts: _, blocked: _, empty: _ } = plan;
    let mut applied = Applied::default();
    let mut refused: BTreeSet<Option<&str>> = BTreeSet::new();
    for step in steps {
        match step {
            Step::Claim { object, component } => match taken(client, identity, object).await {
                Ok(false) => {}
                Ok(true) => {
                    refused.insert(Some(component));
                    applied.refusals.push(conflict(object, Some(component.clone())));
                }
                Err(error) => return (applied, Err(error)),
            },
            Step::Apply { object, component, uid, body, hash } => {
                if refused.contains(&component.as_deref()) {
                    continue;
                }
                match write(client, identity, object, component.as_deref(), uid.as_deref(), body).await {
                    Ok(Written::Answered(answer)) => {
                        tracing::debug!(%object, namespace = identity.namespace, "applied");
                        memory.written(&identity.namespace, object, answer, hash.clone());
                    }
                    Ok(Written::Refused(refusal)) => {
                        refused.insert(component.as_deref());
                        applied.refusals.push(refusal);
                    }
                    Err(error) => return (applied, Err(error)),
                }
            }
            Step::Delete { object, component: _, uid } => match delete(client, identity, object, uid).await {
                Ok(pruned) => {
                    memory.deleted(&identity.namespace, object);
                    if pruned == Pruned::Deleted {
                        applied.deleted.push(object.clone());
                    }
                }
                Err(error) => return (applied, Err(error)),
            },
        }
    }
    (applied, Ok(()))
}

enum Written {
    Answered(Answer),
    Refused(Refusal),
}

async fn write(
    client: &Client,
    identity: &Identity,
    object: &ObjectRef,
    component: Option<&str>,
    uid: Option<&str>,
    body: &Body,
) -> Result<Written, Error> {
    let answer = match body {
        Body::Deployment(it) => one(client, identity, object, uid, it)
            .await
            .map(|it| it.map(|it| Answer::Deployment(DeploymentView::of(&it)))),
        Body::Service(it) => {
            one(client, identity, object, uid, it).await.map(|it| it.map(|it| Answer::Service(ServiceView::of(&it))))
        }
        Body::EndpointSlice(it) => one(client, identity, object, uid, it)
            .await
            .map(|it| it.map(|it| Answer::EndpointSlice(SliceView::of(&it)))),
        Body::BackendTlsPolicy(it) => one(client, identity, object, uid, it)
            .await
            .map(|it| it.map(|it| Answer::BackendTlsPolicy(PolicyView::of(&it)))),
        Body::ServersTransport(it) => one(client, identity, object, uid, it)
            .await
            .map(|it| it.map(|it| Answer::ServersTransport(Marks::of(&it.metadata, false)))),
        Body::ConfigMap(it) => one(client, identity, object, uid, it)
            .await
            .map(|it| it.map(|it| Answer::ConfigMap(ConfigMapView::of(&it)))),
    };
    match answer {
        Ok(Some(answer)) => Ok(Written::Answered(answer)),
        Ok(None) => Ok(Written::Refused(conflict(object, component.map(str::to_owned)))),
        Err(error) => refusal(&error, object, component).map(Written::Refused).ok_or(error),
    }
}

/// Applies an object; `None` when somebody else has the name.
async fn one<K>(
    client: &Client,
    identity: &Identity,
    object: &ObjectRef,
    uid: Option<&str>,
    wanted: &K,
) -> Result<Option<K>, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Serialize + DeserializeOwned + Clone + Debug,
{
    let api: Api<K> = Api::namespaced(client.clone(), &identity.namespace);
    let found = match uid {
        Some(uid) => Some(uid.to_owned()),
        None => {
            match look(&api, &object.name).await.map_err(|source| Error::Look { object: object.to_string(), source })? {
                None => None,
                // Made by us a moment ago, and not in the cache yet.
                Some(found) if found.labels().get(OWNER_UID) == Some(&identity.uid) => found.uid(),
                Some(_) => return Ok(None),
            }
        }
    };
    let mut body = wanted.clone();
    // With the UID nothing else of this name is written to; without force nothing is taken from somebody who was faster.
    let ownership = if found.is_some() { Ownership::Force } else { Ownership::Respect };
    body.meta_mut().uid = found;
    let answer = ssa::apply(&api, MANAGER_ENVIRONMENT, &body, ownership, &Precondition::Any).await;
    answer.map(Some).map_err(Error::Apply)
}

/// Whether somebody else has the name of a Deployment.
async fn taken(client: &Client, identity: &Identity, object: &ObjectRef) -> Result<bool, Error> {
    let api: Api<Deployment> = Api::namespaced(client.clone(), &identity.namespace);
    let found = look(&api, &object.name).await.map_err(|source| Error::Look { object: object.to_string(), source })?;
    Ok(found.is_some_and(|found| found.labels().get(OWNER_UID) != Some(&identity.uid)))
}

/// What has this name now. A list, so that no right to read whole objects by name is needed.
async fn look<K>(api: &Api<K>, name: &str) -> kube::Result<Option<PartialObjectMeta<K>>>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug,
{
    let named = ListParams::default().fields(&format!("metadata.name={name}"));
    Ok(api.list_metadata(&named).await?.items.into_iter().next())
}

/// What trying again does not help.
fn refusal(error: &Error, object: &ObjectRef, component: Option<&str>) -> Option<Refusal> {
    let kube::Error::Api(status) = error.api()? else { return None };
    let (reason, what) = match status.code {
        400 | 422 => (reasons::INVALID_SPEC, "was found invalid by the API server: correct what it names"),
        403 => (reasons::FORBIDDEN, "was refused by the API server: the right or policy it names is missing"),
        _ => return None,
    };
    let message = format!("{object} {what}: {}", status.message);
    Some(Refusal { component: component.map(str::to_owned), reason, message })
}

async fn delete(client: &Client, identity: &Identity, object: &ObjectRef, uid: &str) -> Result<Pruned, Error> {
    let namespace = identity.namespace.as_str();
    let candidate = Candidate { name: object.name.clone(), uid: uid.to_owned(), version: None };
    match object.kind {
        ObjectKind::Deployment => {
            prune::delete(&Api::<Deployment>::namespaced(client.clone(), namespace), &candidate).await
        }
        ObjectKind::Service => prune::delete(&Api::<Service>::namespaced(client.clone(), namespace), &candidate).await,
        ObjectKind::EndpointSlice => {
            prune::delete(&Api::<EndpointSlice>::namespaced(client.clone(), namespace), &candidate).await
        }
        ObjectKind::BackendTlsPolicy => {
            prune::delete(&Api::<BackendTlsPolicy>::namespaced(client.clone(), namespace), &candidate).await
        }
        ObjectKind::ServersTransport => {
            prune::delete(&Api::<ServersTransport>::namespaced(client.clone(), namespace), &candidate).await
        }
        ObjectKind::ConfigMap => {
            prune::delete(&Api::<ConfigMap>::namespaced(client.clone(), namespace), &candidate).await
        }
    }
    .map_err(|source| Error::Delete { object: object.to_string(), source })
}

/// Before the finalizer goes: reads from the API server, not from caches, whether something of the environment is left, and
/// deletes it. Returns whether nothing was. Which kinds the cluster has is as it was `observed`.
pub(super) async fn sweep(client: &Client, identity: &Identity, observed: &Observed) -> Result<bool, Error> {
    let cluster_made = |labels: &std::collections::BTreeMap<String, String>| {
        labels.get(MANAGED_BY).is_none_or(|manager| manager != SLICE_MANAGER)
    };
    let mut left = swept::<Deployment>(client, identity, |_| false).await?;
    left += swept::<Service>(client, identity, |_| false).await?;
    left += swept::<EndpointSlice>(client, identity, |slice| cluster_made(slice.labels())).await?;
    if observed.policies_served == Known::Known(true) {
        left += swept::<BackendTlsPolicy>(client, identity, |_| false).await?;
    }
    if observed.transports_served == Known::Known(true) {
        left += swept::<ServersTransport>(client, identity, |_| false).await?;
    }
    left += swept::<ConfigMap>(client, identity, |_| false).await?;
    Ok(left == 0)
}

async fn swept<K>(
    client: &Client,
    identity: &Identity,
    keep: impl Fn(&PartialObjectMeta<K>) -> bool,
) -> Result<usize, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Clone + Debug,
{
    let api: Api<PartialObjectMeta<K>> = Api::namespaced(client.clone(), &identity.namespace);
    let swept = prune::delete_owned(&api, &identity.uid, keep).await;
    let kind = K::kind(&()).into_owned();
    Ok(swept.map_err(|source| Error::Delete { object: format!("what is left of kind {kind}"), source })?.len())
}
