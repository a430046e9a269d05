//! Splits that make their own routes.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use cutover_api::v1alpha1::TrafficSplitStatus;
use cutover_testkit::eventually;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use super::bed::{BOTH, OPERATOR, Shop, condition};
use crate::routers::Router;

#[tokio::test(flavor = "multi_thread")]
async fn undisturbed_a_weight_is_served_from_the_instant_status_says_so_and_nothing_is_lost() -> Result<()> {
    let shop = Shop::open().await?;
    shop.managed_on(&Router::ALL, "storefront", 0).await?;
    shop.carries("storefront", 0).await?;
    shop.served_on(&Router::ALL).await?;
    let load = shop.load_on(&Router::ALL)?;
    for weight in [25, 50, 100, 40, 0] {
        shop.set_weight("storefront", weight).await?;
        shop.carries("storefront", weight).await?;
        shop.shares(&load, Instant::now(), f64::from(weight)).await?;
    }
    load.stop().await?.check(15_000)
}

#[tokio::test(flavor = "multi_thread")]
async fn undisturbed_what_others_change_is_put_right_at_once() -> Result<()> {
    let shop = Shop::open().await?;
    shop.managed("storefront", 20).await?;
    shop.carries("storefront", 20).await?;
    let within = Duration::from_secs(2);

    let by_hand = json!({"metadata": {"annotations": {"nginx.ingress.kubernetes.io/canary-weight": "90"}}});
    shop.ingresses().patch("storefront-cutover-canary", &PatchParams::default(), &Patch::Merge(by_hand)).await?;
    eventually("the canary's weight is back", within, || async {
        let weight = shop.canary_weight("storefront").await?;
        ensure!(weight.as_deref() == Some("20"), "{weight:?}");
        Ok(())
    })
    .await?;

    let backends = json!([{"name": "old", "port": 80, "weight": 1}, {"name": "new", "port": 80, "weight": 1}]);
    let by_hand = json!({"spec": {"rules": [{"backendRefs": backends}]}});
    shop.http_routes().patch("storefront", &PatchParams::default(), &Patch::Merge(by_hand)).await?;
    eventually("the route's weights are back", within, || async {
        let weights: Vec<i64> = shop.route_weights("storefront").await?.into_iter().map(|(_, weight)| weight).collect();
        ensure!(weights == [80, 20], "{weights:?}");
        Ok(())
    })
    .await?;

    shop.ingresses().delete("storefront-cutover-canary", &DeleteParams::default()).await?;
    eventually("the canary is back at its weight", within, || async {
        let weight = shop.canary_weight("storefront").await?;
        ensure!(weight.as_deref() == Some("20"), "{weight:?}");
        Ok(())
    })
    .await?;
    shop.carries("storefront", 20).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_weight_costs_one_request_per_route_and_two() -> Result<()> {
    let shop = Shop::open().await?;
    shop.managed("storefront", 10).await?;
    shop.carries("storefront", 10).await?;
    let audit = shop.bed.plane.audit();
    let own = |entry: &cutover_testkit::control_plane::AuditEntry| {
        entry.user == OPERATOR && entry.namespace == shop.namespace && entry.is_complete()
    };
    let mark = audit.mark()?;
    for weight in [20, 30, 40, 50, 60] {
        shop.set_weight("storefront", weight).await?;
        shop.carries("storefront", weight).await?;
    }
    let asked: Vec<String> = audit
        .since(mark)?
        .iter()
        .filter(|entry| own(entry))
        .map(|entry| format!("{} {}/{}", entry.verb, entry.resource, entry.subresource))
        // The Event of the weight before may still have been on its way.
        .skip_while(|asked| asked.contains("events"))
        .collect();
    ensure!(asked.len() <= 5 * 4, "{} requests for 5 changes on two routes: {asked:#?}", asked.len());
    let routes = asked.iter().filter(|asked| asked.contains("ingresses") || asked.contains("httproutes")).count();
    ensure!(routes == 10, "{routes} writes of routes: {asked:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_a_changed_value_moves_a_weight() -> Result<()> {
    let shop = Shop::open().await?;
    shop.managed("storefront", 10).await?;
    shop.carries("storefront", 10).await?;

    shop.edit(
        "storefront",
        json!({"spec": {"pins": [{"to": "New", "header": {"name": "x-cutover", "value": "new"}}]}}),
    )
    .await?;
    shop.carries("storefront", 10).await?;

    // A backup restored without status: the routes are the truth.
    shop.edit("storefront", json!({"spec": {"newWeight": 35}})).await?;
    shop.carries("storefront", 35).await?;
    shop.wipe_status("storefront").await?;
    let status = shop.carries("storefront", 35).await?;
    ensure!(status.desired_weight == Some(35), "{status:#?}");
    ensure!(shop.canary_weight("storefront").await?.as_deref() == Some("35"), "the canary moved");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn undisturbed_a_released_route_stays_and_is_adopted_at_its_weight() -> Result<()> {
    let shop = Shop::open().await?;
    shop.managed("storefront", 30).await?;
    shop.carries("storefront", 30).await?;
    shop.served_on(&BOTH).await?;
    let load = shop.load_on(&BOTH)?;

    shop.splits().delete("storefront", &DeleteParams::default()).await?;
    eventually("the split is gone", Duration::from_secs(10), || async {
        ensure!(shop.splits().get_opt("storefront").await?.is_none(), "it is there");
        Ok(())
    })
    .await?;
    ensure!(shop.canary_weight("storefront").await?.as_deref() == Some("30"), "the canary changed");
    shop.shares(&load, Instant::now(), 30.0).await?;

    shop.managed("storefront", 0).await?;
    let status = shop.carries("storefront", 30).await?;
    ensure!(condition(&status, "SpecDiverged").is_some_and(|(is, ..)| is == "True"), "{status:#?}");
    shop.set_weight("storefront", 60).await?;
    shop.carries("storefront", 60).await?;
    shop.shares(&load, Instant::now(), 60.0).await?;
    load.stop().await?.check(4_000)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_route_of_that_name_is_left_alone_until_it_is_gone() -> Result<()> {
    let shop = Shop::open().await?;
    let host = &shop.host;
    shop.apply(&format!(
        "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: storefront}}
spec:
  ingressClassName: nginx
  rules:
  - host: {host}
    http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: old, port: {{number: 80}}}}}}}}]}}
"
    ))
    .await?;
    let before = shop.ingresses().get("storefront").await?;
    shop.managed("storefront", 20).await?;
    let status = shop
        .until("storefront", "says that the route exists", |status| {
            condition(status, "Stalled").is_some_and(|(_, reason, _)| reason == "RouteExists")
        })
        .await?;
    ensure!(status.applied_weight.is_none(), "{status:#?}");
    // Routers are independent: the other one is carried out.
    eventually("the other router carries the weight", Duration::from_secs(5), || async {
        let weights: Vec<i64> = shop.route_weights("storefront").await?.into_iter().map(|(_, weight)| weight).collect();
        ensure!(weights == [80, 20], "{weights:?}");
        Ok(())
    })
    .await?;
    let after = shop.ingresses().get("storefront").await?;
    ensure!(before.metadata.generation == after.metadata.generation && before.metadata.labels == after.metadata.labels);
    shop.ingresses().delete("storefront", &DeleteParams::default()).await?;
    shop.carries("storefront", 20).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn undisturbed_a_weight_waits_for_capacity_and_goes_on_when_it_is_there() -> Result<()> {
    let shop = Shop::open().await?;
    shop.managed("storefront", 0).await?;
    shop.carries("storefront", 0).await?;
    shop.ready("new", false).await?;
    shop.until("storefront", "sees the endpoint gone", |status| {
        status.endpoints.as_ref().and_then(|endpoints| endpoints.new).is_some_and(|new| new.ready == 0)
    })
    .await?;
    shop.set_weight("storefront", 50).await?;
    let status = shop
        .until("storefront", "waits for capacity", |status| {
            condition(status, "Reconciling").is_some_and(|(_, reason, _)| reason == "InsufficientCapacity")
        })
        .await?;
    let (_, _, message) = condition(&status, "Reconciling").unwrap_or_default();
    ensure!(message.contains("the new side has 0 ready endpoints and needs 1 for 50 of 100"), "{message}");
    ensure!((status.desired_weight, status.applied_weight) == (Some(50), Some(0)), "{status:#?}");
    shop.ready("new", true).await?;
    shop.carries("storefront", 50).await?;
    // Its endpoints going away again moves nothing.
    shop.ready("new", false).await?;
    shop.until("storefront", "stays", |status| {
        status.endpoints.as_ref().and_then(|endpoints| endpoints.new).is_some_and(|new| new.ready == 0)
            && status.applied_weight == Some(50)
    })
    .await?;
    ensure!(shop.canary_weight("storefront").await?.as_deref() == Some("50"), "the canary moved");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn any_share_waits_for_as_many_endpoints_as_the_split_demands() -> Result<()> {
    let shop = Shop::open().await?;
    shop.managed("storefront", 0).await?;
    shop.carries("storefront", 0).await?;
    shop.edit("storefront", json!({"spec": {"safety": {"new": {"minReadyEndpoints": 2}}, "newWeight": 1}})).await?;
    let status = shop
        .until("storefront", "waits for a second endpoint", |status| {
            condition(status, "Reconciling").is_some_and(|(_, reason, message)| {
                reason == "InsufficientCapacity" && message.contains("the new side has 1 ready endpoints and needs 2")
            })
        })
        .await?;
    ensure!((status.desired_weight, status.applied_weight) == (Some(1), Some(0)), "{status:#?}");
    ensure!(shop.canary_weight("storefront").await?.is_none_or(|weight| weight == "0"), "the canary has weight");
    let slice = |ready: bool| {
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": "second", "labels": {"kubernetes.io/service-name": "new"}},
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            "endpoints": [{"addresses": ["198.19.211.2"], "conditions": {"ready": ready}}],
        })
        .to_string()
    };
    shop.apply(&slice(false)).await?;
    let counted = |ready: i32| {
        move |status: &TrafficSplitStatus| {
            status.endpoints.as_ref().and_then(|it| it.new).is_some_and(|new| new.ready == ready)
        }
    };
    shop.until("storefront", "counts what is ready", counted(1)).await?;
    shop.apply(&slice(true)).await?;
    shop.until("storefront", "sees both", counted(2)).await?;
    shop.carries("storefront", 1).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_or_claimed_is_said_with_its_field_and_remedy() -> Result<()> {
    let shop = Shop::open().await?;
    shop.managed("storefront", 10).await?;
    shop.carries("storefront", 10).await?;
    shop.managed("usurper", 50).await?;
    let stalled = |name: &'static str, reason: &'static str| {
        let shop = &shop;
        async move {
            let status = shop
                .until(name, "is stalled", |status| condition(status, "Stalled").is_some_and(|(_, is, _)| is == reason))
                .await?;
            anyhow::Ok(condition(&status, "Stalled").map(|(.., message)| message.to_owned()).unwrap_or_default())
        }
    };
    let message = stalled("usurper", "Conflicted").await?;
    ensure!(message.starts_with("spec.hosts[0] ") && message.contains("TrafficSplit storefront"), "{message}");
    ensure!(shop.ingresses().get_opt("usurper").await?.is_none(), "a route was made");

    shop.edit("storefront", json!({"spec": {"new": {"service": {"name": "nowhere", "port": 80}}}})).await?;
    let message = stalled("storefront", "ReferenceNotFound").await?;
    ensure!(
        message == "spec.new.service: there is no Service nowhere in this namespace: create it, or name another",
        "{message}"
    );
    ensure!(shop.canary_weight("storefront").await?.as_deref() == Some("10"), "the canary moved");

    // The older one goes, and the younger takes its place by itself.
    shop.edit("storefront", json!({"spec": {"onDelete": "Delete"}})).await?;
    shop.splits().delete("storefront", &DeleteParams::default()).await?;
    shop.carries("usurper", 50).await?;
    ensure!(shop.ingresses().get_opt("storefront").await?.is_none(), "its route is still there");
    ensure!(shop.http_routes().get_opt("storefront").await?.is_none(), "its route is still there");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_keeps_writing_the_same_route_is_named_and_no_war_is_waged() -> Result<()> {
    let shop = Shop::open().await?;
    shop.managed("storefront", 20).await?;
    shop.carries("storefront", 20).await?;
    let canary = "storefront-cutover-canary";
    let mark = shop.bed.plane.audit().mark()?;
    eventually("the operator says that it is not alone", Duration::from_secs(15), || async {
        let by_hand = json!({"metadata": {"annotations": {"nginx.ingress.kubernetes.io/canary-weight": "90"}}});
        shop.ingresses().patch(canary, &PatchParams::default(), &Patch::Merge(by_hand)).await?;
        let status = shop.status("storefront").await?;
        let said = ["Stalled", "Reconciling"].iter().filter_map(|type_| condition(&status, type_));
        ensure!(said.into_iter().any(|(_, reason, _)| reason == "Contended"), "{status:#?}");
        Ok(())
    })
    .await?;
    let entries = shop.bed.plane.audit().since(mark)?;
    let writes = entries.iter().filter(|entry| entry.user == OPERATOR && entry.name == canary && entry.is_complete());
    let writes = writes.count();
    ensure!(writes <= 6, "{writes} writes of the canary");

    // A weight that is asked for is written all the same.
    shop.set_weight("storefront", 40).await?;
    eventually("the new weight is written", Duration::from_secs(5), || async {
        let weight = shop.canary_weight("storefront").await?;
        ensure!(weight.as_deref() == Some("40"), "{weight:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_leaves_the_spec_takes_its_route_with_it() -> Result<()> {
    let shop = Shop::open().await?;
    shop.managed("storefront", 20).await?;
    shop.carries("storefront", 20).await?;
    shop.edit("storefront", json!({"spec": {"routers": [{"ingressNginx": {"className": "nginx"}}]}})).await?;
    eventually("the HTTPRoute is gone", Duration::from_secs(5), || async {
        ensure!(shop.http_routes().get_opt("storefront").await?.is_none(), "it is there");
        Ok(())
    })
    .await?;
    let status = shop.carries("storefront", 20).await?;
    ensure!(status.routers.len() == 1, "{status:#?}");
    ensure!(shop.canary_weight("storefront").await?.as_deref() == Some("20"), "the canary moved");
    Ok(())
}
