//! A split, a few objects as the API server would keep them, and the loop that carries plans out.

use std::collections::BTreeMap;

use cutover_api::v1alpha1::traffic_split::{
    AlbRouter, CookieMatch, Edge, GatewayApiRouter, HeaderMatch, IngressAttach, IngressNginxRouter, IstioAttach,
    IstioRouter, Mirror, ParentRef, PathMatch, PathType, Pin, RouteAttach, RouteKind, Router, Side, Stickiness,
    StickinessStatus, TraefikAttach, TraefikRouter,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{
    Known,
    router::{
        self, AlbObserved, AliasReady, Backend, GatewayObserved, IngressObserved, Intent, IstioObserved, ObjectKind,
        Observed, Problem, RouteStep, RouterPlan, SideBackend, Sides, SplitRef, Sticky, TraefikObserved, Unseen,
        alb_name, canary_name, mirror_name, redirect_name, route_name,
        view::{EndpointSliceView, GatewayClassView, GatewayView, IngressView, RouteView, ServiceView, WholeView},
        weighted_name,
    },
};

pub const CONTROLLER: &str = "example.com/gateway";

/// What the API server keeps.
#[derive(Clone, Debug, Default)]
pub struct World {
    objects: BTreeMap<(ObjectKind, String), Value>,
    /// What we applied last, which is what server-side apply takes away again.
    applied: BTreeMap<(ObjectKind, String), Value>,
    revision: i64,
    /// Objects in the order of their creation.
    pub created: Vec<(ObjectKind, String)>,
    /// Every write, `<verb> <kind>/<name>`.
    pub writes: Vec<String>,
    /// Whether new alias Services have endpoints at once.
    pub slow_endpoints: bool,
    /// Alias Services that have got theirs.
    pub filled: Vec<String>,
    /// Writes that proxies may not have seen yet.
    pub unseen: Unseen,
}

impl World {
    pub fn get(&self, kind: ObjectKind, name: &str) -> Option<&Value> {
        self.objects.get(&(kind, name.to_owned()))
    }

    pub fn view<V: DeserializeOwned>(&self, kind: ObjectKind, name: &str) -> Option<V> {
        self.get(kind, name).map(|it| serde_json::from_value(it.clone()).unwrap())
    }

    pub fn all<V: DeserializeOwned>(&self, kind: ObjectKind) -> Vec<V> {
        let of_kind = self.objects.iter().filter(|((it, _), _)| *it == kind);
        of_kind.map(|(_, it)| serde_json::from_value(it.clone()).unwrap()).collect()
    }

    /// These objects, and of the other world's those of kinds that `is_theirs`.
    pub fn mixed_with(&self, other: &Self, is_theirs: impl Fn(ObjectKind) -> bool) -> Self {
        let mut mixed = self.clone();
        mixed.objects.retain(|(kind, _), _| !is_theirs(*kind));
        let theirs = other.objects.iter().filter(|((kind, _), _)| is_theirs(*kind));
        mixed.objects.extend(theirs.map(|(key, object)| (key.clone(), object.clone())));
        mixed
    }

    /// Somebody else writes a whole object.
    pub fn put(&mut self, kind: ObjectKind, mut object: Value) {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        self.revision += 1;
        let old = self.get(kind, &name);
        let uid = old.map_or_else(|| json!(format!("uid-{}", self.revision)), |old| old["metadata"]["uid"].clone());
        let generation = old.map_or(1, |old| {
            old["metadata"]["generation"].as_i64().unwrap() + i64::from(old.get("spec") != object.get("spec"))
        });
        object["metadata"]["uid"] = uid;
        object["metadata"]["generation"] = json!(generation);
        object["metadata"]["resourceVersion"] = json!(self.revision.to_string());
        object["metadata"]["namespace"] = json!("shop");
        if old.is_none() {
            self.created.push((kind, name.clone()));
            if kind == ObjectKind::Service && !self.slow_endpoints {
                self.filled.push(name.clone());
            }
        }
        self.objects.insert((kind, name), object);
    }

    /// Somebody else changes an object.
    pub fn edit(&mut self, kind: ObjectKind, name: &str, change: impl FnOnce(&mut Value)) {
        let mut object = self.get(kind, name).unwrap_or_else(|| panic!("{kind:?} {name} is there")).clone();
        change(&mut object);
        self.put(kind, object);
    }

    /// Somebody else deletes an object.
    pub fn drop(&mut self, kind: ObjectKind, name: &str) {
        let key = (kind, name.to_owned());
        self.objects.remove(&key);
        self.applied.remove(&key);
        self.created.retain(|it| *it != key);
        self.filled.retain(|it| it != name);
    }

    /// Whether the API server would take the step: not if it is about another version than there is.
    pub fn accepts(&self, step: &RouteStep) -> bool {
        let there = self.get(step.kind(), step.name()).map(|it| it["metadata"]["resourceVersion"].clone());
        let decided_on = match step {
            RouteStep::Apply { resource_version, .. } => resource_version.clone().map(Value::from),
            // Without a version it is about any.
            RouteStep::MergePatch { patch, .. } if patch["metadata"]["resourceVersion"].is_null() => return true,
            RouteStep::MergePatch { patch, .. } => Some(patch["metadata"]["resourceVersion"].clone()),
            RouteStep::Delete { resource_version, .. } => Some(resource_version.clone().into()),
        };
        there == decided_on
    }

    /// Carries one step out as the API server would.
    pub fn send(&mut self, step: &RouteStep) {
        let (kind, name) = (step.kind(), step.name().to_owned());
        let key = (kind, name.clone());
        let verb = match step {
            RouteStep::Apply { object, resource_version, .. } => {
                let old = self.get(kind, &name).cloned();
                let version = old.as_ref().map(|old| old["metadata"]["resourceVersion"].as_str().unwrap().to_owned());
                assert_eq!(resource_version, &version, "{kind:?} {name} is written in the version that is there");
                assert_eq!(object["kind"], kind.kind());
                assert_eq!(object["apiVersion"], kind.api_version());
                let mut merged = old.unwrap_or_else(|| json!({"metadata": {}}));
                if let Some(before) = self.applied.get(&key) {
                    take_away(&mut merged, before);
                }
                merge(&mut merged, object);
                self.applied.insert(key, object.clone());
                self.put(kind, merged);
                if version.is_some() { "apply" } else { "create" }
            }
            RouteStep::MergePatch { patch, .. } => {
                let mut object = self.get(kind, &name).expect("what is patched is there").clone();
                assert_eq!(patch["metadata"]["resourceVersion"], object["metadata"]["resourceVersion"], "guarded");
                json_merge(&mut object, patch);
                self.put(kind, object);
                "patch"
            }
            RouteStep::Delete { uid, resource_version, .. } => {
                let object = self.get(kind, &name).expect("what is deleted is there");
                assert_eq!(object["metadata"]["uid"], **uid);
                assert_eq!(object["metadata"]["resourceVersion"], **resource_version);
                self.drop(kind, &name);
                "delete"
            }
        };
        self.unseen.accessories |= router::is_named_by_routes(kind, &name);
        self.unseen.routes |=
            matches!(kind, ObjectKind::Ingress | ObjectKind::IngressRoute | ObjectKind::TraefikService);
        self.writes.push(format!("{verb} {}/{name}", kind.kind()));
    }
}

/// Removes what an apply no longer says: maps go by key, lists are replaced whole by [`merge`].
fn take_away(object: &mut Value, applied: &Value) {
    if let (Value::Object(object), Value::Object(applied)) = (object, applied) {
        for (key, value) in applied {
            match object.get_mut(key) {
                Some(inner @ Value::Object(_)) => take_away(inner, value),
                Some(_) => {
                    object.remove(key);
                }
                None => {}
            }
        }
    }
}

fn merge(object: &mut Value, applied: &Value) {
    match (object, applied) {
        (Value::Object(object), Value::Object(applied)) => {
            for (key, value) in applied {
                merge(object.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (object, applied) => *object = applied.clone(),
    }
}

fn json_merge(object: &mut Value, patch: &Value) {
    let (Value::Object(patch), true) = (patch, true) else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    let object = object.as_object_mut().unwrap();
    for (key, value) in patch {
        if value.is_null() {
            object.remove(key);
        } else {
            json_merge(object.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// A split's aliases of one kind.
struct Aliases {
    services: Vec<ServiceView>,
    slices: Vec<EndpointSliceView>,
    ready: AliasReady,
}

impl Aliases {
    fn of(world: &World, split: &str, name: fn(&str, Side) -> String) -> Self {
        let [legacy, new] = [name(split, Side::Legacy), name(split, Side::New)];
        let is = |it: &str| it == legacy || it == new;
        let mut services: Vec<ServiceView> = world.all(ObjectKind::Service);
        services.retain(|it| is(&it.meta.name));
        let mut slices: Vec<EndpointSliceView> = world.all(ObjectKind::EndpointSlice);
        slices.retain(|it| is(&it.service));
        let ready = |name: &String| world.get(ObjectKind::Service, name).map(|_| world.filled.contains(name));
        Self { services, slices, ready: AliasReady { legacy: ready(&legacy), new: ready(&new) } }
    }
}

/// A split with one router.
#[derive(Clone, Debug)]
pub struct Split {
    pub router: Router,
    pub hosts: Vec<String>,
    pub paths: Vec<PathMatch>,
    pub pins: Vec<Pin>,
    pub stickiness: Option<(Stickiness, StickinessStatus)>,
    pub edge: Option<Edge>,
    pub mirror: Option<Mirror>,
    pub said_otherwise: Option<Problem>,
    pub sides: Sides,
    pub weight: i32,
    pub total: i32,
    pub exposed: bool,
    pub baseline: Option<String>,
    pub name: String,
    pub uid: String,
    pub backed_off: bool,
    pub installed: Known<bool>,
    pub accessories_installed: Known<bool>,
    pub forbidden: bool,
    pub classes: Vec<GatewayClassView>,
}

pub fn backend(service: &str) -> Backend {
    Backend {
        service: service.to_owned(),
        port: 8080,
        port_name: Some("web".to_owned()),
        target_port: Some(IntOrString::String("http".to_owned())),
        app_protocol: None,
        selector: BTreeMap::from([("app".to_owned(), service.to_owned())]),
        publish_not_ready_addresses: false,
        tls: None,
        external_name: false,
        endpoints: Vec::new(),
        ready: Known::Known(2),
    }
}

pub fn header(to: Side, name: &str, value: &str) -> Pin {
    Pin { to, header: Some(HeaderMatch { name: name.into(), value: value.into() }), cookie: None }
}

pub fn cookie(to: Side, name: &str, value: &str) -> Pin {
    Pin { to, header: None, cookie: Some(CookieMatch { name: name.into(), value: value.into() }) }
}

pub fn prefix(value: &str) -> PathMatch {
    PathMatch::new(PathType::Prefix, value)
}

impl Split {
    fn of(router: Router) -> Self {
        let class = json!({
            "metadata": {"name": "example"}, "spec": {"controllerName": CONTROLLER},
            "status": {"supportedFeatures": [
                {"name": "Gateway"}, {"name": "HTTPRoute"}, {"name": "GRPCRoute"}, {"name": "HTTPRouteResponseHeaderModification"},
                {"name": "BackendTLSPolicy"}, {"name": "HTTPRouteCORS"}, {"name": "HTTPRoutePathRewrite"}, {"name": "HTTPRouteRequestMirror"},
                {"name": "HTTPRouteRequestPercentageMirror"}, {"name": "HTTPRouteMethodMatching"}, {"name": "HTTPRouteSchemeRedirect"},
            ]},
        });
        Self {
            router,
            hosts: vec!["shop.example.com".into()],
            paths: vec![prefix("/")],
            pins: Vec::new(),
            stickiness: None,
            edge: None,
            mirror: None,
            said_otherwise: None,
            sides: Sides {
                legacy: SideBackend::Present(backend("monolith")),
                new: SideBackend::Present(backend("storefront")),
            },
            weight: 25,
            total: 100,
            exposed: true,
            baseline: None,
            name: "shop".into(),
            uid: "split-uid".into(),
            backed_off: false,
            installed: Known::Known(true),
            accessories_installed: Known::Known(true),
            forbidden: false,
            classes: vec![serde_json::from_value(class).unwrap()],
        }
    }

    pub fn nginx() -> Self {
        let router = IngressNginxRouter {
            class_name: Some("nginx".into()),
            tls: None,
            annotations: BTreeMap::new(),
            allowed_response_headers: Vec::new(),
            attach: None,
        };
        Self::of(Router { ingress_nginx: Some(router), ..Router::default() })
    }

    pub fn beside(ingress: &str) -> Self {
        let attach = Some(IngressAttach { ingress: ingress.into() });
        let router = IngressNginxRouter {
            class_name: None,
            tls: None,
            annotations: BTreeMap::new(),
            allowed_response_headers: Vec::new(),
            attach,
        };
        Self::of(Router { ingress_nginx: Some(router), ..Router::default() })
    }

    pub fn gateway() -> Self {
        let parent =
            ParentRef { name: "edge".into(), namespace: Some("infra".into()), section_name: None, redirect_from: None };
        let router = GatewayApiRouter { parent_refs: Some(vec![parent]), ..GatewayApiRouter::default() };
        Self::of(Router { gateway_api: Some(router), ..Router::default() })
    }

    pub fn rule(route: &str, rule: &str) -> Self {
        let attach = Some(RouteAttach { route: route.into(), rule: rule.into() });
        let router = GatewayApiRouter { attach, ..GatewayApiRouter::default() };
        Self::of(Router { gateway_api: Some(router), ..Router::default() })
    }

    /// The same with routes for gRPC.
    pub fn grpc(self) -> Self {
        self.with(|it| it.router.gateway_api.as_mut().unwrap().route_kind = RouteKind::Grpc)
    }

    pub fn traefik() -> Self {
        Self::of(Router { traefik: Some(TraefikRouter::default()), ..Router::default() })
    }

    pub fn weighted(service: &str) -> Self {
        let attach = Some(TraefikAttach { service: service.into() });
        Self::of(Router { traefik: Some(TraefikRouter { attach, ..TraefikRouter::default() }), ..Router::default() })
    }

    pub fn istio() -> Self {
        let router = IstioRouter { gateways: Some(vec!["infra/edge".into()]), attach: None };
        Self::of(Router { istio: Some(router), ..Router::default() })
    }

    pub fn entry(virtual_service: &str, http: &str) -> Self {
        let attach = Some(IstioAttach { virtual_service: virtual_service.into(), http: http.into() });
        Self::of(Router { istio: Some(IstioRouter { gateways: None, attach }), ..Router::default() })
    }

    pub fn alb() -> Self {
        let router = AlbRouter { class_name: "alb".into(), annotations: BTreeMap::new() };
        Self::of(Router { alb: Some(router), ..Router::default() })
    }

    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    #[must_use]
    pub fn at(self, weight: i32) -> Self {
        Self { weight, ..self }
    }

    /// At a weight, with cookies of an epoch by which clients were dealt at some weights.
    #[must_use]
    pub fn sticky(self, epoch: i64, dealt: &[i32]) -> Self {
        let spec = serde_json::from_value(json!({"cookie": {"name": "side", "maxAge": "1h"}})).unwrap();
        let weight = dealt.last().copied().unwrap_or(self.weight);
        let known = StickinessStatus { epoch, dealt: dealt.to_vec() };
        Self { stickiness: Some((spec, known)), weight, ..self }
    }

    pub fn nginx_mut(&mut self) -> &mut IngressNginxRouter {
        self.router.ingress_nginx.as_mut().unwrap()
    }

    pub fn backend_mut(&mut self, side: Side) -> &mut Backend {
        let side = match side {
            Side::Legacy => &mut self.sides.legacy,
            Side::New => &mut self.sides.new,
        };
        match side {
            SideBackend::Present(backend) => backend,
            other => panic!("{other:?} has no backend"),
        }
    }

    pub fn split_ref(&self) -> SplitRef<'_> {
        SplitRef { namespace: "shop", name: &self.name, uid: &self.uid }
    }

    /// Looks at the world as the controller does.
    pub fn observing<T>(&self, world: &World, then: impl FnOnce(&Intent<'_>, &Observed<'_>) -> T) -> T {
        let intent = Intent {
            split: self.split_ref(),
            hosts: &self.hosts,
            paths: &self.paths,
            pins: &self.pins,
            stickiness: self.stickiness.as_ref().map(|(spec, known)| Sticky::of((spec, known))),
            edge: self.edge.as_ref(),
            mirror: self.mirror.as_ref(),
            said_otherwise: self.said_otherwise.as_ref(),
            router_index: 0,
            sides: &self.sides,
            new_weight: self.weight,
            weight_total: self.total,
            exposed: self.exposed,
            baseline: self.baseline.as_deref(),
        };
        if let Some(router) = &self.router.ingress_nginx {
            let ingress = |name: &str| world.view::<IngressView>(ObjectKind::Ingress, name);
            let attach = router.attach.as_ref().map(|attach| attach.ingress.as_str());
            let (main, canary) = (ingress(&route_name(&self.name)), ingress(&canary_name(&self.name)));
            let attached = attach.and_then(ingress);
            let others: Vec<IngressView> = world.all(ObjectKind::Ingress);
            let aliases = Aliases::of(world, &self.name, router::alias_name);
            let config_maps: Vec<WholeView> = world.all(ObjectKind::ConfigMap);
            then(
                &intent,
                &Observed::IngressNginx(IngressObserved {
                    main: main.as_ref(),
                    canary: canary.as_ref(),
                    attached: attached.as_ref(),
                    others: &others.iter().collect::<Vec<_>>(),
                    aliases: &aliases.services.iter().collect::<Vec<_>>(),
                    alias_slices: &aliases.slices.iter().collect::<Vec<_>>(),
                    alias_ready: aliases.ready,
                    config_maps: &config_maps.iter().collect::<Vec<_>>(),
                    unseen: world.unseen,
                    backed_off: self.backed_off,
                }),
            )
        } else if let Some(router) = &self.router.traefik {
            self.observing_traefik(router, world, |observed| then(&intent, &Observed::Traefik(observed)))
        } else if self.router.alb.is_some() {
            let ingress = world.view::<IngressView>(ObjectKind::Ingress, &alb_name(&self.name));
            let observed = AlbObserved { ingress: ingress.as_ref(), backed_off: self.backed_off };
            then(&intent, &Observed::Alb(observed))
        } else if let Some(router) = &self.router.istio {
            let attach = router.attach.as_ref();
            let name = attach.map_or_else(|| route_name(&self.name), |it| it.virtual_service.clone());
            let service = world.view::<WholeView>(ObjectKind::VirtualService, &name);
            then(
                &intent,
                &Observed::Istio(IstioObserved {
                    installed: self.installed,
                    forbidden: self.forbidden,
                    service: service.as_ref(),
                    backed_off: self.backed_off,
                }),
            )
        } else {
            let router = self.router.gateway_api.as_ref().unwrap();
            let is_http = router.route_kind == RouteKind::Http;
            let none = World::default();
            let beside = if is_http { world } else { &none };
            let aliases = Aliases::of(beside, &self.name, router::sticky_name);
            let name = router.attach.as_ref().map_or_else(|| route_name(&self.name), |it| it.route.clone());
            let route = world.view::<RouteView>(router.route_kind.into(), &name);
            let redirect = beside.view::<RouteView>(ObjectKind::HttpRoute, &redirect_name(&self.name));
            let gateway: GatewayView = serde_json::from_value(json!({
                "metadata": {"name": "edge", "namespace": "infra", "generation": 3},
                "spec": {"gatewayClassName": "example"},
                "status": {"conditions": [{"type": "Programmed", "status": "True", "observedGeneration": 3}]},
            }))
            .unwrap();
            then(
                &intent,
                &Observed::GatewayApi(GatewayObserved {
                    kind: router.route_kind,
                    installed: self.installed,
                    forbidden: self.forbidden,
                    route: route.as_ref(),
                    redirect: redirect.as_ref(),
                    gateways: &[&gateway],
                    classes: &self.classes.iter().collect::<Vec<_>>(),
                    gateways_readable: true,
                    aliases: &aliases.services.iter().collect::<Vec<_>>(),
                    alias_slices: &aliases.slices.iter().collect::<Vec<_>>(),
                    alias_ready: aliases.ready,
                    backed_off: self.backed_off,
                }),
            )
        }
    }

    fn observing_traefik<T>(
        &self,
        router: &TraefikRouter,
        world: &World,
        then: impl FnOnce(TraefikObserved<'_>) -> T,
    ) -> T {
        let attach = router.attach.as_ref();
        let name = attach.map_or_else(|| weighted_name(&self.name), |it| it.service.clone());
        let service = world.view::<WholeView>(ObjectKind::TraefikService, &name);
        let route = world.view::<WholeView>(ObjectKind::IngressRoute, &route_name(&self.name));
        let kinds = [ObjectKind::Middleware, ObjectKind::ServersTransport];
        let accessories: Vec<(ObjectKind, WholeView)> =
            kinds.into_iter().flat_map(|kind| world.all(kind).into_iter().map(move |it| (kind, it))).collect();
        let accessories: Vec<_> = accessories.iter().map(|(kind, it)| (*kind, it)).collect();
        let mirror = world.view::<WholeView>(ObjectKind::TraefikService, &mirror_name(&self.name));
        let aliases = Aliases::of(world, &self.name, |split, _| mirror_name(split));
        let redirect = world.view::<WholeView>(ObjectKind::IngressRoute, &redirect_name(&self.name));
        then(TraefikObserved {
            installed: self.installed,
            forbidden: self.forbidden,
            route: route.as_ref(),
            redirect: redirect.as_ref(),
            service: service.as_ref(),
            mirror: mirror.as_ref(),
            aliases: &aliases.services.iter().collect::<Vec<_>>(),
            alias_slices: &aliases.slices.iter().collect::<Vec<_>>(),
            accessories: &accessories,
            accessories_installed: self.accessories_installed,
            accessories_forbidden: self.forbidden,
            unseen: world.unseen,
            backed_off: self.backed_off,
        })
    }

    pub fn plan(&self, world: &World) -> RouterPlan {
        self.observing(world, |intent, observed| router::plan(&self.router, intent, observed))
    }

    pub fn read_weight(&self, world: &World) -> Option<i32> {
        self.observing(world, |intent, observed| {
            router::read_weight(&self.router, intent.split, &self.sides, self.total, observed)
        })
    }

    /// Carries plans out until there is nothing to do. `killed` after every write, it plans anew from what is there.
    pub fn drive(&self, world: &mut World, killed: bool, mut after_write: impl FnMut(&World)) -> RouterPlan {
        for _ in 0..32 {
            let plan = self.plan(world);
            if plan.steps.is_empty() && !plan.paused {
                return plan;
            }
            if plan.steps.is_empty() {
                world.unseen = Unseen::default();
                after_write(world);
                continue;
            }
            let take = if killed { 1 } else { plan.steps.len() };
            for step in plan.steps.iter().take(take) {
                world.send(step);
                after_write(world);
            }
        }
        panic!("no end of writes: {:?}", world.writes);
    }

    /// The same without looking on, and the gateway accepts whatever it is given.
    pub fn settle(&self, world: &mut World) -> RouterPlan {
        self.drive(world, false, |_| {});
        accept_all(world);
        let plan = self.plan(world);
        assert_eq!(plan.steps, [], "an accepted route is not written again");
        plan
    }
}

/// A gateway that accepts every route in its present form.
pub fn accept_all(world: &mut World) {
    let is_route = |kind: ObjectKind| matches!(kind, ObjectKind::HttpRoute | ObjectKind::GrpcRoute);
    let routes: Vec<_> = world.created.iter().filter(|(kind, _)| is_route(*kind)).cloned().collect();
    for (kind, name) in routes {
        world.edit(kind, &name, |route| {
            let generation = route["metadata"]["generation"].clone();
            let says = |type_| json!({"type": type_, "status": "True", "observedGeneration": generation, "reason": type_});
            let parents = route["spec"]["parentRefs"].as_array().cloned().unwrap_or_default();
            let status = |parent: &Value| {
                json!({"parentRef": parent, "controllerName": CONTROLLER, "conditions": [says("Accepted"), says("ResolvedRefs")]})
            };
            route["status"] = json!({"parents": parents.iter().map(status).collect::<Vec<_>>()});
        });
    }
}

/// A user's own Ingress, to the legacy Service.
pub fn users_ingress(name: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {"ingressClassName": "nginx", "rules": [{"host": "shop.example.com", "http": {"paths": [
            {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "monolith", "port": {"number": 8080}}}},
        ]}}]},
    })
}

/// A user's own HTTPRoute with a rule `checkout` to the legacy Service and a rule `other` to something else.
pub fn users_route(name: &str) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"team": "shop"}},
        "spec": {
            "parentRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge", "namespace": "infra"}],
            "hostnames": ["shop.example.com"],
            "rules": [
                {"name": "other", "matches": [{"path": {"type": "PathPrefix", "value": "/blog"}}], "timeouts": {"request": "5s"},
                 "backendRefs": [{"group": "", "kind": "Service", "name": "blog", "port": 80, "weight": 1}]},
                {"name": "checkout", "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                 "filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x-a", "value": "b"}]}}],
                 "backendRefs": [{"group": "", "kind": "Service", "name": "monolith", "port": 8080, "weight": 1,
                   "filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x-c", "value": "d"}]}}]}]},
            ],
        },
    })
}

/// A user's own GRPCRoute with a rule `checkout` to the legacy Service and a rule `other` to something else.
pub fn users_grpc_route(name: &str) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"team": "shop"}},
        "spec": {
            "parentRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge", "namespace": "infra"}],
            "hostnames": ["shop.example.com"],
            "rules": [
                {"name": "other", "matches": [{"method": {"type": "Exact", "service": "shop.Blog"}}],
                 "backendRefs": [{"group": "", "kind": "Service", "name": "blog", "port": 80, "weight": 1}]},
                {"name": "checkout", "matches": [{"method": {"type": "Exact", "service": "shop.Cart"}}],
                 "filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x-a", "value": "b"}]}}],
                 "backendRefs": [{"group": "", "kind": "Service", "name": "monolith", "port": 8080, "weight": 1}]},
            ],
        },
    })
}

/// A user's own TraefikService with both sides.
pub fn users_service(name: &str) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"team": "shop"}},
        "spec": {"weighted": {
            "sticky": {"cookie": {"name": "shop"}},
            "services": [
                {"name": "storefront", "port": "web", "weight": 0, "passHostHeader": false},
                {"name": "monolith", "port": 8080, "strategy": "p2c"},
            ],
        }},
    })
}

/// A user's own VirtualService with an entry `all` to the legacy Service and an entry `other` to something else.
pub fn users_virtual_service(name: &str) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"team": "shop"}},
        "spec": {
            "hosts": ["shop.example.com"], "gateways": ["infra/edge"],
            "http": [
                {"name": "other", "match": [{"uri": {"prefix": "/blog"}}], "timeout": "5s",
                 "route": [{"destination": {"host": "blog"}}]},
                {"name": "all", "retries": {"attempts": 2}, "route": [
                    {"destination": {"host": "monolith.shop.svc.cluster.local"}, "headers": {"request": {"set": {"x-a": "b"}}}},
                ]},
            ],
        },
    })
}
