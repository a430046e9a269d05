//! What has to be there before a route leads to a side that speaks TLS. Pure.
//!
//! A gateway speaks TLS to a Service because a BackendTLSPolicy says so. Without one, or by a gateway that knows no such policies, the
//! port would be spoken to in plain HTTP, or its certificate judged by nobody: then nothing is written.

use cutover_api::{conditions::reasons, v1alpha1::traffic_split::RouteKind};

use super::alias;
use crate::router::{
    contract::{Backend, GatewayObserved, Intent, Problem},
    marks,
    view::GatewayClassView,
};

/// As `GatewayClass.status.supportedFeatures` calls it.
pub(super) const FEATURE: &str = "BackendTLSPolicy";

/// Whether what a route says now, or would say, leads to such a side by somebody who would not speak TLS to it, or judge its certificate.
pub(in crate::router) fn is_unspoken(intent: &Intent<'_>, observed: &GatewayObserved<'_>) -> bool {
    let lists = |class: &&GatewayClassView| {
        class.supported_features.as_ref().is_some_and(|all| all.iter().any(|it| **it == *FEATURE))
    };
    intent.sides.speaking_tls().is_some()
        && (observed.kind == RouteKind::Grpc
            || unsaid(intent).is_some()
            || !observed.classes.iter().all(lists)
            || alias::are_named(intent.split.name, observed))
}

/// A side that speaks TLS and of which no policy says how.
fn unsaid<'a>(intent: &Intent<'a>) -> Option<(&'static str, &'a Backend)> {
    intent.sides.present().find(|(_, backend)| backend.tls.is_some_and(|tls| !tls.policy))
}

/// Why a side that speaks TLS cannot be led to.
pub(super) fn refusal(intent: &Intent<'_>, observed: &GatewayObserved<'_>) -> Option<Problem> {
    let (field, backend) = intent.sides.speaking_tls()?;
    let service = &backend.service;
    let unable = |message| Some(marks::stalled(reasons::UNSUPPORTED_BY_ROUTER, message));
    if intent.stickiness.is_some() {
        return unable(format!(
            "spec.stickiness: gatewayApi deals clients by Services of the split's own, and the BackendTLSPolicy of Service {service}, which \
             speaks TLS, is for none of them: remove stickiness"
        ));
    }
    if let Some(class) = observed.classes.iter().find(|class| class.supported_features.is_none()) {
        return unable(format!(
            "{field}: Service {service} speaks TLS, and GatewayClass {} does not say whether it supports {FEATURE}: use a Gateway of a class that \
             lists it",
            class.meta.name
        ));
    }
    let (field, backend) = unsaid(intent)?;
    let message = format!(
        "{field}: Service {service} speaks TLS, and the BackendTLSPolicy {service} of its Environment is not there: see what the Environment \
         says of the component; a cluster without this kind needs the CRDs of the Gateway API from 1.4 on",
        service = backend.service
    );
    Some(marks::waiting(reasons::WAITING, message))
}
