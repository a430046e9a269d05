//! Deletes objects of ours that are no longer wanted: exactly the one that was looked at (UID), as it was looked at
//! (resourceVersion), so that neither a successor of the same name nor a change in between is hit.

use std::fmt::Debug;

use cutover_api::labels;
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Preconditions, PropagationPolicy},
    core::PartialObjectMeta,
};
use serde::de::DeserializeOwned;

/// An object to delete, as it was observed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Its resourceVersion; `None` where a cache does not keep it: then the UID alone protects.
    pub version: Option<String>,
}

impl Candidate {
    /// An object as read from a cache or a list. `None` for one that the API server has not seen yet.
    #[must_use]
    pub fn of<K: Resource>(object: &K) -> Option<Self> {
        Some(Self { name: object.meta().name.clone()?, uid: object.uid()?, version: object.resource_version() })
    }
}

/// What became of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pruned {
    /// Deleted, or on its way: its finalizers are waited for by the API server.
    Deleted,
    /// It was not there any more.
    Gone,
    /// It, or what has its name now, is not what was looked at: observe again.
    Changed,
}

/// The selector of what was made for the owner with this UID.
#[must_use]
pub fn owned_by(uid: &str) -> String {
    format!("{}={},{}={uid}", labels::MANAGED_BY, labels::MANAGED_BY_VALUE, labels::OWNER_UID)
}

/// Deletes one object, its dependents in the background.
///
/// # Errors
/// When the API server refuses or does not answer.
pub async fn delete<K>(api: &Api<K>, candidate: &Candidate) -> kube::Result<Pruned>
where
    K: DeserializeOwned + Clone + Debug,
{
    let params = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Background),
        preconditions: Some(Preconditions {
            uid: Some(candidate.uid.clone()),
            resource_version: candidate.version.clone(),
        }),
        ..DeleteParams::default()
    };
    match api.delete(&candidate.name, &params).await {
        Ok(_) => Ok(Pruned::Deleted),
        Err(error) if super::is_not_found(&error) => Ok(Pruned::Gone),
        Err(error) if super::is_conflict(&error) => Ok(Pruned::Changed),
        Err(error) => Err(error),
    }
}

/// Reads from the API server, not from a cache, what was made for the owner, and deletes what `keep` does not want.
/// For the rare moments when a cache is not to be trusted, such as a finalizer. Stops at the first error; returns
/// each object with what became of it.
///
/// # Errors
/// When the API server refuses or does not answer.
pub async fn delete_owned<K>(
    api: &Api<PartialObjectMeta<K>>,
    owner_uid: &str,
    keep: impl Fn(&PartialObjectMeta<K>) -> bool,
) -> kube::Result<Vec<(Candidate, Pruned)>>
where
    K: Resource + DeserializeOwned + Clone + Debug,
    PartialObjectMeta<K>: Resource + DeserializeOwned + Clone + Debug,
{
    let mut pruned = Vec::new();
    for object in api.list(&ListParams::default().labels(&owned_by(owner_uid))).await? {
        if keep(&object) || object.meta().deletion_timestamp.is_some() {
            continue;
        }
        if let Some(candidate) = Candidate::of(&object) {
            let outcome = delete(api, &candidate).await?;
            pruned.push((candidate, outcome));
        }
    }
    Ok(pruned)
}
