//! Paths of a split as what a GRPCRoute matches: services and methods. Pure.
//!
//! gRPC asks for `/package.Service/Method`, so that a prefix is a service and an exact path one method of it. Nothing else can be called.

use cutover_api::{
    conditions::reasons,
    v1alpha1::traffic_split::{PathMatch, PathType},
};
use serde_json::{Map, Value, json};

use crate::router::{
    contract::{Intent, Problem},
    marks::stalled,
};

/// What a path names.
enum Named<'a> {
    Everything,
    Service(&'a str),
    Method { service: &'a str, method: &'a str },
}

fn named(path: &PathMatch) -> Option<Named<'_>> {
    let rest = path.value.strip_prefix('/')?;
    match path.type_ {
        PathType::Prefix if rest.is_empty() => Some(Named::Everything),
        PathType::Prefix => {
            Some(rest.strip_suffix('/').unwrap_or(rest)).filter(|it| is_service(it)).map(Named::Service)
        }
        PathType::Exact => {
            let (service, method) = rest.split_once('/')?;
            (is_service(service) && is_word(method)).then_some(Named::Method { service, method })
        }
    }
}

fn is_service(name: &str) -> bool {
    name.split('.').all(is_word)
}

/// As the API has it.
fn is_word(name: &str) -> bool {
    let is_letter = |it: char| it == '_' || it.is_ascii_alphabetic();
    name.starts_with(is_letter) && name.chars().all(|it| is_letter(it) || it.is_ascii_digit())
}

/// A match of the path, with every default written out; `None` for a path that names nothing.
pub(super) fn match_of(path: &PathMatch) -> Option<Map<String, Value>> {
    let method = match named(path)? {
        Named::Everything => return Some(Map::new()),
        Named::Service(service) => json!({"type": "Exact", "service": service}),
        Named::Method { service, method } => json!({"type": "Exact", "service": service, "method": method}),
    };
    Some(Map::from_iter([("method".to_owned(), method)]))
}

/// The path that a match of ours was made from.
pub(crate) fn path_of(found: &Value) -> PathMatch {
    let text = |key: &str| found.get("method")?.get(key)?.as_str();
    match (text("service"), text("method")) {
        (Some(service), Some(method)) => PathMatch::new(PathType::Exact, format!("/{service}/{method}")),
        (Some(service), None) => PathMatch::new(PathType::Prefix, format!("/{service}")),
        (None, _) => PathMatch::new(PathType::Prefix, "/"),
    }
}

/// What of the spec cannot be said of gRPC: a path that names nothing, a side that does not speak it.
pub(super) fn refusal(intent: &Intent<'_>) -> Option<Problem> {
    let refused = |message| Some(stalled(reasons::UNSUPPORTED_BY_ROUTER, message));
    if let Some((at, path)) = intent.paths.iter().enumerate().find(|(_, path)| named(path).is_none()) {
        return refused(format!(
            "spec.paths[{at}]: a GRPCRoute takes services (type Prefix, /package.Service), methods of them (type Exact, /package.Service/Method) and \
             everything (type Prefix, /), and {} of type {:?} is none of these: write it so, or use routeKind HTTPRoute",
            path.value, path.type_
        ));
    }
    intent.sides.present().find_map(|(field, backend)| {
        let protocol = backend.app_protocol.as_deref().filter(|it| speaks_no_grpc(it))?;
        refused(format!(
            "{field}: port {} of Service {} says appProtocol {protocol}, by which no gRPC is spoken: say kubernetes.io/h2c there, or use routeKind \
             HTTPRoute",
            backend.port, backend.service
        ))
    })
}

/// The protocols of that field that are others for sure.
fn speaks_no_grpc(app_protocol: &str) -> bool {
    ["http", "kubernetes.io/ws", "kubernetes.io/wss"].iter().any(|it| app_protocol.eq_ignore_ascii_case(it))
}
