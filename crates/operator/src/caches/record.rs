//! Objects kept as compact JSON text, read back as a view where one is needed. Most are foreign, and a cluster has many: text takes a
//! fraction of the memory of maps and strings.

use std::{
    fmt::{Debug, Formatter},
    marker::PhantomData,
};

use serde::{Serialize, de::DeserializeOwned};

use super::raw::{Raw, Wire, metadata::Metadata};
use crate::cluster::stores::View;

/// A kind that is kept as text.
pub trait Text: Wire + Serialize {
    /// What the text is read back as.
    type View: DeserializeOwned + Default;

    /// Metadata of the object.
    fn metadata(&self) -> &Metadata;

    /// Drops what no decision needs. `ours`: it is, or once was, of our making; of a foreign one, which is never written, no version
    /// must stay, so that only changes of its content are changes.
    fn reduce(&mut self, ours: bool);
}

/// What is kept of an object.
pub struct Record<W> {
    text: Box<str>,
    /// Name of the split that it was made for.
    pub owner: Option<Box<str>>,
    /// `metadata.resourceVersion`, of one that is ours.
    pub version: Box<str>,
    kind: PhantomData<fn() -> W>,
}

impl<W: Text> Record<W> {
    /// The whole view.
    #[must_use]
    pub fn view(&self) -> W::View {
        // The text was written here.
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// Whether the object mentions `word`: a cheap test before [`Self::view`].
    #[must_use]
    pub fn mentions(&self, word: &str) -> bool {
        self.text.contains(word)
    }
}

impl<W: Text> View for Record<W> {
    type Object = Raw<W>;

    fn of(object: Raw<W>) -> Option<Self> {
        let mut wire = object.into_wire();
        let owner = wire.metadata().owner().map(Into::into);
        wire.reduce(wire.metadata().is_ours());
        let version = wire.metadata().resource_version.as_deref().unwrap_or_default().into();
        Some(Self { text: serde_json::to_string(&wire).ok()?.into(), owner, version, kind: PhantomData })
    }
}

// Derived ones would ask the same of the kind.
impl<W> PartialEq for Record<W> {
    fn eq(&self, other: &Self) -> bool {
        (&self.text, &self.owner, &self.version) == (&other.text, &other.owner, &other.version)
    }
}

impl<W> Eq for Record<W> {}

impl<W> Debug for Record<W> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Record").field("text", &self.text).field("owner", &self.owner).finish_non_exhaustive()
    }
}
