//! Objects read from the API server's JSON without `managedFields`: as large as the rest of an object, looked at by no controller, and
//! most of the work of reading one. No I/O.

use std::{borrow::Cow, collections::BTreeMap};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, core::PartialObjectMeta};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::value::RawValue;

/// An object of ours, or what is known of one that cannot be read (written under another version of its definition, say), so that
/// one such object stalls no watch.
#[derive(Clone, Debug)]
pub enum Guarded<K> {
    /// It was read.
    Readable(K),
    /// It was not.
    Broken {
        /// Its metadata.
        meta: Box<ObjectMeta>,
        /// Why.
        error: String,
    },
}

/// Reads an object.
///
/// # Errors
/// When the text is not JSON, or is not such an object.
pub fn parse<K: DeserializeOwned>(text: &str) -> serde_json::Result<K> {
    serde_json::from_str(&without_managed_fields(text)?)
}

type Fields<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;

fn without_managed_fields(text: &str) -> serde_json::Result<Cow<'_, str>> {
    let object: Fields = serde_json::from_str(text)?;
    let Some(metadata) = object.get("metadata") else { return Ok(text.into()) };
    let mut fields: Fields = serde_json::from_str(metadata.get())?;
    if fields.remove("managedFields").is_none() {
        return Ok(text.into());
    }
    let metadata = serde_json::to_string(&fields)?;
    let mut lean = String::with_capacity(text.len());
    for (name, value) in &object {
        lean.push(if lean.is_empty() { '{' } else { ',' });
        lean.push_str(&serde_json::to_string(name)?);
        lean.push(':');
        lean.push_str(if name == "metadata" { &metadata } else { value.get() });
    }
    lean.push('}');
    Ok(lean.into())
}

impl<'de, K: Resource + DeserializeOwned> Deserialize<'de> for Guarded<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The text as it stands: an API server names an event's type before its object, so that nothing was buffered on the way.
        let text = <&RawValue>::deserialize(deserializer)?.get();
        parse(text).map(Self::Readable).or_else(|error| {
            let PartialObjectMeta::<K> { metadata, .. } = parse(text).map_err(serde::de::Error::custom)?;
            Ok(Self::Broken { meta: Box::new(metadata), error: error.to_string() })
        })
    }
}

impl<K: Resource> Resource for Guarded<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(types: &K::DynamicType) -> Cow<'_, str> {
        K::kind(types)
    }

    fn group(types: &K::DynamicType) -> Cow<'_, str> {
        K::group(types)
    }

    fn version(types: &K::DynamicType) -> Cow<'_, str> {
        K::version(types)
    }

    fn plural(types: &K::DynamicType) -> Cow<'_, str> {
        K::plural(types)
    }

    fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Readable(object) => object.meta(),
            Self::Broken { meta, .. } => meta,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::Readable(object) => object.meta_mut(),
            Self::Broken { meta, .. } => meta,
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::{
        ResourceExt,
        core::{ObjectList, WatchEvent},
    };
    use serde_json::{Value, json};

    use super::*;

    fn config(data: &Value) -> Value {
        json!({
            "kind": "ConfigMap", "apiVersion": "v1", "data": data,
            "metadata": {
                "name": "a \"b\" \u{fc}", "resourceVersion": "7",
                "managedFields": [{"manager": "m", "fieldsV1": {"f:data": {"f:k\"}": {}}}}],
                "labels": {"managedFields": "kept"},
            },
        })
    }

    #[test]
    fn all_but_the_managed_fields_is_read() {
        let text = config(&json!({"k\"}": "v\\n, \"managedFields\": []"})).to_string();
        let whole: ConfigMap = serde_json::from_str(&text).unwrap();
        let lean: ConfigMap = parse(&text).unwrap();
        assert!(whole.metadata.managed_fields.is_some());
        let mut expected = whole;
        expected.metadata.managed_fields = None;
        assert_eq!(lean, expected);
    }

    #[test]
    fn an_object_without_managed_fields_is_read_as_it_is() {
        let (bare, other) = (json!({"metadata": {"name": "a"}}), json!({"data": {"k": "v"}}));
        assert_eq!(parse::<ConfigMap>(&bare.to_string()).unwrap().name_any(), "a");
        assert_eq!(parse::<ConfigMap>(&other.to_string()).unwrap().data.unwrap()["k"], "v");
        assert!(parse::<ConfigMap>("{").is_err());
    }

    #[test]
    fn an_unreadable_object_in_a_watch_or_a_list_keeps_its_name_and_hides_no_other() {
        let (good, bad) = (config(&json!({"k": "v"})), config(&json!({"k": 1})));
        let read = |data: &Value| {
            let text = format!(r#"{{"type":"MODIFIED","object":{data}}}"#);
            match serde_json::from_str(&text).unwrap() {
                WatchEvent::Modified(object) => object,
                other => panic!("{other:?}"),
            }
        };
        assert!(matches!(read(&good), Guarded::<ConfigMap>::Readable(_)));
        let broken: Guarded<ConfigMap> = read(&bad);
        assert_eq!(broken.name_any(), "a \"b\" \u{fc}");
        assert!(matches!(broken, Guarded::Broken { error, .. } if error.contains("string")));
        let list =
            json!({"kind": "ConfigMapList", "apiVersion": "v1", "metadata": {}, "items": [bad, good]}).to_string();
        let list: ObjectList<Guarded<ConfigMap>> = serde_json::from_str(&list).unwrap();
        let readable = list.items.iter().map(|item| matches!(item, Guarded::Readable(_)));
        assert_eq!(readable.collect::<Vec<_>>(), [false, true]);
    }
}
