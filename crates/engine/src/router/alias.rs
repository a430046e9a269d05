//! Alias Services: a split's own names for its backends, where what a proxy keeps for a Service's name must be this split's and no other's. A
//! Service with a selector is followed by the selector, one without by a copy of its endpoints.

use std::collections::BTreeMap;

use cutover_api::{labels, v1alpha1::traffic_split::Side};
use serde_json::{Map, Value, json};

use super::{
    contract::{Backend, EndpointCopy, Intent, ObjectKind, RouteStep, SplitRef},
    marks, names,
    view::{EndpointSliceView, EndpointView, Meta, SERVICE_NAME, ServicePortView, ServiceView},
};

/// The API server takes no more endpoints in one slice.
pub(super) const MAX_ENDPOINTS: usize = 1000;
/// Who fills a slice.
const SLICE_MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";

/// Why a side without a selector and with more endpoints than [`MAX_ENDPOINTS`] has no alias.
pub(super) const TOO_MANY: &str =
    "has no selector and more than 1000 endpoints, which cannot be copied: give it a selector";

/// The aliases that one router uses, and what is observed of them.
#[derive(Clone, Copy)]
pub(super) struct Aliases<'a> {
    /// What a side's is called.
    pub(super) name: fn(&str, Side) -> String,
    /// Whether they have addresses of the cluster's. Others take none.
    pub(super) addressed: bool,
    /// Those that exist.
    pub(super) services: &'a [&'a ServiceView],
    /// Their EndpointSlices.
    pub(super) slices: &'a [&'a EndpointSliceView],
}

impl<'a> Aliases<'a> {
    /// The steps that make the aliases of those sides that exist what they should be. Aliases of sides whose Service is gone stay as
    /// they are: they still select what they selected. They are there before the first route is, and while a split is hidden,
    /// so that they have their endpoints when a route names them.
    pub(super) fn steps(&self, intent: &Intent<'_>, sides: &[Side]) -> Vec<RouteStep> {
        let present = sides.iter().filter_map(|side| Some((*side, intent.sides.get(*side).present()?)));
        let takes = |backend: &Backend| !backend.external_name && backend.endpoints.len() <= MAX_ENDPOINTS;
        present
            .filter(|(_, backend)| takes(backend))
            .flat_map(|(side, backend)| {
                let name = (self.name)(intent.split.name, side);
                // Endpoints first: a Service that has lost its selector keeps what it had until they are there.
                let mut steps = slices(intent.split, &name, backend, self);
                steps.extend(service(intent.split, &name, backend, self));
                steps
            })
            .collect()
    }

    /// A side's alias and the slices that we wrote for it.
    pub(super) fn of(&self, split: &str, side: Side) -> Vec<(ObjectKind, &'a Meta)> {
        let name = (self.name)(split, side);
        let services =
            self.services.iter().filter(|it| *it.meta.name == *name).map(|it| (ObjectKind::Service, &it.meta));
        let slices = self.slices.iter().filter(|it| *it.service == *name && is_written_by_us(it));
        services.chain(slices.map(|it| (ObjectKind::EndpointSlice, &it.meta))).collect()
    }

    /// What removes those that no route names. One that is served names its backends by them, also while it is being deleted.
    pub(super) fn removals(&self, split: &SplitRef<'_>, is_named: impl Fn(&str) -> bool) -> Vec<RouteStep> {
        let unnamed = [Side::Legacy, Side::New].into_iter().filter(|side| !is_named(&(self.name)(split.name, *side)));
        marks::delete_ours(*split, unnamed.flat_map(|side| self.of(split.name, side)))
    }
}

fn service(split: SplitRef<'_>, name: &str, backend: &Backend, observed: &Aliases<'_>) -> Option<RouteStep> {
    let found = observed.services.iter().find(|it| *it.meta.name == *name);
    let wanted = wanted(backend);
    let is_same = found.is_some_and(|it| {
        it.headless != observed.addressed
            && it.selector == wanted.selector
            // Ports are merged by number: one that somebody added is not ours to fight, and no route names it.
            && wanted.ports.iter().all(|port| it.ports.contains(port))
            && it.publish_not_ready_addresses == wanted.publish_not_ready_addresses
    });
    if is_same || found.is_some_and(|it| it.meta.deleting) {
        return None;
    }
    let port = wanted.ports.first()?;
    let mut port_json = json!({
        "name": port.name, "port": port.port, "protocol": "TCP", "targetPort": port.target_port,
    });
    if let (Some(protocol), Some(object)) = (&port.app_protocol, port_json.as_object_mut()) {
        object.insert("appProtocol".to_owned(), Value::from(&**protocol));
    }
    let mut spec = Map::from_iter([
        ("type".to_owned(), "ClusterIP".into()),
        // The default of a headless Service hangs on whether it has a selector, and cannot always be left again.
        ("ipFamilyPolicy".to_owned(), "SingleStack".into()),
        ("ports".to_owned(), json!([port_json])),
        // Written even when it says nothing, so that nobody else's value is left in its place.
        ("publishNotReadyAddresses".to_owned(), wanted.publish_not_ready_addresses.into()),
        ("selector".to_owned(), json!(wanted.selector)),
    ]);
    if !observed.addressed {
        spec.insert("clusterIP".to_owned(), "None".into());
    }
    let metadata = marks::metadata(&split, name, &[(labels::ALIAS, "true")], []);
    let body = Map::from_iter([("metadata".to_owned(), metadata), ("spec".to_owned(), Value::Object(spec))]);
    Some(marks::apply(ObjectKind::Service, name, body, found.map(|it| &it.meta)))
}

fn wanted(backend: &Backend) -> ServiceView {
    let port = ServicePortView {
        name: Some(names::ALIAS_PORT_NAME.into()),
        port: names::ALIAS_PORT,
        target_port: Some(target_port(backend)),
        app_protocol: backend.app_protocol.as_deref().map(Into::into),
    };
    ServiceView {
        publish_not_ready_addresses: backend.publish_not_ready_addresses,
        selector: backend.selector.iter().map(|(key, value)| (key.as_str().into(), value.as_str().into())).collect(),
        ports: Box::new([port]),
        ..ServiceView::default()
    }
}

fn target_port(backend: &Backend) -> k8s_openapi::apimachinery::pkg::util::intstr::IntOrString {
    use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
    backend.target_port.clone().unwrap_or(IntOrString::Int(backend.port))
}

/// Slices by address type and port, as one slice can have.
fn slices(split: SplitRef<'_>, alias: &str, backend: &Backend, observed: &Aliases<'_>) -> Vec<RouteStep> {
    let mut groups: BTreeMap<String, Vec<&EndpointCopy>> = BTreeMap::new();
    if backend.selector.is_empty() {
        for endpoint in &backend.endpoints {
            let name = names::alias_slice_name(alias, &endpoint.address_type, endpoint.port);
            groups.entry(name).or_default().push(endpoint);
        }
    }
    let mut steps: Vec<RouteStep> =
        groups.iter().filter_map(|(name, endpoints)| slice(split, alias, name, endpoints, observed)).collect();
    // Without a selector every slice is ours to write, also those that the cluster made while there was one; it makes no more.
    let gone = observed.slices.iter().filter(|it| {
        *it.service == *alias
            && !groups.contains_key(&*it.meta.name)
            && (backend.selector.is_empty() || is_written_by_us(it))
            && marks::is_ours(&it.meta, &split)
    });
    steps.extend(gone.map(|it| marks::delete(ObjectKind::EndpointSlice, &it.meta)));
    steps
}

/// The cluster names its slices of an alias with five random letters without vowels; ours begin with the address type.
pub(super) fn is_written_by_us(slice: &EndpointSliceView) -> bool {
    slice
        .meta
        .name
        .strip_prefix(&*slice.service)
        .is_some_and(|rest| rest.starts_with("-ipv") || rest.starts_with("-fqdn"))
}

fn slice(
    split: SplitRef<'_>,
    alias: &str,
    name: &str,
    endpoints: &[&EndpointCopy],
    observed: &Aliases<'_>,
) -> Option<RouteStep> {
    let first = endpoints.first()?;
    let mut wanted: Vec<EndpointView> = endpoints
        .iter()
        .map(|endpoint| EndpointView { address: endpoint.address.as_str().into(), ready: endpoint.ready })
        .collect();
    wanted.sort();
    wanted.dedup_by(|a, b| a.address == b.address);
    let found = observed.slices.iter().find(|it| *it.meta.name == *name);
    let is_same = found.is_some_and(|it| {
        let mut present = it.endpoints.to_vec();
        present.sort();
        *it.service == *alias
            && *it.address_type == *first.address_type
            && *it.ports == [(names::ALIAS_PORT_NAME.into(), first.port)]
            && present == wanted
    });
    if is_same || found.is_some_and(|it| it.meta.deleting) {
        return None;
    }
    let endpoints: Vec<Value> = wanted
        .iter()
        .map(|it| {
            json!({
                "addresses": [it.address],
                "conditions": {"ready": it.ready, "serving": it.ready, "terminating": false},
            })
        })
        .collect();
    let marks = [(labels::ALIAS, "true"), (SERVICE_NAME, alias), (SLICE_MANAGED_BY, "cutover.dev")];
    let body = Map::from_iter([
        ("metadata".to_owned(), marks::metadata(&split, name, &marks, [])),
        ("addressType".to_owned(), first.address_type.as_str().into()),
        ("ports".to_owned(), json!([{"name": names::ALIAS_PORT_NAME, "port": first.port, "protocol": "TCP"}])),
        ("endpoints".to_owned(), Value::Array(endpoints)),
    ]);
    Some(marks::apply(ObjectKind::EndpointSlice, name, body, found.map(|it| &it.meta)))
}
