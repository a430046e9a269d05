//! What of a snapshot each router is given. No I/O.

use cutover_api::v1alpha1::traffic_split::{RouteKind, Router, RouterKind, Side};
use cutover_engine::router::{
    self, AlbObserved, AliasReady, EndpointSliceView, GatewayClassView, GatewayObserved, GatewayView, IngressObserved,
    IngressView, IstioObserved, ObjectKind, ServiceView, TraefikObserved, WholeView, alb_name, alias_name, canary_name,
    made_prefix, mirror_name, redirect_name, route_name, sticky_name, weighted_name,
};
use kube::ResourceExt;

use super::Snapshot;

/// The references that an observed router is made of.
pub(in super::super) struct Lists<'a> {
    router: &'a Router,
    snapshot: &'a Snapshot,
    ingresses: Vec<&'a IngressView>,
    aliases: Vec<&'a ServiceView>,
    slices: Vec<&'a EndpointSliceView>,
    alias_ready: AliasReady,
    gateways: Vec<&'a GatewayView>,
    classes: Vec<&'a GatewayClassView>,
    accessories: Vec<(ObjectKind, &'a WholeView)>,
    config_maps: Vec<&'a WholeView>,
}

/// The aliases of the two sides that a router may have made, if it makes any. Each has its own: what one no longer needs, another may.
fn aliases_of(router: &Router, split: &str) -> Option<[String; 2]> {
    if router.gateway_api.as_ref().is_some_and(|router| router.route_kind == RouteKind::Grpc) {
        return None;
    }
    let alias: fn(&str, Side) -> String = match router.kind() {
        RouterKind::GatewayApi => sticky_name,
        RouterKind::Traefik => |split, _| mirror_name(split),
        RouterKind::IngressNginx | RouterKind::Istio | RouterKind::Alb => alias_name,
    };
    Some([Side::Legacy, Side::New].map(|side| alias(split, side)))
}

impl Snapshot {
    /// Whether there is an alias that the router makes, or a part of one, which was made for the split.
    pub(in super::super) fn owns_alias(&self, router: &Router, uid: &str) -> bool {
        let aliases = aliases_of(router, &self.split.name_any());
        let is_of = |service: &str| aliases.iter().flatten().any(|alias| alias == service);
        let mut services = self.services.iter().filter(|it| is_of(&it.meta.name)).map(|it| &it.meta);
        let mut slices = self.alias_slices.iter().filter(|it| is_of(&it.service)).map(|it| &it.meta);
        services.any(|meta| meta.is_owned_by(uid)) || slices.any(|meta| meta.is_owned_by(uid))
    }

    /// Whether a route of the split's is being deleted, and kept by somebody's finalizer.
    pub(in super::super) fn lingers(&self, uid: &str) -> bool {
        let mut routes = self.ingresses.iter().map(|it| &it.meta).chain(self.routes.iter().map(|(_, it)| &it.meta));
        routes.any(|meta| meta.deleting && meta.is_owned_by(uid))
    }

    /// Per router, in the order given, the references that make an observation of it.
    pub(in super::super) fn lists<'a>(&'a self, routers: &'a [Router]) -> Vec<Lists<'a>> {
        let split = self.split.name_any();
        let list = |router: &'a Router| {
            let aliases = aliases_of(router, &split);
            let is_of = |service: &str| aliases.iter().flatten().any(|alias| alias == service);
            let ready = |name: &str| self.alias_ready.get(name).copied();
            Lists {
                router,
                snapshot: self,
                ingresses: self.ingresses.iter().collect(),
                aliases: self.services.iter().filter(|it| is_of(&it.meta.name)).collect(),
                slices: self.alias_slices.iter().filter(|it| is_of(&it.service)).collect(),
                alias_ready: aliases.as_ref().map_or_else(AliasReady::default, |[legacy, new]| AliasReady {
                    legacy: ready(legacy),
                    new: ready(new),
                }),
                gateways: self.gateways.iter().collect(),
                classes: self.classes.iter().collect(),
                accessories: self.named(|kind| kind.is_accessory() && kind != ObjectKind::ConfigMap).collect(),
                config_maps: self.named(|kind| kind == ObjectKind::ConfigMap).map(|(_, view)| view).collect(),
            }
        };
        routers.iter().map(list).collect()
    }

    /// What routes name, of these kinds.
    fn named(&self, of: impl Fn(ObjectKind) -> bool) -> impl Iterator<Item = (ObjectKind, &WholeView)> {
        let prefix = made_prefix(&self.split.name_any());
        let is_named = move |kind: ObjectKind, view: &WholeView| of(kind) && view.meta.name.starts_with(&prefix);
        self.wholes.iter().filter(move |(kind, view)| is_named(*kind, view)).map(|(kind, view)| (*kind, view))
    }
}

impl Lists<'_> {
    /// The observation.
    pub(in super::super) fn observed(&self) -> router::Observed<'_> {
        let (snapshot, split) = (self.snapshot, self.snapshot.split.name_any());
        if self.router.alb.is_some() {
            let name = alb_name(&split);
            return router::Observed::Alb(AlbObserved {
                ingress: snapshot.ingresses.iter().find(|view| *view.meta.name == *name),
                backed_off: snapshot.backed_off,
            });
        }
        if let Some(router) = &self.router.ingress_nginx {
            let named = |name: &str| snapshot.ingresses.iter().find(|view| &*view.meta.name == name);
            return router::Observed::IngressNginx(IngressObserved {
                main: named(&route_name(&split)),
                canary: named(&canary_name(&split)),
                attached: router.attach.as_ref().and_then(|attach| named(&attach.ingress)),
                others: &self.ingresses,
                aliases: &self.aliases,
                alias_slices: &self.slices,
                alias_ready: self.alias_ready,
                config_maps: &self.config_maps,
                unseen: snapshot.unseen,
                backed_off: snapshot.backed_off,
            });
        }
        let whole = |kind: ObjectKind, name: &str| {
            let mut found = snapshot.wholes.iter().filter(|(of, view)| *of == kind && *view.meta.name == *name);
            found.next().map(|(_, view)| view)
        };
        if let Some(router) = &self.router.istio {
            let attach = router.attach.as_ref();
            let name = attach.map_or_else(|| route_name(&split), |attach| attach.virtual_service.clone());
            return router::Observed::Istio(IstioObserved {
                installed: snapshot.istio_served.installed,
                forbidden: snapshot.istio_served.forbidden,
                service: whole(ObjectKind::VirtualService, &name),
                backed_off: snapshot.backed_off,
            });
        }
        if let Some(router) = &self.router.traefik {
            let attach = router.attach.as_ref();
            let service = attach.map_or_else(|| weighted_name(&split), |attach| attach.service.clone());
            return router::Observed::Traefik(TraefikObserved {
                installed: snapshot.traefik_served.installed,
                forbidden: snapshot.traefik_served.forbidden,
                route: whole(ObjectKind::IngressRoute, &route_name(&split)),
                redirect: whole(ObjectKind::IngressRoute, &redirect_name(&split)),
                service: whole(ObjectKind::TraefikService, &service),
                mirror: whole(ObjectKind::TraefikService, &mirror_name(&split)),
                aliases: &self.aliases,
                alias_slices: &self.slices,
                accessories: &self.accessories,
                accessories_installed: snapshot.accessories_served.installed,
                accessories_forbidden: snapshot.accessories_served.forbidden,
                unseen: snapshot.unseen,
                backed_off: snapshot.backed_off,
            });
        }
        let attach = self.router.gateway_api.as_ref().and_then(|router| router.attach.as_ref());
        let name = attach.map_or_else(|| route_name(&split), |attach| attach.route.clone());
        let kind = self.router.gateway_api.as_ref().map(|router| router.route_kind).unwrap_or_default();
        let is_http = kind == RouteKind::Http;
        let route = |name: &str| {
            let mut found = snapshot.routes.iter().filter(|(of, view)| *of == kind.into() && *view.meta.name == *name);
            found.next().map(|(_, view)| view)
        };
        let served = if is_http { snapshot.http_routes_served } else { snapshot.grpc_routes_served };
        router::Observed::GatewayApi(GatewayObserved {
            kind,
            installed: served.installed,
            forbidden: served.forbidden,
            route: route(&name),
            redirect: route(&redirect_name(&split)).filter(|_| is_http),
            gateways: &self.gateways,
            classes: &self.classes,
            gateways_readable: snapshot.gateways_readable,
            aliases: &self.aliases,
            alias_slices: &self.slices,
            alias_ready: self.alias_ready,
            backed_off: snapshot.backed_off,
        })
    }
}
