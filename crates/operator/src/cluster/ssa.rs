//! Server-side apply: each controller owns exactly the fields it sends, under its own field manager
//! (`cutover_api::labels::MANAGER_*`). All functions do one request.

use std::fmt::Debug;

use kube::{
    Api, Resource, ResourceExt,
    api::{Patch, PatchParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// How an apply treats others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ownership {
    /// Fields that another manager owns with another value are a conflict (409).
    #[default]
    Respect,
    /// Such fields become ours. For objects that are ours as a whole.
    Force,
}

/// Which version of the object the apply was decided on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Precondition {
    /// Any, or none: the object is created if it does not exist.
    #[default]
    Any,
    /// This `resourceVersion`, else 409. With it an absent object is not created either.
    Version(String),
}

/// Why an object was not applied.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It has no name.
    #[error("a {kind} without a name cannot be applied")]
    NoName {
        /// Its kind.
        kind: String,
    },
    /// It could not be written as JSON.
    #[error("{kind} {name} could not be written as JSON: {source}")]
    Serialize {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
        /// Why.
        source: serde_json::Error,
    },
    /// The API server refused it or did not answer.
    #[error("{kind} {name} was not applied: {source}")]
    Request {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
        /// Why.
        source: kube::Error,
    },
}

impl Error {
    /// The API's own error, if it came so far.
    #[must_use]
    pub fn api(&self) -> Option<&kube::Error> {
        match self {
            Self::Request { source, .. } => Some(source),
            Self::NoName { .. } | Self::Serialize { .. } => None,
        }
    }

    /// Whether the object was changed by somebody else in between, or a field has another owner (409).
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.api().is_some_and(super::is_conflict)
    }

    /// Whether trying the same again may succeed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.api().is_some_and(super::is_retryable)
    }
}

/// Applies a typed object, or a [`DynamicObject`](kube::api::DynamicObject) with its types set, and returns what the
/// API server made of it. `managedFields` and a stray `resourceVersion` in it are not sent.
///
/// # Errors
/// See [`Error`].
pub async fn apply<K>(
    api: &Api<K>,
    manager: &str,
    object: &K,
    ownership: Ownership,
    precondition: &Precondition,
) -> Result<K, Error>
where
    K: Resource + Serialize + DeserializeOwned + Clone + Debug,
    K::DynamicType: Default,
{
    let kind = K::kind(&K::DynamicType::default()).into_owned();
    let name = object.name_any();
    let body = serde_json::to_value(object).map_err(|source| Error::Serialize {
        kind: kind.clone(),
        name: name.clone(),
        source,
    })?;
    apply_value(api, &kind, manager, body, ownership, precondition).await
}

/// Applies an object given as JSON, with `apiVersion`, `kind` and `metadata.name`; the answer is read as `K`, which may
/// be a slim view.
///
/// # Errors
/// See [`Error`].
pub async fn apply_value<K>(
    api: &Api<K>,
    kind: &str,
    manager: &str,
    mut body: Value,
    ownership: Ownership,
    precondition: &Precondition,
) -> Result<K, Error>
where
    K: DeserializeOwned + Clone + Debug,
{
    let Some(name) = body.pointer("/metadata/name").and_then(Value::as_str).map(str::to_owned) else {
        return Err(Error::NoName { kind: kind.to_owned() });
    };
    if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
        match precondition {
            Precondition::Any => metadata.remove("resourceVersion"),
            Precondition::Version(version) => metadata.insert("resourceVersion".to_owned(), version.as_str().into()),
        };
    }
    api.patch(&name, &params(manager, ownership), &Patch::Apply(&body)).await.map_err(|source| Error::Request {
        kind: kind.to_owned(),
        name,
        source,
    })
}

pub(super) fn params(manager: &str, ownership: Ownership) -> PatchParams {
    let params = PatchParams::apply(manager);
    match ownership {
        Ownership::Respect => params,
        Ownership::Force => params.force(),
    }
}
