//! The lengths that our definitions allow in a status. One text or list that is too long would make the API server refuse the whole
//! status, again and again, so what is too long is cut before it is sent. No I/O.

use std::{
    collections::{BTreeMap, HashMap},
    sync::LazyLock,
};

use cutover_api::definitions::status_schemas;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use serde_json::Value;

/// What a schema says about lengths, and nothing else.
#[derive(Debug, PartialEq, Eq)]
enum Limit {
    Text(usize),
    List { longest: Option<usize>, each: Option<Box<Limit>> },
    Fields(BTreeMap<String, Limit>),
    Values(Box<Limit>),
}

/// By kind. Without definitions, which a test shows to be there, nothing is cut.
static LIMITS: LazyLock<HashMap<&'static str, Limit>> = LazyLock::new(|| {
    let schemas = status_schemas().unwrap_or_default();
    schemas.into_iter().filter_map(|(kind, schema)| Some((kind, Limit::of(&schema)?))).collect()
});

/// Cuts what is too long in a status of this kind; says whether anything was. Statuses of kinds that are not ours are left as they are.
pub(super) fn cut(kind: &str, status: &mut Value) -> bool {
    LIMITS.get(kind).is_some_and(|limit| limit.cut(status))
}

impl Limit {
    fn of(schema: &JSONSchemaProps) -> Option<Self> {
        let number = |limit: Option<i64>| limit.and_then(|limit| usize::try_from(limit).ok());
        match schema.type_.as_deref() {
            Some("string") => number(schema.max_length).map(Self::Text),
            Some("array") => {
                let each = schema.items.as_ref().and_then(|items| match items {
                    JSONSchemaPropsOrArray::Schema(each) => Self::of(each),
                    JSONSchemaPropsOrArray::Schemas(_) => None,
                });
                let longest = number(schema.max_items);
                (longest.is_some() || each.is_some()).then(|| Self::List { longest, each: each.map(Box::new) })
            }
            _ => {
                if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
                    return Self::of(values).map(|values| Self::Values(Box::new(values)));
                }
                let fields = schema.properties.iter().flatten();
                let fields: BTreeMap<_, _> =
                    fields.filter_map(|(name, field)| Some((name.clone(), Self::of(field)?))).collect();
                (!fields.is_empty()).then_some(Self::Fields(fields))
            }
        }
    }

    fn cut(&self, value: &mut Value) -> bool {
        match (self, value) {
            (Self::Text(longest), Value::String(text)) => shorten(text, *longest),
            (Self::List { longest, each }, Value::Array(items)) => {
                let surplus = longest.is_some_and(|longest| items.len() > longest);
                if let Some(longest) = longest {
                    items.truncate(*longest);
                }
                // Each of them, whatever became of the ones before.
                let cut =
                    each.as_ref().map(|each| items.iter_mut().filter_map(|item| each.cut(item).then_some(())).count());
                surplus || cut.is_some_and(|cut| cut > 0)
            }
            (Self::Fields(fields), Value::Object(object)) => {
                let cut = fields.iter().filter_map(|(name, limit)| limit.cut(object.get_mut(name)?).then_some(()));
                cut.count() > 0
            }
            (Self::Values(limit), Value::Object(object)) => {
                object.values_mut().filter_map(|value| limit.cut(value).then_some(())).count() > 0
            }
            _ => false,
        }
    }
}

/// Lengths are counted in characters, as the API server does.
fn shorten(text: &mut String, longest: usize) -> bool {
    let Some(keep) = longest.checked_sub(1) else { return false };
    // In bytes there are at least as many.
    if text.len() <= longest || text.chars().nth(longest).is_none() {
        return false;
    }
    if let Some((at, _)) = text.char_indices().nth(keep) {
        text.truncate(at);
        text.push('…');
    }
    true
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A status in which every text and every list is twice as long as it may be.
    fn excessive(schema: &JSONSchemaProps) -> Value {
        match schema.type_.as_deref() {
            Some("string") if schema.max_length.is_some() => {
                "ä".repeat(usize::try_from(schema.max_length.unwrap()).unwrap() * 2).into()
            }
            Some("array") => {
                let Some(JSONSchemaPropsOrArray::Schema(each)) = &schema.items else { panic!("{schema:?}") };
                let count = usize::try_from(schema.max_items.unwrap_or(1)).unwrap() * 2;
                vec![excessive(each); count].into()
            }
            Some("object") => {
                if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
                    return json!({"any": excessive(values)});
                }
                let fields = schema.properties.iter().flatten();
                Value::Object(fields.map(|(name, field)| (name.clone(), excessive(field))).collect())
            }
            _ => Value::Null,
        }
    }

    /// Where a value is longer than its schema allows, found without the code under test.
    fn too_long(path: &str, schema: &JSONSchemaProps, value: &Value) -> Vec<String> {
        let over =
            |limit: Option<i64>, length: usize| limit.is_some_and(|limit| length > usize::try_from(limit).unwrap());
        match value {
            Value::String(text) if over(schema.max_length, text.chars().count()) => vec![path.to_owned()],
            Value::Array(items) => {
                let Some(JSONSchemaPropsOrArray::Schema(each)) = &schema.items else { panic!("{path}") };
                let inner = items.iter().flat_map(|item| too_long(&format!("{path}[]"), each, item));
                inner.chain(over(schema.max_items, items.len()).then(|| path.to_owned())).collect()
            }
            Value::Object(fields) => {
                let of = |name: &str| match &schema.additional_properties {
                    Some(JSONSchemaPropsOrBool::Schema(values)) => values,
                    _ => &schema.properties.as_ref().unwrap()[name],
                };
                fields.iter().flat_map(|(name, field)| too_long(&format!("{path}.{name}"), of(name), field)).collect()
            }
            _ => Vec::new(),
        }
    }

    #[test]
    fn no_status_of_any_kind_is_refused_for_its_length() {
        let schemas = status_schemas().unwrap();
        assert_eq!(schemas.len(), cutover_api::definitions::definitions().unwrap().len());
        for (kind, schema) in schemas {
            let mut status = excessive(&schema);
            assert!(!too_long("status", &schema, &status).is_empty(), "{kind}");
            assert!(cut(kind, &mut status), "{kind}");
            assert_eq!(too_long("status", &schema, &status), Vec::<String>::new(), "{kind}");
            assert!(!cut(kind, &mut status.clone()), "{kind}: what fits is left as it is");
        }
    }

    #[test]
    fn a_text_is_cut_between_characters_and_shows_it() {
        let exact = "ä".repeat(1024);
        let mut status = json!({"blockedBy": [
            {"reason": "R", "message": exact},
            {"reason": "R", "message": format!("{exact}b")},
        ]});
        assert!(cut("MigrationPhase", &mut status));
        let [fits, cut] = [0, 1].map(|at| status["blockedBy"][at]["message"].as_str().unwrap().to_owned());
        assert_eq!(fits, exact);
        assert_eq!((cut.chars().count(), cut.chars().last()), (1024, Some('…')));
    }

    #[test]
    fn what_fits_and_what_is_not_ours_is_left_as_it_is() {
        let status = json!({"state": "Running", "attempt": 1, "history": []});
        assert!(!cut("MigrationPhase", &mut status.clone()));
        assert!(!cut("Service", &mut json!({"message": "ä".repeat(100_000)})));
    }
}
