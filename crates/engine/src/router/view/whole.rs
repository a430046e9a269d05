//! Objects of which the spec is kept as a whole, whatever it holds: routes of kinds that have nothing to say in their status.

use serde::Deserialize;

use super::{Json, Meta};

/// An object and its spec.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Wire")]
pub struct WholeView {
    /// Identity and our marks.
    pub meta: Meta,
    /// `spec`.
    pub spec: Json,
}

#[derive(Deserialize)]
struct Wire {
    metadata: Meta,
    #[serde(default)]
    spec: Json,
}

impl From<Wire> for WholeView {
    fn from(Wire { metadata, spec }: Wire) -> Self {
        Self { meta: metadata, spec }
    }
}
