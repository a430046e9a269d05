//! The Ingress that we make.

use std::collections::BTreeMap;

use cutover_api::{
    conditions::reasons,
    labels,
    v1alpha1::traffic_split::{AlbRouter, PathType},
};
use serde_json::{Map, Value, json};

use super::{
    MAX_WEIGHT,
    forward::{ACTIONS, WEIGHTED, action},
};
use crate::{
    hash::short_hash,
    router::{
        contract::{Intent, ObjectKind, Problem, RouteStep},
        marks, names,
        shares::Share,
        view::{IngressPathView, IngressPort, IngressRuleView, IngressView},
    },
};

/// What the annotations of conditions begin with.
const CONDITIONS: &str = "alb.ingress.kubernetes.io/conditions.";
/// The port that requests without TLS are sent to.
const SSL_REDIRECT: &str = "alb.ingress.kubernetes.io/ssl-redirect";
/// What the load balancer listens on, as JSON.
const LISTEN_PORTS: &str = "alb.ingress.kubernetes.io/listen-ports";
/// The port of a rule's backend that is an action.
const USE_ANNOTATION: &str = "use-annotation";

fn weighted(shares: &[Share<'_>]) -> String {
    action(shares.iter().map(|share| (share.service, share.port, share.weight.min(MAX_WEIGHT))))
}

/// The port with TLS of a load balancer that listens without it too.
fn tls_port(router: &AlbRouter) -> Option<u64> {
    let listens: Vec<BTreeMap<String, u64>> = serde_json::from_str(router.annotations.get(LISTEN_PORTS)?).ok()?;
    let port = |protocol: &str| listens.iter().find_map(|it| it.get(protocol)).copied();
    port("HTTP").and_then(|_| port("HTTPS"))
}

/// An annotation of the spec that cannot be taken over, or that is missing.
pub(super) fn annotation_refused(router: &AlbRouter, intent: &Intent<'_>) -> Option<Problem> {
    if intent.edge.is_some_and(|edge| edge.tls_redirect) {
        let at = format!("spec.routers[{}].alb.annotations", intent.router_index);
        let why = if router.annotations.contains_key(SSL_REDIRECT) {
            Some(format!("{at}[{SSL_REDIRECT}]: spec.edge says the same: remove one of them"))
        } else if tls_port(router).is_none() {
            Some(format!(
                "spec.edge.tlsRedirect: alb redirects from a port without TLS to one with it: say both in {at}[{LISTEN_PORTS}], such as \
                 [{{\"HTTP\": 80}}, {{\"HTTPS\": 443}}]"
            ))
        } else {
            None
        };
        if let Some(why) = why {
            return Some(marks::stalled(reasons::UNSUPPORTED_BY_ROUTER, why));
        }
    }
    let ours = |key: &&String| key.starts_with(ACTIONS) || key.starts_with(CONDITIONS);
    let key = router.annotations.keys().find(ours)?;
    Some(marks::stalled(
        reasons::UNSUPPORTED_BY_ROUTER,
        format!(
            "spec.routers[{}].alb.annotations[{key}]: actions and conditions are Cutover's: use newWeight and pins, and remove it",
            intent.router_index
        ),
    ))
}

/// The Ingress, unless it is as wanted.
pub(super) fn ingress(
    router: &AlbRouter,
    intent: &Intent<'_>,
    shares: &[Share<'_>],
    observed: Option<&IngressView>,
) -> Option<RouteStep> {
    let annotations = annotations(router, intent, shares);
    let rules = rules(intent);
    let class = router.class_name.as_str();
    if let Some(observed) = observed {
        if let Some(strays) = strays(observed, &annotations) {
            return Some(strays);
        }
        let written = |key: &str| observed.annotations.get(key).map(|it| &**it);
        let gone = |key: &str| written(key).is_some() && !annotations.contains_key(key);
        let is_same = observed.class_name.as_deref() == Some(class)
            && *observed.rules == *rules
            && annotations.iter().all(|(key, value)| written(key) == Some(value))
            && !gone(labels::BASELINE)
            && !gone(names::WRITTEN);
        if is_same {
            return None;
        }
    }
    let name = names::alb_name(intent.split.name);
    let spec = json!({"ingressClassName": class, "rules": rules.iter().map(rule).collect::<Vec<_>>()});
    let metadata = marks::metadata(&intent.split, &name, &[], annotations);
    let body = Map::from_iter([("metadata".to_owned(), metadata), ("spec".to_owned(), spec)]);
    Some(marks::apply(ObjectKind::Ingress, &name, body, observed.map(|it| &it.meta)))
}

/// Only the weights, of an Ingress whose form the spec no longer describes.
pub(super) fn reweighed(observed: &IngressView, shares: &[Share<'_>]) -> Option<RouteStep> {
    let wanted = weighted(shares);
    let differs = observed.annotations.get(WEIGHTED).map(|it| &**it) != Some(wanted.as_str());
    differs.then(|| annotated(observed, &json!({(WEIGHTED): wanted}), None))
}

fn annotated(observed: &IngressView, annotations: &Value, spec: Option<Value>) -> RouteStep {
    marks::patch(ObjectKind::Ingress, &observed.meta, json!({"annotations": annotations}), spec)
}

/// What others have added and is in the way: an apply would leave it to them.
fn strays(observed: &IngressView, wanted: &BTreeMap<String, String>) -> Option<RouteStep> {
    let in_the_way = |key: &str| (key.starts_with(ACTIONS) || key.starts_with(CONDITIONS)) && !wanted.contains_key(key);
    let marks: Map<String, Value> =
        observed.annotations.keys().filter(|key| in_the_way(key)).map(|key| (key.to_string(), Value::Null)).collect();
    let by_default = observed.default_backend.is_some().then(|| json!({"defaultBackend": null}));
    (!marks.is_empty() || by_default.is_some()).then(|| annotated(observed, &Value::Object(marks), by_default))
}

fn annotations(router: &AlbRouter, intent: &Intent<'_>, shares: &[Share<'_>]) -> BTreeMap<String, String> {
    let mut all = router.annotations.clone();
    if intent.edge.is_some_and(|edge| edge.tls_redirect) {
        all.extend(tls_port(router).map(|port| (SSL_REDIRECT.to_owned(), port.to_string())));
    }
    if !all.is_empty() {
        let written = short_hash(&all.keys().collect::<Vec<_>>());
        all.insert(names::WRITTEN.to_owned(), written);
    }
    all.extend(intent.baseline.map(|baseline| (labels::BASELINE.to_owned(), baseline.to_owned())));
    all.insert(WEIGHTED.to_owned(), weighted(shares));
    for (name, at) in pins(intent) {
        let Some(pin) = intent.pins.get(at) else { continue };
        let (Some(header), Some(backend)) = (&pin.header, intent.sides.get(pin.to).present()) else { continue };
        let condition = json!([{
            "field": "http-header", "httpHeaderConfig": {"httpHeaderName": header.name, "values": [header.value]},
        }]);
        all.insert(format!("{CONDITIONS}{name}"), condition.to_string());
        all.insert(format!("{ACTIONS}{name}"), action([(backend.service.as_str(), backend.port, 1)]));
    }
    all
}

/// Names of the pins' actions, and which pin each is. A pin is left out while its side is not there.
fn pins(intent: &Intent<'_>) -> Vec<(String, usize)> {
    let there = intent.pins.iter().enumerate().filter(|(_, pin)| intent.sides.get(pin.to).present().is_some());
    there.map(|(at, _)| (format!("pin-{}", at + 1), at)).collect()
}

fn rules(intent: &Intent<'_>) -> Vec<IngressRuleView> {
    let names: Vec<String> = pins(intent).into_iter().map(|(name, _)| name).chain(["weighted".to_owned()]).collect();
    let paths: Box<[IngressPathView]> = intent
        .paths
        .iter()
        .flat_map(|path| {
            let path_type = if path.type_ == PathType::Exact { "Exact" } else { "Prefix" };
            names.iter().map(move |name| IngressPathView {
                path: path.value.as_str().into(),
                path_type: path_type.into(),
                backend: Some((name.as_str().into(), IngressPort::Name(USE_ANNOTATION.into()))),
            })
        })
        .collect();
    intent.hosts.iter().map(|host| IngressRuleView { host: host.as_str().into(), paths: paths.clone() }).collect()
}

fn rule(rule: &IngressRuleView) -> Value {
    let path = |path: &IngressPathView| {
        let service = path.backend.as_ref().map(|(name, _)| json!({"name": name, "port": {"name": USE_ANNOTATION}}));
        json!({"path": path.path, "pathType": path.path_type, "backend": {"service": service}})
    };
    json!({"host": rule.host, "http": {"paths": rule.paths.iter().map(path).collect::<Vec<_>>()}})
}
