//! Copies of requests: a TraefikService that leads to the weighted one and copies to a Service of ours, and when rules may name it. Pure.
//!
//! Traefik answers nobody by a TraefikService of which one mirror cannot be built: its Service is gone, or has no endpoint. So the mirror is a
//! Service of our own, with the new side's selector, and is led to by its address in the cluster, which is there whatever becomes of
//! the new side. Rules name what copies as long as the spec asks for copies at all; to whom is said in one place.
//!
//! A body would be kept whole before either is asked, so there are no copies of bodies, nor of requests that are about one.

use cutover_api::{conditions::reasons, v1alpha1::traffic_split::Side};
use serde_json::{Value, json};

use super::{build, edge::Named, tls};
use crate::router::{
    alias::{Aliases, MAX_ENDPOINTS, TOO_MANY},
    contract::{Backend, Intent, ObjectKind, Problem, RouteStep, TraefikObserved},
    marks, methods, names, own,
    view::Meta,
};

/// Fields that we do not write, or not always, and that nobody else should.
const MEANINGFUL: [&str; 13] = [
    "failover",
    "healthCheck",
    "highestRandomWeight",
    "maxBodySize",
    "middlewares",
    "namespace",
    "nodePortLB",
    "passHostHeader",
    "scheme",
    "serversTransport",
    "sticky",
    "strategy",
    "weighted",
];

/// What there is of what copies, and what is to be.
pub(super) struct Mirror<'a> {
    intent: &'a Intent<'a>,
    observed: &'a TraefikObserved<'a>,
    name: String,
    /// Whether a rule leads to it.
    routed: bool,
    /// Whether it copies to our Service.
    copies: bool,
}

fn aliases<'a>(observed: &TraefikObserved<'a>) -> Aliases<'a> {
    Aliases {
        name: |split, _| names::mirror_name(split),
        addressed: true,
        services: observed.aliases,
        slices: observed.alias_slices,
    }
}

/// What copies, if it is there.
pub(super) fn copying<'a>(observed: &TraefikObserved<'a>) -> Option<(ObjectKind, &'a Meta)> {
    observed.mirror.map(|it| (ObjectKind::TraefikService, &it.meta))
}

/// What takes the copies, as far as it is there.
pub(super) fn taking<'a>(split: &str, observed: &TraefikObserved<'a>) -> Vec<(ObjectKind, &'a Meta)> {
    aliases(observed).of(split, Side::New)
}

/// What of copies Traefik is not asked for.
pub(super) fn refusal(intent: &Intent<'_>) -> Option<Problem> {
    let mirror = intent.mirror?;
    let refused = |message| Some(marks::stalled(reasons::UNSUPPORTED_BY_ROUTER, message));
    if mirror.allow_unsafe {
        let why = "spec.mirror.allowUnsafe: traefik would keep every body whole before it asks a side: leave it out (GET and HEAD are copied), or \
                   use istio";
        return refused(why.to_owned());
    }
    let new = intent.sides.new.present().filter(|it| it.endpoints.len() > MAX_ENDPOINTS)?;
    refused(format!("spec.new: Service {} {TOO_MANY}, or take mirror out", new.service))
}

impl<'a> Mirror<'a> {
    pub(super) fn of(intent: &'a Intent<'a>, observed: &'a TraefikObserved<'a>) -> Self {
        let name = names::mirror_name(intent.split.name);
        let rules = observed.route.map(|it| it.spec.value());
        let rules = rules.as_ref().and_then(|it| it.get("routes")?.as_array()).into_iter().flatten();
        let routed = rules.filter_map(|it| it.pointer("/services/0/name")?.as_str()).any(|it| *it == *name);
        let list = observed.mirror.map(|it| it.spec.value());
        let list = list.as_ref().and_then(|it| it.pointer("/mirroring/mirrors")?.as_array());
        let copies = list.is_some_and(|it| !it.is_empty());
        Self { intent, observed, name, routed, copies }
    }

    /// Whether rules lead to it.
    pub(super) fn is_asked(&self) -> bool {
        self.intent.mirror.is_some()
    }

    /// Why it cannot be made.
    pub(super) fn problem(&self) -> Option<Problem> {
        let split = &self.intent.split;
        let mut there = copying(self.observed).into_iter().chain(taking(split.name, self.observed));
        there.find_map(|(kind, meta)| marks::unusable(kind, meta, split)).filter(|_| self.is_asked())
    }

    fn alias(&self) -> Option<&'a Meta> {
        let mut found = self.observed.aliases.iter().filter(|it| *it.meta.name == *self.name);
        found.next().map(|it| &it.meta)
    }

    /// To whom copies may go now, and how many of a hundred; `Err`: proxies have to learn of the Service first. While no rule leads here it may
    /// say anything.
    fn to(&self) -> Result<Option<(i32, &'a Backend)>, ()> {
        let Ok(Some((mirror, new))) = methods::copies(self.intent) else { return Ok(None) };
        let known = self.alias().is_some() && (self.copies || !self.observed.unseen.accessories);
        if self.routed && !known { Err(()) } else { Ok(Some((mirror.percent, new))) }
    }

    /// What makes it be what is asked for. `named`: what members name that lead to sides.
    pub(super) fn made(&self, named: &Named) -> Vec<RouteStep> {
        if !self.is_asked() {
            return Vec::new();
        }
        let mirrors: Vec<Value> = self.to().ok().flatten().map(|it| self.entry(it, named)).into_iter().collect();
        let weighted = names::weighted_name(self.intent.split.name);
        // Whoever looks at a body of unknown length may find fault with it, and answer for the sides.
        let mirroring = json!({"kind": "TraefikService", "name": weighted, "mirrorBody": false, "mirrors": mirrors});
        let mut steps = aliases(self.observed).steps(self.intent, &[Side::New]);
        let (kind, spec) = (ObjectKind::TraefikService, json!({"mirroring": mirroring}));
        steps.extend(own::write(self.intent, kind, &self.name, spec, None, self.observed.mirror, &MEANINGFUL));
        steps
    }

    fn entry(&self, (percent, backend): (i32, &Backend), named: &Named) -> Value {
        let mut entry = json!({
            "kind": "Service", "name": self.name, "port": names::ALIAS_PORT, "nativeLB": true, "percent": percent,
            "scheme": build::spoken(backend),
        });
        let transport = tls::transport(backend).or(named.transport());
        if let (Some(entry), Some(transport)) = (entry.as_object_mut(), transport) {
            entry.insert("serversTransport".to_owned(), transport.into());
        }
        entry
    }

    /// What has to wait until proxies know of it, if something has.
    pub(super) fn awaited(&self) -> Option<String> {
        if !self.may_be_routed() {
            return Some(marks::untold(ObjectKind::TraefikService, &self.name));
        }
        (self.is_asked() && self.to().is_err()).then(|| marks::untold(ObjectKind::Service, &self.name))
    }

    /// Whether the IngressRoute may take the form that is asked for.
    pub(super) fn may_be_routed(&self) -> bool {
        let is_served = self.observed.route.is_some();
        let known = self.observed.mirror.is_some() && !self.observed.unseen.accessories;
        !self.is_asked() || !is_served || self.routed || known
    }

    /// What nobody asks for and nobody names any more: first what copies, and after that to whom.
    pub(super) fn strays(&self) -> Vec<(ObjectKind, &'a Meta)> {
        if self.is_asked() || self.routed {
            return Vec::new();
        }
        let split = &self.intent.split;
        let there = copying(self.observed).map_or_else(|| taking(split.name, self.observed), |it| vec![it]);
        there.into_iter().filter(|(_, meta)| marks::is_ours(meta, split)).collect()
    }
}
