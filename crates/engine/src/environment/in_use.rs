//! Whether something may still be needed: traffic goes there, or may have to go back there.

use std::collections::{BTreeMap, BTreeSet};

use super::names::Identity;

/// Who might use components of the environment's namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Splits.
    pub splits: Vec<SplitUse>,
    /// Phases that know a way back.
    pub phases: Vec<PhaseUse>,
    /// Routes, whoever made them.
    pub routes: Vec<RouteUse>,
    /// Services of others that select pods.
    pub selecting: Vec<SelectingService>,
}

/// What a side of a split names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackendUse {
    /// A component of an environment.
    Component {
        /// The environment.
        environment: String,
        /// The component.
        component: String,
    },
    /// A Service.
    Service(String),
}

/// A TrafficSplit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitUse {
    /// Its name.
    pub name: String,
    /// What its sides name; a retired one is none any more.
    pub backends: Vec<BackendUse>,
    /// What its legacy side was, when that is retired and no route leads to it.
    pub retired: Option<BackendUse>,
    /// Whether it is known to have no route, and no phase is about to give it one.
    pub idle: bool,
}

/// A MigrationPhase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhaseUse {
    /// Its name.
    pub name: String,
    /// The splits that it moves or could move back.
    pub splits: Vec<String>,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteUse {
    /// Kind and name, such as `Ingress shop`.
    pub route: String,
    /// The Services that it names.
    pub services: Vec<String>,
}

/// A Service that selects pods and was not made for this environment, such as the alias Service of a released route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectingService {
    /// Its name.
    pub name: String,
    /// What it selects.
    pub selector: BTreeMap<String, String>,
}

/// The environment's components that were the legacy side of a split, and that no split leads to any more.
#[must_use]
pub fn retired_components(identity: &Identity, splits: &[SplitUse]) -> BTreeSet<String> {
    let own = |backend: &BackendUse| match backend {
        BackendUse::Component { environment, component } if *environment == identity.name => Some(component.clone()),
        BackendUse::Component { .. } | BackendUse::Service(_) => None,
    };
    let used: BTreeSet<_> = splits.iter().flat_map(|split| &split.backends).filter_map(own).collect();
    let service = |component: &String| BackendUse::Service(identity.object(component));
    let retired = splits.iter().filter_map(|split| own(split.retired.as_ref()?));
    retired
        .filter(|name| !used.contains(name) && splits.iter().all(|split| !split.backends.contains(&service(name))))
        .collect()
}

impl Usage {
    /// Why a component cannot go, and what would let it go; `None` if nothing needs it.
    #[must_use]
    pub fn of(&self, identity: &Identity, component: &str) -> Option<String> {
        let service = identity.object(component);
        let names_it = |backend: &BackendUse| match backend {
            BackendUse::Component { environment, component: named } => {
                *environment == identity.name && named == component
            }
            BackendUse::Service(name) => *name == service,
        };
        let naming: Vec<&SplitUse> = self.splits.iter().filter(|split| split.backends.iter().any(names_it)).collect();
        if let Some(split) = naming.iter().find(|split| !split.idle) {
            return Some(format!("TrafficSplit {0} leads to it: change the backends of {0}, or delete it", split.name));
        }
        let knows = |phase: &&PhaseUse| naming.iter().any(|split| phase.splits.contains(&split.name));
        if let Some(phase) = self.phases.iter().find(knows) {
            return Some(format!(
                "MigrationPhase {0} may have to go back to it: delete {0} when it is no longer needed",
                phase.name
            ));
        }
        if let Some(route) = self.routes.iter().find(|route| route.services.contains(&service)) {
            return Some(format!("{0} leads to it: delete {0} or change its backends", route.route));
        }
        let pods = identity.selector(component);
        let selects = |other: &&SelectingService| {
            !other.selector.is_empty() && pods.iter().all(|pair| other.selector.get_key_value(pair.0) == Some(pair))
        };
        let selecting = self.selecting.iter().find(selects)?;
        Some(format!("Service {0} selects its pods: delete {0} and the routes that name it", selecting.name))
    }
}
