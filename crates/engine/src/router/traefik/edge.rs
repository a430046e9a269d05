//! When Middlewares and the ServersTransport are made, named and removed, so that no proxy ever meets the name of one that is not there:
//! it answers with errors for a route that names one. Pure.
//!
//! Proxies watch each kind by itself and see writes of different kinds in any order. So a route that is served already names an object
//! only once proxies have had their time to see it, and an object is removed only once they have had their time to see that nothing names
//! it. Weights wait for none of this: the TraefikService goes on with the names that it has.

use cutover_api::{conditions::reasons, v1alpha1::traffic_split::PathMatch};
use serde_json::{Value, json};

use super::accessories::{self, Accessory, By, MEANINGFUL};
use crate::router::{
    contract::{Intent, ObjectKind, Problem, RouteStep, TraefikObserved},
    marks::{self, Kinds, Lack},
    own,
    view::{Meta, WholeView},
};

const KINDS: Kinds = Kinds {
    subject: "Traefik's Middlewares and ServersTransports are",
    resources: "middlewares and serverstransports of traefik.io",
    objects: "Middlewares and ServersTransports of traefik.io/v1alpha1",
    definitions: "Traefik's",
};

/// What is there of what routes name, what is to be, and which of it may be named now.
pub(super) struct Edge<'a> {
    intent: &'a Intent<'a>,
    observed: &'a TraefikObserved<'a>,
    wanted: Vec<Accessory>,
    /// What the objects that are served already name.
    named_by_route: Vec<String>,
    named_by_service: Vec<String>,
    named_by_mirror: Vec<String>,
    named_by_redirect: Vec<String>,
}

impl<'a> Edge<'a> {
    pub(super) fn of(intent: &'a Intent<'a>, observed: &'a TraefikObserved<'a>) -> Self {
        Self {
            intent,
            observed,
            wanted: accessories::wanted(intent.split.name, intent.edge, intent.paths, intent.mirror.is_some()),
            named_by_route: observed.route.map(|it| named(&it.spec.value())).unwrap_or_default(),
            named_by_service: observed.service.map(|it| named(&it.spec.value())).unwrap_or_default(),
            named_by_redirect: observed.redirect.map(|it| named(&it.spec.value())).unwrap_or_default(),
            named_by_mirror: observed.mirror.map(|it| named(&it.spec.value())).unwrap_or_default(),
        }
    }

    fn found(&self, wanted: &Accessory) -> Option<&'a WholeView> {
        let mut all = self.observed.accessories.iter();
        let is = |(kind, view): &&(ObjectKind, &WholeView)| *kind == wanted.kind && *view.meta.name == *wanted.name;
        all.find(is).map(|(_, view)| *view)
    }

    /// Why what is asked for cannot be made.
    pub(super) fn problem(&self) -> Option<Problem> {
        if self.wanted.is_empty() {
            return None;
        }
        let TraefikObserved { accessories_installed, accessories_forbidden, .. } = *self.observed;
        match KINDS.lack(
            accessories_installed,
            accessories_forbidden,
            "spec.edge, spec.paths",
            "what is asked of the edge",
        ) {
            Some(Lack::Problem(problem)) => return Some(problem),
            Some(Lack::Unread(message)) => return Some(marks::waiting(reasons::UNKNOWN_INPUT, message)),
            None => {}
        }
        self.wanted.iter().find_map(|it| marks::unusable(it.kind, &self.found(it)?.meta, &self.intent.split))
    }

    /// What makes the objects be what is asked for. Two paths may be rewritten by one.
    pub(super) fn made(&self) -> impl Iterator<Item = RouteStep> {
        let is_first = |(at, it): &(usize, &Accessory)| {
            !self.wanted.iter().take(*at).any(|before| (before.kind, &before.name) == (it.kind, &it.name))
        };
        self.wanted.iter().enumerate().filter(is_first).filter_map(|(_, it)| {
            own::write(self.intent, it.kind, &it.name, it.spec.clone(), None, self.found(it), &MEANINGFUL)
        })
    }

    /// Whether a route that is served already may name it: it does, or every proxy knows it.
    fn may_be_named(&self, it: &Accessory, by: &[String]) -> bool {
        by.contains(&it.name) || (self.found(it).is_some() && !self.observed.unseen.accessories)
    }

    fn of_sides(&self) -> impl Iterator<Item = &Accessory> {
        self.wanted.iter().filter(|it| it.by == By::Sides)
    }

    /// The Middlewares that rules for this path name.
    pub(super) fn middlewares(&self, path: &PathMatch) -> Vec<Value> {
        let is_for = |it: &&Accessory| match &it.by {
            By::Rules => true,
            By::Path(of) => of == path,
            By::Redirect | By::Sides => false,
        };
        refer(self.wanted.iter().filter(is_for).map(|it| it.name.as_str()))
    }

    /// The Middleware that rules on entry points without TLS name first.
    pub(super) fn redirecting(&self) -> Vec<Value> {
        refer(self.wanted.iter().filter(|it| it.by == By::Redirect).map(|it| it.name.as_str()))
    }

    /// What rules for pins name of what is about a side.
    pub(super) fn named_by_pins(&self) -> Named {
        Named::of(self.of_sides().map(|it| (it.kind, it.name.as_str())))
    }

    /// What the TraefikService names now. What of the spec is refused waits, and stays as it is.
    pub(super) fn named_by_members(&self, refused: bool) -> Named {
        if refused {
            let ours = accessories::names_of_sides(self.intent.split.name);
            let named = ours.iter().filter(|(_, name)| self.named_by_service.contains(name));
            return Named::of(named.map(|(kind, name)| (*kind, name.as_str())));
        }
        let may = |it: &&Accessory| self.observed.service.is_none() || self.may_be_named(it, &self.named_by_service);
        Named::of(self.of_sides().filter(may).map(|it| (it.kind, it.name.as_str())))
    }

    /// What has to wait until proxies know of it, if something has: what the TraefikService and the IngressRoutes name next.
    pub(super) fn awaited(&self) -> Option<String> {
        let by_members = |it: &&Accessory| it.by == By::Sides;
        let by_members = self.unknown(self.observed.service.is_some(), &self.named_by_service, by_members);
        let it = by_members.or_else(|| self.awaited_by_routes())?;
        Some(marks::untold(it.kind, &it.name))
    }

    /// Whether the IngressRoutes may take the form that is asked for.
    pub(super) fn may_be_routed(&self) -> bool {
        self.awaited_by_routes().is_none()
    }

    /// The way in may leave an entry point when what redirects there may come, and not before.
    fn awaited_by_routes(&self) -> Option<&Accessory> {
        let is_served = self.observed.route.is_some();
        let by_rules = |it: &&Accessory| match it.by {
            By::Rules | By::Path(_) => true,
            By::Sides => !self.intent.pins.is_empty(),
            By::Redirect => false,
        };
        let redirects = !self.redirecting().is_empty();
        let by_redirect = |it: &&Accessory| redirects && (it.by == By::Redirect || by_rules(it));
        let by_route = self.unknown(is_served, &self.named_by_route, by_rules);
        by_route.or_else(|| self.unknown(is_served, &self.named_by_redirect, by_redirect))
    }

    /// The first that something which is served names next, by whom it is named already, and that proxies may not know.
    fn unknown<'s>(
        &'s self,
        is_served: bool,
        by: &[String],
        names: impl Fn(&&'s Accessory) -> bool,
    ) -> Option<&'s Accessory> {
        self.wanted.iter().filter(|_| is_served).filter(names).find(|it| !self.may_be_named(it, by))
    }

    /// What nobody asks for and nobody names any more.
    pub(super) fn strays(&self) -> Vec<(ObjectKind, &'a Meta)> {
        let is_stray = |kind: ObjectKind, meta: &Meta| {
            let is = |it: &Accessory| it.kind == kind && *it.name == *meta.name;
            let names = self.named_by_route.iter().chain(&self.named_by_service).chain(&self.named_by_mirror);
            let named = names.into_iter().any(|name| **name == *meta.name);
            marks::is_ours(meta, &self.intent.split) && !named && !self.wanted.iter().any(is)
        };
        let all = self.observed.accessories.iter().map(|(kind, view)| (*kind, &view.meta));
        all.filter(|(kind, meta)| is_stray(*kind, meta)).collect()
    }
}

/// What something that leads to a side names.
#[derive(Debug, Default)]
pub(super) struct Named {
    middlewares: Vec<Value>,
    transport: Option<String>,
}

impl Named {
    fn of<'n>(all: impl Iterator<Item = (ObjectKind, &'n str)>) -> Self {
        let (transports, middlewares): (Vec<_>, Vec<_>) =
            all.partition(|(kind, _)| *kind == ObjectKind::ServersTransport);
        Self {
            middlewares: refer(middlewares.into_iter().map(|(_, name)| name)),
            transport: transports.first().map(|(_, name)| (*name).to_owned()),
        }
    }

    /// The ServersTransport among them.
    pub(super) fn transport(&self) -> Option<&str> {
        self.transport.as_deref()
    }

    /// The fields that say so.
    pub(super) fn fields(&self) -> impl Iterator<Item = (String, Value)> {
        let middlewares =
            (!self.middlewares.is_empty()).then(|| ("middlewares".to_owned(), self.middlewares.clone().into()));
        let transport = self.transport.as_deref().map(|name| ("serversTransport".to_owned(), name.into()));
        middlewares.into_iter().chain(transport)
    }
}

fn refer<'n>(middlewares: impl Iterator<Item = &'n str>) -> Vec<Value> {
    middlewares.map(|name| json!({"name": name})).collect()
}

/// The Middlewares and ServersTransports that an object of Traefik's names, wherever in it.
fn named(spec: &Value) -> Vec<String> {
    let mut found = Vec::new();
    match spec {
        Value::Object(fields) => {
            for (key, value) in fields {
                match (key.as_str(), value) {
                    ("serversTransport", Value::String(name)) => found.push(name.clone()),
                    ("middlewares", Value::Array(list)) => {
                        let names = list.iter().filter_map(|it| it.get("name")?.as_str().map(str::to_owned));
                        found.extend(names);
                    }
                    _ => found.extend(named(value)),
                }
            }
        }
        Value::Array(list) => found.extend(list.iter().flat_map(named)),
        _ => {}
    }
    found
}
