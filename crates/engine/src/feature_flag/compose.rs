//! All flags of an environment, composed from those that are published and the one that is being decided.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::{
    decide::Flag,
    definition::{build_flag, percent_of},
    document::{Flags, published},
    validate::{key, validate},
};

/// Who has which key. The older flag has it; of two that are equally old, the first by name.
#[derive(Debug, Default)]
pub struct Keys<'a>(BTreeMap<String, (Option<Timestamp>, &'a str)>);

impl<'a> Keys<'a> {
    /// The keys of these flags. One with an invalid spec has the key that it was last published under.
    #[must_use]
    pub fn of(flags: impl IntoIterator<Item = &'a Flag<'a>>, present: &Flags) -> Self {
        let mut keys = Self::default();
        for flag in flags {
            let last = || published(present, flag.name).map(|(key, _)| key.clone());
            let wanted = if flag.deleting || validate(flag.name, flag.spec).is_err() {
                last()
            } else {
                Some(key(flag.name, flag.spec))
            };
            let Some(wanted) = wanted else { continue };
            let claim = (flag.created, flag.name);
            let entry = keys.0.entry(wanted).or_insert(claim);
            *entry = claim.min(*entry);
        }
        keys
    }

    /// The flag that has a key.
    #[must_use]
    pub fn owner(&self, key: &str) -> Option<&'a str> {
        self.0.get(key).map(|(_, name)| *name)
    }
}

/// The published form of a flag that is not being decided now: as it is in force, with its present spec if that is valid.
/// `None` for one that was not published yet: its own reconcile does that.
#[must_use]
pub fn other(flag: &Flag<'_>, present: &Flags) -> Option<(String, Value)> {
    let last = published(present, flag.name);
    let as_it_is = || last.map(|(key, form)| (key.clone(), form.clone()));
    if last.is_none() && flag.status.published.is_none() {
        return None;
    }
    match validate(flag.name, flag.spec) {
        Err(_) => as_it_is(),
        Ok(valid) => {
            // What is published was decided by the flag's own reconcile, whose status write may have been lost.
            let percent = last.and_then(|(_, form)| percent_of(form)).or(flag.status.percent);
            if valid.percentage().is_some() && percent.is_none() {
                // A rule that is new: its percentage is for its own reconcile to decide.
                return as_it_is();
            }
            Some((valid.key.clone(), build_flag(&valid, percent)))
        }
    }
}
