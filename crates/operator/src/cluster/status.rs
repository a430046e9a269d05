//! Writes an object's status: one server-side apply that carries the resourceVersion the status was computed from, so
//! that a former leader's or an outdated cache's write is refused; nothing at all when the status is as it should be.
//! What is longer than the definitions allow is cut here, whoever made it.

use std::fmt::Debug;

use kube::{Api, Resource, ResourceExt, api::Patch};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    limits,
    ssa::{Error, Ownership, params},
};

/// What became of a status.
#[derive(Debug, Clone, PartialEq)]
pub enum Written<K> {
    /// It was as it should be: no request was made.
    Unchanged,
    /// It was written; the object as it is now, with its new resourceVersion.
    Written(Box<K>),
}

/// Writes `status` to `object`, whose status is `current`, under `manager`.
///
/// # Errors
/// See [`Error`]; [`Error::is_conflict`] when the object changed since it was read.
pub async fn write<K, S>(
    api: &Api<K>,
    manager: &str,
    object: &K,
    current: Option<&S>,
    status: &S,
) -> Result<Written<K>, Error>
where
    K: Resource + DeserializeOwned + Clone + Debug,
    K::DynamicType: Default,
    S: Serialize + PartialEq,
{
    if current == Some(status) {
        return Ok(Written::Unchanged);
    }
    let types = K::DynamicType::default();
    let (kind, name) = (K::kind(&types).into_owned(), object.name_any());
    let status = value(&kind, &name, status)?;
    if let Some(current) = current
        && value(&kind, &name, current)? == status
    {
        return Ok(Written::Unchanged);
    }
    let body = json!({
        "apiVersion": K::api_version(&types),
        "kind": kind,
        "metadata": {"name": name, "resourceVersion": object.resource_version()},
        "status": status,
    });
    match api.patch_status(&name, &params(manager, Ownership::Force), &Patch::Apply(&body)).await {
        Ok(object) => Ok(Written::Written(Box::new(object))),
        Err(source) => Err(Error::Request { kind, name, source }),
    }
}

/// A status as it is sent: no longer than the definition of the kind allows.
///
/// # Errors
/// When it is no JSON.
pub fn value<S: Serialize>(kind: &str, name: &str, status: &S) -> Result<Value, Error> {
    let mut value = serde_json::to_value(status).map_err(|source| Error::Serialize {
        kind: kind.to_owned(),
        name: name.to_owned(),
        source,
    })?;
    if limits::cut(kind, &mut value) {
        tracing::debug!(kind, name, "the status is longer than it may be, and is cut");
    }
    Ok(value)
}
