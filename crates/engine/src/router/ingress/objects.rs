//! The two Ingresses, built and compared. Only fields that we own are compared.

use std::collections::BTreeMap;

use cutover_api::{
    labels,
    v1alpha1::traffic_split::{IngressNginxRouter, Side},
};
use serde_json::{Map, Value, json};

use super::{
    Scene,
    annotations::{self, CANARY, CANARY_WEIGHT, CANARY_WEIGHT_TOTAL, CLASS},
    moves::Next,
    rewrite,
};
use crate::router::{
    contract::{Intent, ObjectKind, RouteStep, SplitRef},
    marks, names,
    sticky::Sticky,
    view::{IngressPathView, IngressPort, IngressRuleView, IngressTlsView, IngressView},
};

/// The steps that make the two Ingresses what `next` says.
pub(super) fn steps(router: &IngressNginxRouter, scene: &Scene<'_>, next: &Next) -> Vec<RouteStep> {
    let Scene { intent, observed, .. } = scene;
    let frozen = scene.refusal.is_some();
    // Each at a moment when it changes nothing for requests that stay: a canary is only taken away from a main Ingress that
    // leads to the new side or is to have everything, and a rule of the canary without its main rule does nothing.
    let main_first = next.canary.is_none() || observed.main.is_some_and(|main| drops_rules(main, intent));
    let sticking = sticking(scene, next, main_first);
    let main = next.main.filter(|_| router.attach.is_none()).and_then(|side| match observed.main {
        Some(main) if frozen => repointed(main, intent.split, side, annotations::outdated(main, router, sticking)),
        None if frozen => None,
        main => {
            let wanted = main_ingress(router, scene, side, sticking);
            write(intent.split, &names::route_name(intent.split.name), main, &wanted)
        }
    });
    let canary = match (next.canary, observed.canary) {
        (None, None) => None,
        (None, Some(canary)) if canary.meta.deleting => None,
        (None, Some(canary)) => Some(marks::delete(ObjectKind::Ingress, &canary.meta)),
        (Some(weight), Some(canary)) if frozen => reweighted(canary, intent, weight),
        (Some(weight), canary) => canary_ingress(router, scene, weight)
            .and_then(|wanted| write(intent.split, &names::canary_name(intent.split.name), canary, &wanted)),
    };
    let both = if main_first { [main, canary] } else { [canary, main] };
    both.into_iter().flatten().collect()
}

/// What keeps clients with their sides, once the canary has the weight that they are dealt by: it never meets a greater one.
fn sticking<'a>(scene: &Scene<'a>, next: &Next, main_first: bool) -> Option<Sticky<'a>> {
    let weight = scene.intent.new_weight;
    let dealt = next.main == Some(Side::Legacy) && next.canary == Some(weight);
    let no_more = !main_first || scene.now.canary.is_some_and(|now| now <= weight);
    scene.intent.sticking().filter(|_| dealt && no_more)
}

fn drops_rules(main: &IngressView, intent: &Intent<'_>) -> bool {
    let wanted = rules(intent, &main_backend(intent.split, Side::Legacy));
    let has = |rule: &IngressRuleView, path: &IngressPathView| {
        wanted.iter().any(|it| it.host == rule.host && it.paths.iter().any(|it| same_path(it, path)))
    };
    main.rules.iter().any(|rule| rule.paths.iter().any(|path| !is_kept(path) && !has(rule, path)))
}

fn same_path(a: &IngressPathView, b: &IngressPathView) -> bool {
    a.path == b.path && a.path_type == b.path_type
}

/// The backend that an Ingress names for a side: the main one by the port's name, the canary by its number.
fn backend(split: SplitRef<'_>, side: Side, port: IngressPort) -> (Box<str>, IngressPort) {
    (names::alias_name(split.name, side).into(), port)
}

fn main_backend(split: SplitRef<'_>, side: Side) -> (Box<str>, IngressPort) {
    backend(split, side, IngressPort::Name(names::ALIAS_PORT_NAME.into()))
}

fn canary_backend(split: SplitRef<'_>) -> (Box<str>, IngressPort) {
    backend(split, Side::New, IngressPort::Number(names::ALIAS_PORT))
}

/// Every path of every host, to one backend.
fn rules(intent: &Intent<'_>, backend: &(Box<str>, IngressPort)) -> Vec<IngressRuleView> {
    let paths: Box<[IngressPathView]> = intent
        .paths
        .iter()
        .map(|path| {
            let (path, path_type) = rewrite::written(path);
            IngressPathView { path: path.into(), path_type: path_type.into(), backend: Some(backend.clone()) }
        })
        .collect();
    intent.hosts.iter().map(|host| IngressRuleView { host: host.as_str().into(), paths: paths.clone() }).collect()
}

fn is_kept(path: &IngressPathView) -> bool {
    path.path.starts_with(names::KEPT)
}

/// Adds the path that keeps a side's backend known, on the first host.
fn keep(rules: &mut [IngressRuleView], split: SplitRef<'_>, side: Side, backend: (Box<str>, IngressPort)) {
    if let Some(first) = rules.first_mut() {
        let mut paths = std::mem::take(&mut first.paths).into_vec();
        let path = names::kept_path(split.uid, side).into();
        paths.push(IngressPathView { path, path_type: "Exact".into(), backend: Some(backend) });
        first.paths = paths.into();
    }
}

/// The same rules, to another backend. Kept paths stay as they are.
fn led_to(rules: &[IngressRuleView], backend: &(Box<str>, IngressPort)) -> Box<[IngressRuleView]> {
    let path = |path: &IngressPathView| {
        let backend = if is_kept(path) { path.backend.clone() } else { Some(backend.clone()) };
        IngressPathView { backend, ..path.clone() }
    };
    rules
        .iter()
        .map(|rule| IngressRuleView { host: rule.host.clone(), paths: rule.paths.iter().map(path).collect() })
        .collect()
}

/// What a canary repeats of a main Ingress's rules: all but the path that keeps the new side known, which is to lead there whatever
/// the weight.
fn repeated(main: &IngressView, split: SplitRef<'_>) -> Box<[IngressRuleView]> {
    let kept = names::kept_path(split.uid, Side::New);
    let backend = canary_backend(split);
    let path = |path: &IngressPathView| {
        (*path.path != *kept).then(|| IngressPathView { backend: Some(backend.clone()), ..path.clone() })
    };
    main.rules
        .iter()
        .map(|rule| IngressRuleView { host: rule.host.clone(), paths: rule.paths.iter().filter_map(path).collect() })
        .collect()
}

fn main_ingress(
    router: &IngressNginxRouter,
    scene: &Scene<'_>,
    side: Side,
    sticking: Option<Sticky<'_>>,
) -> IngressView {
    let Scene { intent, .. } = scene;
    let mut said = annotations::of_main(router, intent, sticking);
    said.extend(scene.headers.annotation());
    let mut annotations: BTreeMap<Box<str>, Box<str>> =
        said.iter().map(|(key, value)| ((*key).into(), value.as_str().into())).collect();
    if let Some(hash) = annotations::written(&said) {
        annotations.insert(names::WRITTEN.into(), hash.into());
    }
    if let Some(baseline) = intent.baseline {
        annotations.insert(labels::BASELINE.into(), baseline.into());
    }
    let tls = router.tls.iter().map(|tls| IngressTlsView {
        hosts: intent.hosts.iter().map(|host| host.as_str().into()).collect(),
        secret_name: Some(tls.secret_name.as_str().into()),
    });
    let mut rules = rules(intent, &main_backend(intent.split, side));
    for side in scene.kept() {
        keep(&mut rules, intent.split, side, main_backend(intent.split, side));
    }
    IngressView {
        annotations,
        class_name: router.class_name.as_deref().map(Into::into),
        tls: tls.collect(),
        rules: rules.into(),
        ..IngressView::default()
    }
}

/// The canary; `None` if there is no main Ingress to know its rules from.
fn canary_ingress(router: &IngressNginxRouter, scene: &Scene<'_>, weight: i32) -> Option<IngressView> {
    let Scene { intent, observed, attached, refusal, .. } = scene;
    let mut annotations = weights(weight, intent.weight_total);
    annotations.extend(scene.pins.iter().map(|(key, value)| ((*key).into(), value.as_str().into())));
    if router.attach.is_some()
        && let Some(baseline) = intent.baseline
    {
        annotations.insert(labels::BASELINE.into(), baseline.into());
    }
    let backend = canary_backend(intent.split);
    let (class_name, rules) = match (attached, observed.main) {
        (Some(attached), _) => {
            if let Some(class) = &attached.class_annotation {
                annotations.insert(CLASS.into(), class.clone());
            }
            (attached.class_name.clone(), led_to(&attached.rules, &backend))
        }
        (None, Some(main)) if refusal.is_some() => (main.class_name.clone(), repeated(main, intent.split)),
        (None, _) if router.attach.is_some() => return None,
        (None, _) => {
            let mut rules = rules(intent, &backend);
            if scene.kept().any(|side| side == Side::Legacy) {
                keep(&mut rules, intent.split, Side::Legacy, backend);
            }
            (router.class_name.as_deref().map(Into::into), rules.into())
        }
    };
    Some(IngressView { annotations, class_name, rules, ..IngressView::default() })
}

fn weights(weight: i32, total: i32) -> BTreeMap<Box<str>, Box<str>> {
    [(CANARY, "true".to_owned()), (CANARY_WEIGHT, weight.to_string()), (CANARY_WEIGHT_TOTAL, total.to_string())]
        .into_iter()
        .map(|(key, value)| (key.into(), value.into()))
        .collect()
}

/// The request that makes `observed` be `wanted`; `None` if it is.
fn write(split: SplitRef<'_>, name: &str, observed: Option<&IngressView>, wanted: &IngressView) -> Option<RouteStep> {
    let Some(observed) = observed else { return Some(apply(split, name, None, wanted)) };
    if observed.meta.deleting {
        return None;
    }
    let ours_gone = |key| observed.annotations.contains_key(key) && !wanted.annotations.contains_key(key);
    let differs = (wanted.class_name.is_some() && observed.class_name != wanted.class_name)
        || (!wanted.tls.is_empty() && observed.tls != wanted.tls)
        || observed.rules != wanted.rules
        || wanted.annotations.iter().any(|(key, value)| observed.annotations.get(key) != Some(value))
        || ours_gone(labels::BASELINE)
        || ours_gone(names::WRITTEN);
    if differs { Some(apply(split, name, Some(observed), wanted)) } else { strays(observed, wanted) }
}

/// What has to go and is in the way: canary annotations and parts of the spec that we do not want. An apply would leave what
/// another manager owns, so they are taken out by name.
fn strays(observed: &IngressView, wanted: &IngressView) -> Option<RouteStep> {
    let marks: Map<String, Value> = observed
        .annotations
        .keys()
        .filter(|key| key.starts_with(CANARY) && !wanted.annotations.contains_key(*key))
        .map(|key| (key.to_string(), Value::Null))
        .collect();
    let unwanted = [
        ("ingressClassName", observed.class_name.is_some() && wanted.class_name.is_none()),
        ("tls", !observed.tls.is_empty() && wanted.tls.is_empty()),
        ("defaultBackend", observed.default_backend.is_some()),
    ];
    let spec: Map<String, Value> =
        unwanted.into_iter().filter(|(_, is)| *is).map(|(key, _)| (key.to_owned(), Value::Null)).collect();
    if marks.is_empty() && spec.is_empty() {
        return None;
    }
    let metadata = if marks.is_empty() { json!({}) } else { json!({"annotations": marks}) };
    Some(patch(observed, metadata, (!spec.is_empty()).then_some(Value::Object(spec))))
}

fn apply(split: SplitRef<'_>, name: &str, observed: Option<&IngressView>, wanted: &IngressView) -> RouteStep {
    let annotations = wanted.annotations.iter().map(|(key, value)| (key.to_string(), value.to_string()));
    let mut spec = Map::new();
    if let Some(class) = &wanted.class_name {
        spec.insert("ingressClassName".to_owned(), Value::from(&**class));
    }
    if !wanted.tls.is_empty() {
        let tls = wanted.tls.iter().map(|tls| json!({"hosts": tls.hosts, "secretName": tls.secret_name}));
        spec.insert("tls".to_owned(), tls.collect());
    }
    spec.insert("rules".to_owned(), wanted.rules.iter().map(rule).collect());
    let body = Map::from_iter([
        ("metadata".to_owned(), marks::metadata(&split, name, &[], annotations)),
        ("spec".to_owned(), Value::Object(spec)),
    ]);
    marks::apply(ObjectKind::Ingress, name, body, observed.map(|it| &it.meta))
}

fn rule(rule: &IngressRuleView) -> Value {
    let paths: Vec<Value> = rule
        .paths
        .iter()
        .map(|path| {
            let backend = path.backend.as_ref().map(|(service, port)| {
                let port = match port {
                    IngressPort::Name(name) => json!({"name": name}),
                    IngressPort::Number(number) => json!({"number": number}),
                };
                json!({"service": {"name": service, "port": port}})
            });
            json!({"path": path.path, "pathType": path.path_type, "backend": backend})
        })
        .collect();
    let http = json!({"paths": paths});
    if rule.host.is_empty() { json!({"http": http}) } else { json!({"host": rule.host, "http": http}) }
}

fn patch(observed: &IngressView, metadata: Value, spec: Option<Value>) -> RouteStep {
    marks::patch(ObjectKind::Ingress, &observed.meta, metadata, spec)
}

/// An Ingress whose form the spec no longer describes: only its backends are changed, and `outdated` annotations go.
fn repointed(
    main: &IngressView,
    split: SplitRef<'_>,
    side: Side,
    outdated: Option<Map<String, Value>>,
) -> Option<RouteStep> {
    let rules = led_to(&main.rules, &main_backend(split, side));
    let spec = (rules != main.rules).then(|| json!({"rules": rules.iter().map(rule).collect::<Vec<_>>()}));
    let differs = (spec.is_some() || outdated.is_some()) && !main.meta.deleting;
    let metadata = outdated.map_or_else(|| json!({}), |outdated| json!({"annotations": outdated}));
    differs.then(|| patch(main, metadata, spec))
}

/// The same for a canary, and its weight.
fn reweighted(canary: &IngressView, intent: &Intent<'_>, weight: i32) -> Option<RouteStep> {
    let rules = repeated(canary, intent.split);
    let weights = weights(weight, intent.weight_total);
    let differs = rules != canary.rules
        || weights.iter().any(|(key, value)| canary.annotations.get(key) != Some(value)) && !canary.meta.deleting;
    differs.then(|| {
        let spec = json!({"rules": rules.iter().map(rule).collect::<Vec<_>>()});
        patch(canary, json!({"annotations": weights}), (rules != canary.rules).then_some(spec))
    })
}
