//! The user's own main Ingress: whether the split's hosts and paths are there, which side they name, and whether a canary
//! beside them would drag anything else along.

use cutover_api::{
    conditions::reasons,
    v1alpha1::traffic_split::{PathMatch, PathType, Side},
};

use super::{annotations, moves::Main};
use crate::router::{
    contract::{IngressObserved, Intent, Problem, SideBackend},
    marks::stalled,
    names,
    view::{IngressPathView, IngressPort, IngressRuleView, IngressView},
};

/// Paths that are listed for people.
const MOST_PATHS: usize = 4;

/// What of the user's Ingress is the split's.
pub(super) struct Attached {
    /// The rules that the canary repeats, with the path types of the user's Ingress.
    pub rules: Box<[IngressRuleView]>,
    /// Which side they name.
    pub main: Main,
    /// The Ingress's class, which the canary must share.
    pub class_name: Option<Box<str>>,
    /// The class as an annotation.
    pub class_annotation: Option<Box<str>>,
}

/// Looks at the Ingress that the spec names. Both may be answered: what can be split, and what stands against splitting it.
pub(super) fn find(
    name: &str,
    intent: &Intent<'_>,
    observed: &IngressObserved<'_>,
) -> (Option<Attached>, Option<Problem>) {
    let field = format!("spec.routers[{}].ingressNginx.attach.ingress", intent.router_index);
    let Some(ingress) = observed.attached else {
        let why = format!("{field}: there is no Ingress {name} in this namespace: create it, or name another");
        return (None, Some(stalled(reasons::REFERENCE_NOT_FOUND, why)));
    };
    if is_canary(ingress) {
        let why = format!("{field}: Ingress {name} is a canary itself: name the main Ingress beside it");
        return (None, Some(stalled(reasons::CONFLICTED, why)));
    }
    let rules = match matching(&field, intent, ingress) {
        Ok(rules) => rules,
        Err(problem) => return (None, Some(problem)),
    };
    let (main, mut problem) = match named_side(&field, intent, ingress, &rules) {
        Ok(main) => (main, None),
        Err(problem) => (Main::Other, Some(problem)),
    };
    if main == Main::Legacy {
        problem = problem.or_else(|| shared(&field, intent, ingress, observed, &rules));
    }
    problem = problem.or_else(|| rival(&field, intent, observed, &rules));
    let attached = Attached {
        rules: rules.into(),
        main,
        class_name: ingress.class_name.clone(),
        class_annotation: ingress.annotations.get(annotations::CLASS).cloned(),
    };
    (Some(attached), problem)
}

fn is_canary(ingress: &IngressView) -> bool {
    ingress.annotations.get(annotations::CANARY).is_some_and(|value| &**value == "true")
}

/// The Ingress's own rules for every host and path of the split.
fn matching(field: &str, intent: &Intent<'_>, ingress: &IngressView) -> Result<Vec<IngressRuleView>, Problem> {
    let mut rules = Vec::with_capacity(intent.hosts.len());
    for host in intent.hosts {
        let of_host: Vec<&IngressPathView> =
            ingress.rules.iter().filter(|rule| *rule.host == **host).flat_map(|rule| &rule.paths).collect();
        let mut paths = Vec::with_capacity(intent.paths.len());
        for wanted in intent.paths {
            let Some(found) = of_host.iter().find(|path| fits(wanted, path)) else {
                let type_ = type_name(wanted.type_);
                return Err(stalled(
                    reasons::INVALID_SPEC,
                    format!(
                        "{field}: Ingress {} has no rule for host {host} with path {} ({type_}): add it there, or correct spec.hosts and \
                         spec.paths",
                        ingress.meta.name, wanted.value
                    ),
                ));
            };
            paths.push((*found).clone());
        }
        rules.push(IngressRuleView { host: host.as_str().into(), paths: paths.into() });
    }
    Ok(rules)
}

const fn type_name(type_: PathType) -> &'static str {
    match type_ {
        PathType::Prefix => "Prefix",
        PathType::Exact => "Exact",
    }
}

/// The proxies take a path without a type of its own as a prefix.
fn fits(wanted: &PathMatch, path: &IngressPathView) -> bool {
    let is_type = *path.path_type == *type_name(wanted.type_)
        || (wanted.type_ == PathType::Prefix && &*path.path_type == "ImplementationSpecific");
    is_type && *path.path == *wanted.value
}

fn is_side(side: &SideBackend, service: &str, port: &IngressPort) -> bool {
    let (name, number, port_name) = match side {
        SideBackend::Present(backend) => (&backend.service, backend.port, backend.port_name.as_deref()),
        SideBackend::Missing { service: Some((name, number)) } => (name, *number, None),
        SideBackend::Missing { service: None } | SideBackend::Absent => return false,
    };
    *name == *service
        && match port {
            IngressPort::Number(it) => *it == number,
            IngressPort::Name(it) => Some(&**it) == port_name,
        }
}

fn named_side(
    field: &str,
    intent: &Intent<'_>,
    ingress: &IngressView,
    rules: &[IngressRuleView],
) -> Result<Main, Problem> {
    let mut sides = Vec::new();
    for (rule, path) in rules.iter().flat_map(|rule| rule.paths.iter().map(move |path| (rule, path))) {
        let named = path.backend.as_ref().and_then(|(service, port)| {
            let side = |side| is_side(intent.sides.get(side), service, port).then_some(side);
            side(Side::Legacy).or_else(|| side(Side::New))
        });
        let Some(side) = named else {
            let backend = path.backend.as_ref().map_or("no Service".to_owned(), backend_words);
            return Err(stalled(
                reasons::CONFLICTED,
                format!(
                    "{field}: Ingress {} serves {}{} by {backend}, which is neither the legacy nor the new backend of this split: correct \
                     spec.legacy, or name another Ingress",
                    ingress.meta.name, rule.host, path.path
                ),
            ));
        };
        sides.push(side);
    }
    let all = |side| sides.iter().all(|it| *it == side);
    match (all(Side::Legacy), all(Side::New)) {
        (true, _) => Ok(Main::Legacy),
        (false, true) => Ok(Main::New),
        (false, false) => Err(stalled(
            reasons::CONFLICTED,
            format!(
                "{field}: Ingress {} serves some of the split's paths by the legacy backend and some by the new one: let all name the legacy \
                 backend, or make a split for each",
                ingress.meta.name
            ),
        )),
    }
}

/// What has to be edited in the Ingress of this name before it leads to the new side alone; nothing when it does.
pub(super) fn edit(name: &str, intent: &Intent<'_>, attached: Option<&Attached>) -> Option<String> {
    let new = match &intent.sides.new {
        SideBackend::Present(backend) => format!("Service {} with port {}", backend.service, backend.port),
        SideBackend::Missing { service: Some((service, port)) } => format!("Service {service} with port {port}"),
        SideBackend::Missing { service: None } | SideBackend::Absent => "the new side's Service".to_owned(),
    };
    let Some(attached) = attached else {
        return Some(format!(
            "Ingress {name} is not there, or not for the split's hosts and paths: it has to name {new} for them"
        ));
    };
    let is_new = |path: &IngressPathView| {
        path.backend.as_ref().is_some_and(|(service, port)| is_side(&intent.sides.new, service, port))
    };
    let all = attached.rules.iter().flat_map(|rule| rule.paths.iter().map(move |path| (rule, path)));
    let left: Vec<String> = all
        .filter(|(_, path)| !is_new(path))
        .map(|(rule, path)| {
            let backend = path.backend.as_ref().map_or("no Service".to_owned(), backend_words);
            format!("{}{} (now {backend})", rule.host, path.path)
        })
        .collect();
    let more = left.len().saturating_sub(MOST_PATHS);
    let named = left.get(..left.len().min(MOST_PATHS)).unwrap_or_default().join(", ");
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!left.is_empty()).then(|| format!("edit Ingress {name} so that {new} is the backend of {named}{more}"))
}

fn backend_words((service, port): &(Box<str>, IngressPort)) -> String {
    match port {
        IngressPort::Name(name) => format!("Service {service}:{name}"),
        IngressPort::Number(number) => format!("Service {service}:{number}"),
    }
}

/// A canary is attached to the main backend's Service and port: whatever else names them would be split too.
fn shared(
    field: &str,
    intent: &Intent<'_>,
    ingress: &IngressView,
    observed: &IngressObserved<'_>,
    rules: &[IngressRuleView],
) -> Option<Problem> {
    let backends: Vec<&(Box<str>, IngressPort)> =
        rules.iter().flat_map(|rule| &rule.paths).filter_map(|path| path.backend.as_ref()).collect();
    let is_split = |it: &IngressView, host: &str, path: &IngressPathView| {
        it.meta.name == ingress.meta.name
            && rules.iter().any(|rule| *rule.host == *host && rule.paths.iter().any(|split| split == path))
    };
    let others = observed.others.iter().copied().filter(|it| it.meta.name != ingress.meta.name);
    for it in std::iter::once(ingress).chain(others).filter(|it| !is_canary(it)) {
        let by_rule = it.rules.iter().find_map(|rule| {
            let path = rule.paths.iter().find(|path| {
                path.backend.as_ref().is_some_and(|backend| backends.contains(&backend))
                    && !is_split(it, &rule.host, path)
            })?;
            Some((format!("{}{}", rule.host, path.path), path.backend.as_ref()?))
        });
        let by_default = it.default_backend.as_ref().filter(|backend| backends.contains(backend));
        let user = by_rule.or_else(|| Some(("everything else".to_owned(), by_default?)));
        if let Some((what, backend)) = user {
            return Some(stalled(
                reasons::CONFLICTED,
                format!(
                    "{field}: Ingress {} serves {what} by {} as well, and a canary would split that too: give the paths of this split a \
                     Service (or a port name) of their own, add them to spec.hosts and spec.paths, or let Cutover make the Ingresses \
                     (ingressNginx.className)",
                    it.meta.name,
                    backend_words(backend)
                ),
            ));
        }
    }
    None.or_else(|| absent_legacy(field, intent))
}

fn absent_legacy(field: &str, intent: &Intent<'_>) -> Option<Problem> {
    (intent.sides.legacy == SideBackend::Absent).then(|| {
        stalled(
            reasons::INVALID_SPEC,
            format!("{field}: a canary needs a legacy side to stand beside: set spec.legacy"),
        )
    })
}

/// There is one canary per rule: of two, the proxies take whichever comes first.
fn rival(
    field: &str,
    intent: &Intent<'_>,
    observed: &IngressObserved<'_>,
    rules: &[IngressRuleView],
) -> Option<Problem> {
    let own = names::canary_name(intent.split.name);
    let is_rival = |it: &IngressView| {
        *it.meta.name != *own
            && is_canary(it)
            && it.rules.iter().any(|rule| {
                let same = rules.iter().find(|split| split.host == rule.host);
                let paths = same.map(|split| &split.paths).into_iter().flatten();
                paths.into_iter().any(|path| rule.paths.iter().any(|it| it.path == path.path))
            })
    };
    let rival = observed.others.iter().find(|it| is_rival(it))?;
    Some(stalled(
        reasons::CONFLICTED,
        format!(
            "{field}: Ingress {} is a canary for the same host and path, and there can be only one: delete it, or take the path out of this split",
            rival.meta.name
        ),
    ))
}
