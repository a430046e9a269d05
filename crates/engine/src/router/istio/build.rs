//! The VirtualService that we make.

use cutover_api::v1alpha1::traffic_split::{IstioRouter, PathMatch};
use serde_json::{Value, json};

use super::{entry, http};
use crate::router::{
    contract::{Intent, ObjectKind, RouteStep},
    names, own, parts,
    shares::Share,
    view::WholeView,
};

/// Fields that we do not write, or not always, and that nobody else should.
const MEANINGFUL: [&str; 24] = [
    "authority",
    "corsPolicy",
    "delegate",
    "directResponse",
    "exportTo",
    "fault",
    "gateways",
    "headers",
    "ignoreUriCase",
    "method",
    "mirror",
    "mirrorPercentage",
    "mirrors",
    "port",
    "queryParams",
    "redirect",
    "retries",
    "rewrite",
    "sourceLabels",
    "subset",
    "tcp",
    "timeout",
    "tls",
    "withoutHeaders",
];

/// The VirtualService, unless it is as wanted.
pub(super) fn virtual_service(
    router: &IstioRouter,
    intent: &Intent<'_>,
    shares: &[Share<'_>],
    observed: Option<&WholeView>,
) -> Option<RouteStep> {
    let spec = json!({"gateways": router.gateways, "hosts": intent.hosts, "http": http::entries(intent, shares)});
    let name = names::route_name(intent.split.name);
    own::write(intent, ObjectKind::VirtualService, &name, spec, intent.baseline, observed, &MEANINGFUL)
}

/// The hosts and paths of a VirtualService that we made.
pub(crate) fn hosts_and_paths(service: &WholeView) -> Option<(Vec<String>, Vec<PathMatch>)> {
    let spec = service.spec.value();
    let hosts = spec.get("hosts")?.as_array()?.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    entry::named(&spec, parts::WEIGHTED)?;
    Some((hosts, http::paths(entry::http(&spec))))
}
