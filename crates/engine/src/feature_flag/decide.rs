//! What is to be done for one flag. Total, and followed by an empty plan when it was carried out and observed again.

use cutover_api::v1alpha1::{FeatureFlagSpec, FeatureFlagStatus, feature_flag::FlagHolder};
use jiff::Timestamp;
use serde_json::Value;

use super::{
    compose::{Keys, other},
    definition::{build_flag, percent_of, with_percent},
    document::{ConfigMapView, Flags, LARGEST, config_map_name, document, published},
    holder::{Claim, Ruling, arbitrate},
    percent::{InForce, in_force, in_force_unread},
    validate::{Problem, Validated, validate},
};
use crate::{Known, hash::short_hash};

/// One FeatureFlag.
#[derive(Clone, Copy, Debug)]
pub struct Flag<'a> {
    /// Its name.
    pub name: &'a str,
    /// When it was made: the older of two with one key has it.
    pub created: Option<Timestamp>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether it has our finalizer.
    pub guarded: bool,
    /// Its spec.
    pub spec: &'a FeatureFlagSpec,
    /// Its status.
    pub status: &'a FeatureFlagStatus,
}

/// What is seen.
#[derive(Clone, Debug)]
pub struct Observed<'a> {
    /// The namespace.
    pub namespace: &'a str,
    /// The flag that is decided.
    pub flag: Flag<'a>,
    /// The other flags of its environment.
    pub others: Vec<Flag<'a>>,
    /// What phases say about it.
    pub claims: Known<Vec<Claim>>,
    /// Names of phases that the API server was asked for and does not have.
    pub absent: Vec<String>,
    /// Whether its environment exists.
    pub environment: Known<bool>,
    /// The ConfigMap, if there is one.
    pub config_map: Option<ConfigMapView>,
}

/// What is to be done with our finalizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finalizer {
    /// Nothing.
    Keep,
    /// It is put on before anything is published.
    Add,
    /// It is taken off when the ConfigMap no longer has the flag.
    Remove,
}

/// The ConfigMap's write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Name of the ConfigMap.
    pub name: String,
    /// The definition.
    pub file: String,
    /// `resourceVersion` of what is there; `None`: nothing of this name may be there.
    pub version: Option<String>,
}

/// What is to be done, in this order: a phase is read and everything decided anew; the finalizer is put on; the grant is
/// written to the status; the ConfigMap is written; the status is written; the finalizer is taken off.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// A phase to be read from the API server first.
    pub doubt: Option<String>,
    /// The finalizer.
    pub finalizer: Finalizer,
    /// The ConfigMap, if it is not as it should be.
    pub write: Option<Write>,
    /// What was decided.
    pub decision: Decision,
}

/// What was decided.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// The phase that moves the flag.
    pub holder: Option<FlagHolder>,
    /// Count of grants so far.
    pub epoch: Option<i64>,
    /// The percentage.
    pub in_force: InForce,
    /// Hash of the flag's published form; `None` when it is not published.
    pub form: Option<String>,
    /// What stands in the way.
    pub obstacle: Option<Obstacle>,
}

/// What stands in the way of the spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The spec cannot be carried out.
    Invalid(Vec<Problem>),
    /// An older flag has the key.
    KeyTaken {
        /// The key.
        key: String,
        /// The other flag.
        by: String,
    },
    /// The ConfigMap of this name is not ours.
    ForeignConfigMap(String),
    /// The definition would be too large.
    TooLarge(usize),
    /// There is no such environment, and the flag was not published before.
    NoEnvironment,
    /// There is no such environment any more; what is published stays.
    EnvironmentGone,
    /// A phase asks for a percentage that no rule has.
    NothingToMove {
        /// The phase.
        phase: String,
        /// What it asks.
        percent: i32,
    },
    /// Phases are not known yet.
    Unknown,
    /// It is being deleted, and a running phase moves it.
    Held(String),
}

/// Decides.
#[must_use]
pub fn decide(observed: &Observed<'_>) -> Plan {
    let flag = observed.flag;
    let foreign =
        observed.config_map.as_ref().filter(|view| view.environment.as_deref() != Some(&flag.spec.environment));
    let present = match (&observed.config_map, foreign) {
        (Some(view), None) => view.flags(),
        _ => Flags::new(),
    };
    let Known::Known(claims) = &observed.claims else { return unknown(flag, &present) };
    let ruling = arbitrate(flag.status, claims, &observed.absent);
    let mut plan = Plan {
        doubt: ruling.doubt.clone(),
        finalizer: Finalizer::Keep,
        write: None,
        decision: Decision { holder: ruling.holder.clone(), epoch: ruling.epoch, ..Decision::default() },
    };
    if plan.doubt.is_some() {
        plan.decision = kept(flag, &present, Obstacle::Unknown);
        return plan;
    }
    let leaving = flag.deleting && ruling.holder.is_none();
    if foreign.is_some() {
        let name = config_map_name(&flag.spec.environment);
        plan.decision.in_force = InForce { percent: flag.status.percent, held_spec: flag.status.held_spec_percent };
        plan.decision.obstacle = Some(Obstacle::ForeignConfigMap(name));
        plan.finalizer = if leaving && flag.guarded { Finalizer::Remove } else { Finalizer::Keep };
        return plan;
    }
    let mine = own(observed, &ruling, &present, &mut plan.decision);
    let mine = if leaving { None } else { mine };
    let flags = compose(observed, &present, mine.clone());
    let (flags, file) = within_bounds(observed, &present, flags, &mut plan.decision);
    let mine = published(&flags, flag.name).map(|(_, form)| form);
    plan.decision.form = mine.map(short_hash);
    plan.write = write(observed, &flags, file);
    plan.finalizer = match (leaving, flag.guarded) {
        (true, true) => Finalizer::Remove,
        (false, false) if mine.is_some() => Finalizer::Add,
        _ => Finalizer::Keep,
    };
    if let (true, Some(holder)) = (flag.deleting, &ruling.holder) {
        plan.decision.obstacle = Some(Obstacle::Held(holder.phase.clone()));
    }
    plan
}

/// Nothing moves on what is not known.
fn unknown(flag: Flag<'_>, present: &Flags) -> Plan {
    let decision = kept(flag, present, Obstacle::Unknown);
    Plan { doubt: None, finalizer: Finalizer::Keep, write: None, decision }
}

fn kept(flag: Flag<'_>, present: &Flags, obstacle: Obstacle) -> Decision {
    Decision {
        holder: flag.status.held_by.clone(),
        epoch: flag.status.epoch,
        in_force: InForce { percent: flag.status.percent, held_spec: flag.status.held_spec_percent },
        form: published(present, flag.name).map(|(_, form)| short_hash(form)),
        obstacle: Some(obstacle),
    }
}

/// The form of the flag that is decided, with its key; `None` when it is not to be published.
fn own(observed: &Observed<'_>, ruling: &Ruling, present: &Flags, decision: &mut Decision) -> Option<(String, Value)> {
    let flag = observed.flag;
    let last = published(present, flag.name);
    let carried = last.and_then(|(_, form)| percent_of(form));
    let valid = match validate(flag.name, flag.spec) {
        Ok(valid) => valid,
        Err(problems) => {
            decision.in_force = in_force_unread(flag.status, carried, ruling);
            decision.obstacle = Some(Obstacle::Invalid(problems));
            let (key, form) = last?;
            let moved = decision.in_force.percent.and_then(|percent| with_percent(form, percent));
            return Some((key.clone(), moved.unwrap_or_else(|| form.clone())));
        }
    };
    let declared = valid.percentage().map(|rule| rule.percent);
    decision.in_force = in_force(declared, flag.status, carried, ruling);
    decision.obstacle = obstacle(observed, &valid, ruling, last.is_some());
    if matches!(decision.obstacle, Some(Obstacle::NoEnvironment)) {
        return None;
    }
    let keys = Keys::of(observed.others.iter().chain([&observed.flag]), present);
    match keys.owner(&valid.key) {
        Some(by) if by != flag.name => {
            decision.obstacle = Some(Obstacle::KeyTaken { key: valid.key, by: by.to_owned() });
            None
        }
        _ => Some((valid.key.clone(), build_flag(&valid, decision.in_force.percent))),
    }
}

fn obstacle(observed: &Observed<'_>, valid: &Validated, ruling: &Ruling, published: bool) -> Option<Obstacle> {
    let asked = ruling.order.and_then(|order| order.percent);
    if let (Some(percent), Some(holder), None) = (asked, &ruling.holder, valid.percentage()) {
        return Some(Obstacle::NothingToMove { phase: holder.phase.clone(), percent });
    }
    match observed.environment {
        Known::Known(true) => None,
        Known::Known(false) if published => Some(Obstacle::EnvironmentGone),
        // Not known is not absent, but nothing new is published on it either.
        Known::Known(false) | Known::Unknown => Some(Obstacle::NoEnvironment),
    }
}

fn compose(observed: &Observed<'_>, present: &Flags, mine: Option<(String, Value)>) -> Flags {
    let keys = Keys::of(observed.others.iter().chain([&observed.flag]), present);
    let has = |key: &str, name: &str| keys.owner(key).is_none_or(|owner| owner == name);
    let others = observed.others.iter().filter_map(|flag| {
        let (key, form) = other(flag, present)?;
        has(&key, flag.name).then_some((key, form))
    });
    // The others first: a flag that is being deleted still has its key until it is gone.
    let mut flags: Flags = others.collect();
    if let Some((key, form)) = mine {
        flags.entry(key).or_insert(form);
    }
    flags
}

/// What does not fit leaves everything as it is.
fn within_bounds(observed: &Observed<'_>, present: &Flags, flags: Flags, decision: &mut Decision) -> (Flags, String) {
    let text = |flags: &Flags| document(observed.namespace, &observed.flag.spec.environment, flags);
    let file = text(&flags);
    if file.len() <= LARGEST {
        return (flags, file);
    }
    decision.obstacle = Some(Obstacle::TooLarge(file.len()));
    let names: Vec<&str> = observed.others.iter().map(|flag| flag.name).chain([observed.flag.name]).collect();
    let leaving = |name: &str| observed.flag.deleting && decision.holder.is_none() && name == observed.flag.name;
    let mut smaller = Flags::new();
    for name in names {
        if let Some((key, form)) = published(present, name).filter(|_| !leaving(name)) {
            let moved = (name == observed.flag.name).then_some(decision.in_force.percent).flatten();
            let form = moved.and_then(|percent| with_percent(form, percent)).unwrap_or_else(|| form.clone());
            smaller.insert(key.clone(), form);
        }
    }
    let file = text(&smaller);
    (smaller, file)
}

fn write(observed: &Observed<'_>, flags: &Flags, file: String) -> Option<Write> {
    let name = config_map_name(&observed.flag.spec.environment);
    match &observed.config_map {
        None if flags.is_empty() => None,
        None => Some(Write { name, file, version: None }),
        Some(view) if view.file.as_ref() == Some(&file) => None,
        Some(view) => Some(Write { name, file, version: Some(view.version.clone()) }),
    }
}
