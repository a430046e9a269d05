//! The version of the shared database's schema.

use cutover_api::{
    conditions::reasons,
    v1alpha1::migration_phase::{Blocker, SchemaRange},
};

use super::super::{
    following::missing,
    machine::{Machine, blocker, unknown},
};
use crate::Known;

impl Machine<'_> {
    /// The gate: the version is one that the phase works with.
    pub fn other_schema(&self) -> Option<Blocker> {
        let spec = self.spec.ok()?.spec();
        let range = spec.gates.as_ref()?.schema?;
        let name = spec.environment.as_deref().unwrap_or_default();
        let environment = format!("Environment {name}");
        let closed = |why: String| Some(blocker(reasons::SCHEMA_OUT_OF_RANGE, format!("{environment}: {why}")));
        let view = match &self.observed.environment {
            Known::Unknown => return Some(unknown(&environment)),
            Known::Known(None) => return Some(missing("spec.environment", &environment)),
            Known::Known(Some(view)) => view,
        };
        if !view.current {
            return closed("its status is not about its present spec yet".to_owned());
        }
        match &view.schema {
            None => {
                closed("it does not say where the version of the schema is: set spec.shared.database.schema".to_owned())
            }
            Some(Err(why)) => closed(format!("the version of the schema is not known: {why}")),
            Some(Ok(version)) if fits(range, *version) => None,
            Some(Ok(version)) => {
                let wanted = versions(range);
                closed(format!("the schema has version {version} and the phase works with {wanted}: migrate it"))
            }
        }
    }
}

fn fits(range: SchemaRange, version: i64) -> bool {
    range.min.is_none_or(|min| min <= version) && range.max.is_none_or(|max| version <= max)
}

/// The versions of a range, in words.
pub fn versions(range: SchemaRange) -> String {
    match (range.min, range.max) {
        (Some(min), Some(max)) if min == max => min.to_string(),
        (Some(min), Some(max)) => format!("{min} to {max}"),
        (Some(min), None) => format!("{min} or higher"),
        (None, Some(max)) => format!("{max} or lower"),
        (None, None) => "any".to_owned(),
    }
}
