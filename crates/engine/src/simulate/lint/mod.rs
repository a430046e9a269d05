//! What is wrong, or better done otherwise, in a set of manifests. Pure: everything is judged from the objects and from their forecast.
//!
//! An *error* keeps something from working as written. A *warning* works, and is likely not what was meant.

mod order;
mod phases;
mod splits;

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;

use super::{
    Assumptions, Forecast, Manifests, Sourced,
    meta::{name_of, namespace_of},
};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Level {
    /// It does not work as written.
    Error,
    /// It is likely not what was meant.
    Warning,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// How much it matters.
    pub level: Level,
    /// Which rule found it, in one word, such as `OverlappingPaths`.
    pub rule: &'static str,
    /// File and document.
    pub origin: String,
    /// Kind, namespace and name of the object.
    pub object: String,
    /// Path of the field.
    pub field: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}: {}", self.origin, self.object, self.field, self.message)
    }
}

/// Everything that was found, errors first.
#[must_use]
pub fn lint(manifests: &Manifests, forecasts: &[Forecast], assumptions: &Assumptions) -> Vec<Finding> {
    let mut found = Findings(Vec::new());
    splits::judge(manifests, &mut found);
    phases::judge(manifests, assumptions, &mut found);
    order::judge(manifests, forecasts, &mut found);
    found.0.sort_by_key(|finding| finding.level);
    found.0
}

pub(super) struct Findings(Vec<Finding>);

impl Findings {
    fn add<T>(&mut self, level: Level, rule: &'static str, about: &About<'_, T>, field: &str, message: String) {
        let (origin, object) = (about.source.origin.clone(), about.name());
        self.0.push(Finding { level, rule, origin, object, field: field.to_owned(), message });
    }
}

/// An object that is judged.
struct About<'a, T> {
    kind: &'static str,
    source: &'a Sourced<T>,
    meta: &'a ObjectMeta,
}

impl<T> About<'_, T> {
    fn name(&self) -> String {
        format!("{} {}/{}", self.kind, namespace_of(self.meta), name_of(self.meta))
    }
}

fn there<'a>(metas: impl IntoIterator<Item = &'a ObjectMeta>, beside: &ObjectMeta, name: &str) -> bool {
    metas.into_iter().any(|meta| name_of(meta) == name && namespace_of(meta) == namespace_of(beside))
}
