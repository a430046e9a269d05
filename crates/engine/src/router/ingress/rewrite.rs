//! Rewritten paths. An Ingress has one annotation for all of its paths, which takes what expressions in the paths have caught; the canary
//! repeats the paths and goes by the main Ingress's annotation, so that both sides see the same.

use cutover_api::{
    conditions::reasons,
    v1alpha1::traffic_split::{PathMatch, PathType},
};

use crate::router::{
    contract::{Intent, Problem},
    marks::stalled,
    view::{IngressPathView, IngressView},
};

pub(super) const TARGET: &str = "nginx.ingress.kubernetes.io/rewrite-target";
pub(super) const USE_REGEX: &str = "nginx.ingress.kubernetes.io/use-regex";

/// The path type of an expression.
const EXPRESSION: &str = "ImplementationSpecific";
/// What follows a prefix: nothing, or a slash and what is below.
const BELOW: &str = "(/|$)(.*)";
/// Everything.
const EVERYTHING: &str = "/(.*)";
/// Letters of paths that mean something in an expression. The dot is escaped.
const MEANINGFUL: [char; 5] = ['$', '(', ')', '*', '+'];

/// A path and its type, as an Ingress has them.
pub(super) fn written(path: &PathMatch) -> (String, &'static str) {
    match (path.type_, &path.rewrite, path.value.trim_end_matches('/')) {
        (PathType::Exact, ..) => (path.value.clone(), "Exact"),
        (PathType::Prefix, None, _) => (path.value.clone(), "Prefix"),
        (PathType::Prefix, Some(_), "") => (EVERYTHING.to_owned(), EXPRESSION),
        (PathType::Prefix, Some(_), prefix) => (prefix.replace('.', r"\.") + BELOW, EXPRESSION),
    }
}

/// The annotation that this path needs.
fn wanted(path: &PathMatch) -> Option<String> {
    let to = path.rewrite.as_deref()?.trim_end_matches('/');
    let is_everything = path.type_ == PathType::Prefix && path.value.trim_end_matches('/').is_empty();
    Some(match to {
        to if is_everything => format!("{to}/$1"),
        "" => "/$2".to_owned(),
        to => format!("{to}$1$2"),
    })
}

/// The annotation, if a path is rewritten.
pub(super) fn target(intent: &Intent<'_>) -> Option<String> {
    intent.paths.iter().find_map(wanted)
}

/// What one annotation cannot say.
pub(super) fn refusal(intent: &Intent<'_>) -> Option<Problem> {
    let target = target(intent)?;
    let refused = |message| Some(stalled(reasons::UNSUPPORTED_BY_ROUTER, message));
    if let Some(at) = intent.paths.iter().position(|path| wanted(path).as_ref() != Some(&target)) {
        return refused(format!(
            "spec.paths[{at}].rewrite: ingressNginx has one rewrite for all paths of a split, and the prefix / takes none beside it: give every path \
             the same rewrite, or make a split of this path"
        ));
    }
    let at = intent.paths.iter().position(|path| path.value.contains(MEANINGFUL))?;
    refused(format!(
        "spec.paths[{at}].value: ingressNginx takes a rewritten path for an expression, in which ( ) * + and $ mean something else: name a path \
         without them, or use gatewayApi"
    ))
}

/// The path that an Ingress of ours stands for.
pub(crate) fn read(ingress: &IngressView, path: &IngressPathView) -> PathMatch {
    let target = ingress.annotations.get(TARGET).map(|it| &**it);
    let below = |target: &str| match target.strip_suffix("$1$2") {
        Some(to) => to.to_owned(),
        None => "/".to_owned(),
    };
    let prefix = path.path.strip_suffix(BELOW).filter(|_| &*path.path_type == EXPRESSION);
    match (target, prefix) {
        (Some(target), Some(prefix)) => {
            PathMatch { rewrite: Some(below(target)), ..PathMatch::new(PathType::Prefix, prefix.replace(r"\.", ".")) }
        }
        (Some(target), None) if &*path.path == EVERYTHING => {
            let to = target.strip_suffix("/$1").filter(|to| !to.is_empty()).unwrap_or("/");
            PathMatch { rewrite: Some(to.to_owned()), ..PathMatch::new(PathType::Prefix, "/") }
        }
        (target, _) if &*path.path_type == "Exact" => {
            PathMatch { rewrite: target.map(below), ..PathMatch::new(PathType::Exact, &*path.path) }
        }
        _ => PathMatch::new(PathType::Prefix, &*path.path),
    }
}
