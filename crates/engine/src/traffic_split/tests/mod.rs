//! Tests of the split's decisions.

mod added;
mod backend;
mod conflict;
mod decide;
mod holder;
mod left_behind;
mod motion;
mod weight;

use cutover_api::v1alpha1::{
    TrafficSplitSpec,
    migration_phase::SplitRequest,
    traffic_split::{Holder, TrafficSplitStatus},
};
use serde_json::json;

use super::holder::Claim;

/// A split on both routers, from 0 of 100.
pub(super) fn spec() -> TrafficSplitSpec {
    serde_json::from_value(json!({
        "hosts": ["shop.example.com"],
        "legacy": {"service": {"name": "monolith", "port": 80}},
        "new": {"service": {"name": "storefront", "port": 80}},
        "routers": [{"ingressNginx": {"className": "nginx"}}, {"gatewayApi": {"parentRefs": [{"name": "edge"}]}}],
    }))
    .unwrap()
}

pub(super) fn request(new_weight: Option<i32>) -> SplitRequest {
    SplitRequest { split: "storefront".into(), new_weight, exposure: None, force: false }
}

/// What a phase that holds says, confirmed.
pub(super) fn claim(phase: &str, revision: i64, new_weight: Option<i32>) -> Claim {
    Claim {
        phase: phase.into(),
        uid: format!("uid-{phase}"),
        attempt: 1,
        revision,
        request: Some(request(new_weight)),
        baseline: None,
        confirmed: true,
    }
}

pub(super) fn held_by(phase: &str, revision: i64, new_weight: Option<i32>) -> TrafficSplitStatus {
    TrafficSplitStatus {
        holder: Some(Holder {
            phase: phase.into(),
            uid: format!("uid-{phase}"),
            attempt: 1,
            epoch: 3,
            request_revision: revision,
            new_weight,
        }),
        epoch: Some(3),
        ..TrafficSplitStatus::default()
    }
}
