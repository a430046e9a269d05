//! ingress-nginx's canary annotations, which Traefik 3.7 and others serve too. Pure.
//!
//! Managed, there are two Ingresses: the *main* one and, beside it, the *canary*, with the same host, path and path type.
//! Attached, the main one is a user's and is never written. What the two proxies do with them decides the forms chosen here:
//!
//! - Both attach a canary to the main backend's *Service and port*, not to its path: every path that names the same Service and
//!   port is dragged along. So each split has alias Services of its own (same selector, or a copy of the endpoints).
//! - Where main and canary name the same Service and port, Traefik ignores the canary, but ingress-nginx may ignore the
//!   *main* one (a backend first seen in a canary is marked as no server of its own, and which Ingress is seen first hangs
//!   on creation time, then on names in falling order): 404 for everybody. So the main Ingress names an alias' port by
//!   *name* and the canary by *number*: to both proxies these are different backends, whatever the order.
//! - A canary without endpoints is skipped, and the main backend takes all. If the main backend has none, ingress-nginx
//!   answers 503 to the canary's share too. So the main backend is only exchanged for a side with ready endpoints, and once the new
//!   side has everything it becomes the main backend, before legacy may go.
//! - Both read Ingresses from one ordered watch, so a proxy sees a prefix of our writes. Each prefix of the walk in [`moves`]
//!   serves the intended share or the one before it.
//! - ingress-nginx takes up a change in two halves: paths by a reload, then backends and canaries by data that its workers read
//!   within a second. For that long, old workers serve the old paths by the new data, and new workers the new paths by the old data,
//!   and a backend that the data does not name is 503. So both sides' backends are *kept* in the data whichever side the main
//!   Ingress leads to, by two paths that nobody asks for; the canary stands beside the kept legacy path as well; and it stays at
//!   total when the new side has everything. Then both halves agree, whatever they are halves of. The price is an Ingress more
//!   than needed while the legacy side is in the spec; the gain, besides, is a way back that is one write shorter.
//! - Port number and name of an alias never change: when a backend's port changes, only the alias' `targetPort` does.
//!   Aliases are headless, so that splits take no cluster addresses.

mod alias;
mod annotations;
mod attach;
mod custom_headers;
mod features;
mod moves;
mod objects;
mod pins;
mod read;
mod rewrite;

use cutover_api::{
    conditions::reasons,
    v1alpha1::traffic_split::{IngressNginxRouter, RouterKind, Side},
};

use self::{
    custom_headers::Headers,
    moves::{Hold, Main, Now, Reachable, Target, Want},
};
use super::{
    contract::{
        IngressObserved, Intent, ObjectKind, Problem, ReadBack, RouteStep, RouterPlan, SideBackend, Sides, SplitRef,
    },
    marks::{self, Claim},
    names,
    view::{IngressView, Meta},
};
use crate::Known;

pub(super) use features::{carries, carries_attached};
pub(super) use read::read_weight;
pub(crate) use rewrite::read as path_of;

/// What was found out before anything is built.
struct Scene<'a> {
    intent: &'a Intent<'a>,
    observed: &'a IngressObserved<'a>,
    /// The user's main Ingress and what of it is ours to split; `None` when managed.
    attached: Option<attach::Attached>,
    now: Now,
    /// What keeps the spec's form (as opposed to its weight) from being written.
    refusal: Option<Problem>,
    /// Marks of the canary by header and cookie.
    pins: Vec<(&'static str, String)>,
    /// Headers on every answer.
    headers: Headers<'a>,
}

impl Scene<'_> {
    /// The sides whose backends are kept known: both, as long as there are two that can be led to.
    fn kept(&self) -> impl Iterator<Item = Side> {
        let both = [Side::Legacy, Side::New];
        let is_kept = both.iter().all(|side| reachable(self.intent, self.observed, *side) != Reachable::No);
        both.into_iter().filter(move |_| is_kept)
    }
}

/// See [`super::plan`].
pub(super) fn plan(router: &IngressNginxRouter, intent: &Intent<'_>, observed: &IngressObserved<'_>) -> RouterPlan {
    let scene = survey(router, intent, observed);
    let mut plan = RouterPlan {
        steps: Vec::new(),
        read_back: read_back(router, &scene),
        problem: scene.refusal.clone(),
        settled: false,
        paused: false,
        awaits_edit: router.attach.as_ref().and_then(|to| attach::edit(&to.ingress, intent, scene.attached.as_ref())),
    };
    if let Some(problem) = foreign(router, intent, observed) {
        plan.problem = Some(problem);
        return plan;
    }
    if let Some(adoptions) = adoptions(router, intent, observed) {
        plan.steps = adoptions;
        return plan;
    }
    let managed = router.attach.is_none();
    let exists = scene.now.canary.is_some() || (managed && scene.now.main != Main::None);
    if scene.refusal.is_some() && !exists && intent.exposed {
        return plan;
    }
    let mut steps = alias::steps(intent, observed, managed);
    let headers = &scene.headers;
    let awaited = headers.awaited().filter(|_| scene.refusal.is_none() && intent.exposed);
    if scene.refusal.is_none() && intent.exposed {
        steps.extend(headers.made());
    }
    if let (Some(awaited), None, true) = (&awaited, observed.main, managed) {
        return RouterPlan { steps, paused: true, ..plan.saying(awaited) };
    }
    let writes = if intent.exposed && !served_by_nobody(intent) {
        let next = moves::next(scene.now, &want(router, &scene));
        plan.problem = plan.problem.or_else(|| next.hold.and_then(|hold| held(router, &scene, hold)));
        let writes = objects::steps(router, &scene, &next);
        plan.settled = next.last && writes.is_empty() && !awaits_endpoints(intent, observed);
        writes
    } else {
        let writes = remove_routes(intent.split, observed, managed);
        plan.settled = writes.is_empty();
        writes
    };
    if observed.backed_off && !writes.is_empty() {
        plan.problem = Some(marks::contended(ObjectKind::Ingress, route_of(writes.first(), intent.split.name)));
        plan.settled = false;
    } else {
        steps.extend(writes);
    }
    if steps.is_empty() && plan.settled {
        steps = alias::leftovers(intent, observed, managed);
    }
    let strays = if steps.is_empty() { headers.strays() } else { Vec::new() };
    if observed.unseen.routes {
        plan.paused = !strays.is_empty();
    } else {
        steps.extend(strays.into_iter().map(|(kind, meta)| marks::delete(kind, meta)));
    }
    plan.steps = steps;
    match awaited {
        Some(awaited) => RouterPlan { paused: true, settled: false, ..plan.saying(&awaited) },
        None => plan,
    }
}

fn route_of<'a>(step: Option<&'a RouteStep>, split: &'a str) -> &'a str {
    step.map_or(split, RouteStep::name)
}

fn survey<'a>(router: &IngressNginxRouter, intent: &'a Intent<'a>, observed: &'a IngressObserved<'a>) -> Scene<'a> {
    let carries = if router.attach.is_some() { carries_attached } else { carries };
    let mut refusal = super::features::refusal("ingressNginx", carries, intent)
        .or_else(|| annotations::refusal(router, intent))
        .or_else(|| custom_headers::refusal(router, intent))
        .or_else(|| rewrite::refusal(intent))
        .or_else(|| alias::refusal(intent));
    let headers = Headers::of(router, intent, observed);
    refusal = refusal.or_else(|| headers.problem());
    let pins = pins::annotations(intent.pins).unwrap_or_else(|problem| {
        refusal.get_or_insert(problem);
        Vec::new()
    });
    let mut attached = None;
    if let Some(to) = &router.attach {
        let (found, problem) = attach::find(&to.ingress, intent, observed);
        attached = found;
        refusal = refusal.or(problem);
    }
    let now = Now {
        main: match (&router.attach, &attached) {
            (None, _) => read::main(intent.split, observed.main),
            (Some(_), Some(attached)) => attached.main,
            (Some(_), None) => Main::None,
        },
        canary: read::canary(intent.split, intent.weight_total, observed.canary),
    };
    Scene { intent, observed, attached, now, refusal, pins, headers }
}

/// A host that only the new side serves, at weight 0: all-zero is never written, so there is no route.
fn served_by_nobody(intent: &Intent<'_>) -> bool {
    intent.sides.legacy == SideBackend::Absent && intent.new_weight == 0
}

fn want(router: &IngressNginxRouter, scene: &Scene<'_>) -> Want {
    let Scene { intent, observed, .. } = scene;
    let main_is_ours = router.attach.is_none();
    let affinity = if main_is_ours {
        annotations::has_cookie_affinity(|key| router.annotations.get(key).map(String::as_str))
    } else {
        let main = observed.attached;
        annotations::has_cookie_affinity(|key| main.and_then(|main| main.annotations.get(key)).map(|value| &**value))
    };
    let pinned_to_legacy = intent.pins.iter().any(|pin| pin.to == Side::Legacy);
    Want {
        weight: intent.new_weight,
        total: intent.weight_total,
        target: target(scene.now.main, intent, pinned_to_legacy),
        main_is_ours,
        legacy: reachable(intent, observed, Side::Legacy),
        new: reachable(intent, observed, Side::New),
        new_exists: matches!(intent.sides.new, SideBackend::Present(_)),
        leave_no_canary_at_zero: affinity,
    }
}

/// Which side the main backend ends up with.
fn target(now: Main, intent: &Intent<'_>, pinned_to_legacy: bool) -> Target {
    if intent.new_weight < intent.weight_total {
        return Target::Legacy;
    }
    // A main Ingress to the new side leaves no way to legacy, pins included. While legacy answers, pins to it are kept.
    match (&intent.sides.legacy, now) {
        (SideBackend::Present(legacy), now) if pinned_to_legacy => match legacy.ready {
            Known::Known(0) => Target::New,
            Known::Unknown if now == Main::New => Target::New,
            Known::Known(_) | Known::Unknown => Target::LegacyForPins,
        },
        _ => Target::New,
    }
}

fn reachable(intent: &Intent<'_>, observed: &IngressObserved<'_>, side: Side) -> Reachable {
    let name = names::alias_name(intent.split.name, side);
    let alias = observed.aliases.iter().find(|alias| *alias.meta.name == *name);
    let alias_ready = match side {
        Side::Legacy => observed.alias_ready.legacy,
        Side::New => observed.alias_ready.new,
    };
    match intent.sides.get(side) {
        // The Service is gone, or the side has left the spec, but the alias still selects what it selected.
        SideBackend::Absent | SideBackend::Missing { .. } if alias.is_some() => Reachable::Unready,
        SideBackend::Absent | SideBackend::Missing { .. } => Reachable::No,
        SideBackend::Present(_) if alias_ready == Some(false) => Reachable::Unready,
        SideBackend::Present(backend) => match backend.ready {
            Known::Known(1..) => Reachable::Ready,
            Known::Known(_) | Known::Unknown => Reachable::Unready,
        },
    }
}

/// Whether a side with weight waits for its alias to be given endpoints.
fn awaits_endpoints(intent: &Intent<'_>, observed: &IngressObserved<'_>) -> bool {
    let has_ready = |side: &SideBackend| side.present().is_some_and(|it| it.ready.is_known_and(|ready| ready > 0));
    let Sides { legacy, new } = intent.sides;
    (intent.new_weight > 0 && observed.alias_ready.new == Some(false) && has_ready(new))
        || (intent.new_weight < intent.weight_total && observed.alias_ready.legacy == Some(false) && has_ready(legacy))
}

/// A problem if an object of a name that we need is not ours.
fn foreign(router: &IngressNginxRouter, intent: &Intent<'_>, observed: &IngressObserved<'_>) -> Option<Problem> {
    let is_foreign = |meta: &&Meta| marks::claim(meta, &intent.split) == Claim::Foreign;
    let main = observed.main.filter(|_| router.attach.is_none());
    let route = [main, observed.canary].into_iter().flatten().map(|it| &it.meta).find(is_foreign);
    let alias = observed.aliases.iter().map(|it| &it.meta).find(is_foreign);
    let slice = observed.alias_slices.iter().map(|it| &it.meta).find(is_foreign);
    route
        .map(|it| marks::exists(ObjectKind::Ingress, it))
        .or_else(|| alias.map(|it| marks::exists(ObjectKind::Service, it)))
        .or_else(|| slice.map(|it| marks::exists(ObjectKind::EndpointSlice, it)))
}

/// What a split of this name left behind becomes ours first, unchanged; the rest is decided on what it is then.
fn adoptions(
    router: &IngressNginxRouter,
    intent: &Intent<'_>,
    observed: &IngressObserved<'_>,
) -> Option<Vec<RouteStep>> {
    let split = &intent.split;
    let main = observed.main.filter(|_| router.attach.is_none());
    let steps: Vec<_> = ours(main, observed)
        .filter(|(_, meta)| marks::claim(meta, split) == Claim::Adoptable)
        .map(|(kind, meta)| marks::adopt(kind, meta, split))
        .collect();
    (!steps.is_empty() && !observed.backed_off).then_some(steps)
}

/// Everything observed under our names: routes first, what they lead to last.
fn ours<'a>(
    main: Option<&'a IngressView>,
    observed: &IngressObserved<'a>,
) -> impl Iterator<Item = (ObjectKind, &'a Meta)> {
    let routes = [main, observed.canary].into_iter().flatten().map(|it| (ObjectKind::Ingress, &it.meta));
    let aliases = observed.aliases.iter().map(|it| (ObjectKind::Service, &it.meta));
    let slices = observed.alias_slices.iter().map(|it| (ObjectKind::EndpointSlice, &it.meta));
    let config_maps = observed.config_maps.iter().map(|it| (ObjectKind::ConfigMap, &it.meta));
    routes.chain(aliases).chain(slices).chain(config_maps)
}

/// See [`super::release`].
pub(super) fn release(split: SplitRef<'_>, observed: &IngressObserved<'_>) -> Vec<RouteStep> {
    marks::release_ours(split, ours(observed.main, observed))
}

/// See [`super::remove`]. The main Ingress goes first, which closes the way in for both sides at once: without its canary it would
/// send everything to legacy for a moment. A canary alone does nothing. What routes lead to goes when they are gone.
pub(super) fn remove(split: SplitRef<'_>, observed: &IngressObserved<'_>) -> Vec<RouteStep> {
    let config_maps = custom_headers::unnamed(observed).map(|meta| (ObjectKind::ConfigMap, meta));
    let named = [alias::removals(&split, observed), marks::delete_ours(split, config_maps)].concat();
    [remove_routes(split, observed, true), named].concat()
}

fn remove_routes(split: SplitRef<'_>, observed: &IngressObserved<'_>, managed: bool) -> Vec<RouteStep> {
    let routes = [observed.main.filter(|_| managed), observed.canary].into_iter().flatten();
    marks::delete_ours(split, routes.map(|it| (ObjectKind::Ingress, &it.meta)))
}

fn read_back(router: &IngressNginxRouter, scene: &Scene<'_>) -> ReadBack {
    let Scene { intent, now, .. } = scene;
    let (object, observed_weight) = match &router.attach {
        None => (names::route_name(intent.split.name), now.weight(intent.weight_total)),
        Some(_) => (names::canary_name(intent.split.name), now.weight(intent.weight_total)),
    };
    let pins_off = now.canary.is_none() && now.main == Main::Legacy && !intent.pins.is_empty();
    let pins_hold = *now == Now { main: Main::Legacy, canary: Some(intent.weight_total) }
        && intent.pins.iter().any(|pin| pin.to == Side::Legacy);
    let message = if now.main == Main::Other {
        Some("the main Ingress leads to neither side, or to both".to_owned())
    } else if pins_off && intent.exposed {
        Some("spec.pins have no effect while there is no canary Ingress".to_owned())
    } else if pins_hold && router.attach.is_none() {
        Some(
            "the main Ingress still leads to legacy because a pin does: remove that pin before legacy is retired"
                .to_owned(),
        )
    } else {
        None
    };
    ReadBack {
        kind: RouterKind::IngressNginx,
        object: format!("Ingress/{object}"),
        observed_weight,
        accepted: None,
        message,
    }
}

fn held(router: &IngressNginxRouter, scene: &Scene<'_>, hold: Hold) -> Option<Problem> {
    let Scene { intent, now, .. } = scene;
    match hold {
        Hold::Missing(side) => Some(missing(side, intent.sides)),
        Hold::Unready(side) => {
            let (field, name) = side_words(side);
            let ready = intent.sides.get(side).present().map(|backend| backend.ready);
            // What is not known yet is no problem: it is awaited.
            (ready != Some(Known::Unknown)).then(|| {
                marks::waiting(
                    reasons::INSUFFICIENT_CAPACITY,
                    format!("{field}: the {name} side has no ready endpoint, so the main Ingress is not led to it yet"),
                )
            })
        }
        Hold::MainIsUsers => {
            let ingress = router.attach.as_ref().map_or("", |attach| attach.ingress.as_str());
            let weight = now.weight(intent.weight_total).unwrap_or(intent.weight_total);
            Some(marks::stalled(
                reasons::CONFLICTED,
                format!(
                    "spec.routers[{}].ingressNginx.attach.ingress: Ingress {ingress} names the new side itself, so the weight is {weight} and \
                     cannot be {}: have it name the legacy side again; nothing moves at that moment",
                    intent.router_index, intent.new_weight
                ),
            ))
        }
    }
}

const fn side_words(side: Side) -> (&'static str, &'static str) {
    match side {
        Side::Legacy => ("spec.legacy", "legacy"),
        Side::New => ("spec.new", "new"),
    }
}

fn missing(side: Side, sides: &Sides) -> Problem {
    let (field, what) = side_words(side);
    let service = match sides.get(side) {
        SideBackend::Missing { service: Some((name, port)) } => format!("Service {name} with port {port}"),
        _ => "its Service".to_owned(),
    };
    marks::stalled(
        reasons::REFERENCE_NOT_FOUND,
        format!(
            "{field}: {service} does not exist, so the {what} side cannot be given a share: create it, or name another"
        ),
    )
}
