//! Headers on every answer: a ConfigMap of ours that the main Ingress names. Pure.
//!
//! A host of which the ConfigMap is not known, or has a header that the controller's administrator does not allow, is answered with 503. So
//! nothing is written but what the spec says to be allowed; a ConfigMap is called after what it says and never changes; it is named once
//! proxies have had their time to see it, and goes once they have had their time to see that nothing names it.

use cutover_api::{
    conditions::reasons,
    v1alpha1::traffic_split::{IngressNginxRouter, SecurityHeaders},
};
use serde_json::{Map, Value};

use crate::{
    hash::short_hash,
    router::{
        contract::{IngressObserved, Intent, ObjectKind, Problem, RouteStep},
        headers, marks, names,
        view::{IngressView, Meta},
    },
};

pub(super) const CUSTOM_HEADERS: &str = "nginx.ingress.kubernetes.io/custom-headers";

/// What of the headers the controller is not said to allow.
pub(super) fn refusal(router: &IngressNginxRouter, intent: &Intent<'_>) -> Option<Problem> {
    let missing: Vec<&str> = headers::of(asked(intent)?)
        .into_iter()
        .filter(|(name, _)| allowed(router, name).is_none())
        .map(|(name, _)| name)
        .collect();
    (!missing.is_empty()).then(|| {
        let message = format!(
            "spec.edge.securityHeaders: ingressNginx answers 503 for a host with a header that its administrator does not allow, and \
             spec.routers[{}].ingressNginx.allowedResponseHeaders does not list {}: list there what the controller allows \
             (global-allowed-response-headers), or use gatewayApi or traefik",
            intent.router_index,
            missing.join(", ")
        );
        marks::stalled(reasons::UNSUPPORTED_BY_ROUTER, message)
    })
}

fn asked<'a>(intent: &Intent<'a>) -> Option<&'a SecurityHeaders> {
    intent.edge?.security_headers.as_ref()
}

/// The header as the administrator writes it: controllers compare the case.
fn allowed<'a>(router: &'a IngressNginxRouter, name: &str) -> Option<&'a str> {
    let found = router.allowed_response_headers.iter().find(|it| it.eq_ignore_ascii_case(name));
    found.map(String::as_str)
}

/// The ConfigMap that is to be, and those that are there.
pub(super) struct Headers<'a> {
    intent: &'a Intent<'a>,
    observed: &'a IngressObserved<'a>,
    /// Its name and what is in it.
    wanted: Option<(String, Map<String, Value>)>,
}

impl<'a> Headers<'a> {
    pub(super) fn of(router: &IngressNginxRouter, intent: &'a Intent<'a>, observed: &'a IngressObserved<'a>) -> Self {
        let said = asked(intent).filter(|_| router.attach.is_none()).map(|security| {
            let named = |(name, value): (&str, String)| Some((allowed(router, name)?.to_owned(), value.into()));
            let data: Map<String, Value> = headers::of(security).into_iter().filter_map(named).collect();
            (names::accessory_name(intent.split.name, &format!("headers-{}", short_hash(&data))), data)
        });
        Self { intent, observed, wanted: said }
    }

    fn found(&self) -> Option<&'a Meta> {
        let (wanted, _) = self.wanted.as_ref()?;
        self.observed.config_maps.iter().map(|it| &it.meta).find(|meta| *meta.name == **wanted)
    }

    /// Why it cannot be made.
    pub(super) fn problem(&self) -> Option<Problem> {
        marks::unusable(ObjectKind::ConfigMap, self.found()?, &self.intent.split)
    }

    /// What makes it.
    pub(super) fn made(&self) -> Option<RouteStep> {
        let (name, data) = self.wanted.as_ref().filter(|_| self.found().is_none())?;
        let body = Map::from_iter([
            ("metadata".to_owned(), marks::metadata(&self.intent.split, name, &[], [])),
            ("data".to_owned(), data.clone().into()),
            ("immutable".to_owned(), true.into()),
        ]);
        Some(marks::apply(ObjectKind::ConfigMap, name, body, None))
    }

    /// What the main Ingress says of it now: what is asked for once every proxy knows it, and until then what it said before.
    pub(super) fn annotation(&self) -> Option<(&'static str, String)> {
        let (wanted, _) = self.wanted.as_ref()?;
        let now = self.observed.main.and_then(named);
        let name = match now {
            Some(now) if now != wanted.as_str() && !self.is_known() => now,
            None if !self.is_known() => return None,
            _ => wanted.as_str(),
        };
        Some((CUSTOM_HEADERS, format!("{}/{name}", self.intent.split.namespace)))
    }

    fn is_known(&self) -> bool {
        self.found().is_some() && !self.observed.unseen.accessories
    }

    /// What has to wait until proxies know of it, if something has. A way in that is not there yet waits as a whole.
    pub(super) fn awaited(&self) -> Option<String> {
        let (wanted, _) = self.wanted.as_ref()?;
        let is_named = self.observed.main.and_then(named) == Some(wanted.as_str());
        (!is_named && !self.is_known()).then(|| marks::untold(ObjectKind::ConfigMap, wanted))
    }

    /// What nobody asks for and nobody names any more.
    pub(super) fn strays(&self) -> Vec<(ObjectKind, &'a Meta)> {
        let wanted = self.wanted.as_ref().map(|(name, _)| name.as_str());
        let all = unnamed(self.observed).filter(|meta| Some(&*meta.name) != wanted);
        all.filter(|meta| marks::is_ours(meta, &self.intent.split)).map(|meta| (ObjectKind::ConfigMap, meta)).collect()
    }
}

/// The ConfigMap that a main Ingress names.
fn named(main: &IngressView) -> Option<&str> {
    main.annotations.get(CUSTOM_HEADERS).and_then(|value| value.split('/').nth(1))
}

/// Those that the main Ingress does not name.
pub(super) fn unnamed<'a>(observed: &IngressObserved<'a>) -> impl Iterator<Item = &'a Meta> {
    let now = observed.main.and_then(named);
    observed.config_maps.iter().map(|it| &it.meta).filter(move |meta| Some(&*meta.name) != now)
}
