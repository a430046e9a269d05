//! Routes that belong to somebody else are edited by their owners a thousand times while weights move.

#![expect(clippy::expect_used, reason = "an object that is not as the test made it should fail the test")]

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use cutover_testkit::{
    control_plane::{AuditEntry, Mark},
    eventually, tools,
};
use kube::{
    Api,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::bed::{OPERATOR, Shop};

/// Edits of each object, at least: they go on until all weights are through.
const EDITS: u64 = 1_000;
const WEIGHTS: [i64; 12] = [5, 20, 0, 35, 60, 100, 70, 100, 45, 10, 90, 0];
const ATTACHED: &str = "shop";

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_foreign_edits_are_kept_while_weights_move() -> Result<()> {
    let shop = Shop::open().await?;
    let host = &shop.host;
    shop.apply(&format!(
        "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: {ATTACHED}, labels: {{team: shop}}, annotations: {{example.com/owner: somebody}}}}
spec:
  ingressClassName: nginx
  rules:
  - host: {host}
    http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: old, port: {{number: 80}}}}}}}}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {ATTACHED}, labels: {{team: shop}}, annotations: {{example.com/owner: somebody}}}}
spec:
  parentRefs: [{{name: edge, namespace: infra}}]
  hostnames: [{host}]
  rules:
  - name: other
    matches: [{{path: {{type: PathPrefix, value: /other}}}}]
    backendRefs: [{{name: old, port: 80}}, {{name: new, port: 80, weight: 3}}]
  - name: all
    backendRefs: [{{name: old, port: 80}}]
"
    ))
    .await?;
    let mark = shop.bed.plane.audit().mark()?;
    let (route_shadow, ingress_shadow) = (whole(&shop.http_routes()).await?, whole(&shop.ingresses()).await?);
    shop.attached_to(ATTACHED).await?;

    let moved = AtomicBool::new(false);
    let weights = async {
        let result = move_weights(&shop, &[http_route(&shop)]).await;
        moved.store(true, Ordering::Relaxed);
        result
    };
    let (weights, route, ingress) = tokio::join!(
        weights,
        edit(shop.http_routes(), route_shadow.clone(), edit_route, of_route, &moved),
        edit(shop.ingresses(), ingress_shadow, edit_ingress, |object| of_ingress(&object), &moved),
    );
    weights?;
    let (route, ingress) = (route?, ingress?);
    shop.carries("storefront", 0).await?;
    ensure!(of_route(whole(&shop.http_routes()).await?) == of_route(route.clone()), "the route lost an edit");
    ensure!(of_ingress(&whole(&shop.ingresses()).await?) == of_ingress(&ingress), "the Ingress lost an edit");

    let written = written(&shop, mark)?;
    let of_route = written("httproutes", 200);
    ensure!(of_route >= WEIGHTS.len(), "{of_route} writes of the route");
    ensure!(written("ingresses", 200) == 0, "the Ingress is not ours to write");
    println!("{} writes of the route were refused for its version", written("httproutes", 409));

    // Without the split the route is as its owners have made it, but for weights.
    goes(&shop).await?;
    let (now, ingress_now) = (whole(&shop.http_routes()).await?, whole(&shop.ingresses()).await?);
    ensure!(without_weights(now.clone()) == without_weights(route), "{now:#}");
    ensure!(of_ingress(&ingress_now) == of_ingress(&ingress), "the Ingress was changed");
    Ok(())
}

/// The same on Traefik's and Istio's own kinds.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_foreign_edits_are_kept_on_a_traefik_service_and_a_virtual_service() -> Result<()> {
    let shop = Shop::open().await?;
    shop.bed.plane.install_definitions(tools::definitions("istio")?).await?;
    let host = &shop.host;
    shop.apply(&format!(
        "
apiVersion: traefik.io/v1alpha1
kind: TraefikService
metadata: {{name: {ATTACHED}, labels: {{team: shop}}, annotations: {{example.com/owner: somebody}}}}
spec: {{weighted: {{services: [{{name: old, port: http}}, {{name: new, port: 80, weight: 0}}]}}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {ATTACHED}, labels: {{team: shop}}, annotations: {{example.com/owner: somebody}}}}
spec:
  hosts: [{host}]
  gateways: [infra/edge]
  http:
  - {{name: other, match: [{{uri: {{prefix: /other}}}}], route: [{{destination: {{host: old}}}}]}}
  - {{name: all, route: [{{destination: {{host: old}}}}]}}
"
    ))
    .await?;
    let mark = shop.bed.plane.audit().mark()?;
    let (services, meshes) = (traefik_services(&shop), virtual_services(&shop));
    let (service_shadow, mesh_shadow) = (whole(&services).await?, whole(&meshes).await?);
    let routers = json!([
        {"traefik": {"attach": {"service": ATTACHED}}}, {"istio": {"attach": {"virtualService": ATTACHED, "http": "all"}}},
    ]);
    shop.split("storefront", &format!("  newWeight: 0\n  routers: {routers}")).await?;
    shop.carries("storefront", 0).await?;

    let moved = AtomicBool::new(false);
    let weights = async {
        let read: [Bears; 2] = [(services.clone(), service_weight), (meshes.clone(), mesh_weight)];
        let result = move_weights(&shop, &read).await;
        moved.store(true, Ordering::Relaxed);
        result
    };
    let (weights, service, mesh) = tokio::join!(
        weights,
        edit(services.clone(), service_shadow, edit_service, of_service, &moved),
        edit(meshes.clone(), mesh_shadow, edit_mesh, of_mesh, &moved),
    );
    weights?;
    let (service, mesh) = (service?, mesh?);
    shop.carries("storefront", 0).await?;
    ensure!(of_service(whole(&services).await?) == of_service(service.clone()), "the TraefikService lost an edit");
    ensure!(of_mesh(whole(&meshes).await?) == of_mesh(mesh.clone()), "the VirtualService lost an edit");
    let written = written(&shop, mark)?;
    for resource in ["traefikservices", "virtualservices"] {
        let (done, refused) = (written(resource, 200), written(resource, 409));
        ensure!(done >= WEIGHTS.len(), "{done} writes of {resource}");
        println!("{refused} writes of {resource} were refused for their version");
    }

    // Without the split they are as their owners have made them, but for weights.
    goes(&shop).await?;
    let (now, mesh_now) = (whole(&services).await?, whole(&meshes).await?);
    ensure!(of_service(now.clone()) == of_service(service), "{now:#}");
    ensure!(mesh_without_weights(mesh_now.clone()) == mesh_without_weights(mesh), "{mesh_now:#}");
    Ok(())
}

/// How often the operator wrote what it is attached to, by resource and answer.
fn written(shop: &Shop, mark: Mark) -> Result<impl Fn(&str, u16) -> usize> {
    let (entries, namespace) = (shop.bed.plane.audit().since(mark)?, shop.namespace.clone());
    let is_ours = move |entry: &AuditEntry| {
        (entry.user.as_str(), entry.namespace.as_str(), entry.name.as_str()) == (OPERATOR, &namespace, ATTACHED)
            && entry.is_write()
            && entry.is_complete()
    };
    let entries: Vec<AuditEntry> = entries.into_iter().filter(is_ours).collect();
    Ok(move |resource: &str, code| entries.iter().filter(|it| it.resource == resource && it.code == code).count())
}

async fn goes(shop: &Shop) -> Result<()> {
    shop.splits().delete("storefront", &DeleteParams::default()).await?;
    eventually("the split is gone", Duration::from_secs(20), || async {
        ensure!(shop.splits().get_opt("storefront").await?.is_none(), "it is there");
        Ok(())
    })
    .await
}

/// An object, and the new side's weight in it.
type Bears = (Api<DynamicObject>, fn(&mut Value) -> Option<i64>);

fn http_route(shop: &Shop) -> Bears {
    (shop.http_routes(), |route| new_of(&split_rule(route)["backendRefs"], |it| &it["name"]))
}

fn traefik_services(shop: &Shop) -> Api<DynamicObject> {
    shop.objects_of("traefik.io", "v1alpha1", "TraefikService")
}

fn virtual_services(shop: &Shop) -> Api<DynamicObject> {
    shop.objects("networking.istio.io", "VirtualService")
}

fn new_of(list: &Value, name: fn(&Value) -> &Value) -> Option<i64> {
    list.as_array()?.iter().find(|it| name(it) == "new")?["weight"].as_i64()
}

fn service_weight(service: &mut Value) -> Option<i64> {
    new_of(&service["spec"]["weighted"]["services"], |it| &it["name"])
}

fn mesh_weight(mesh: &mut Value) -> Option<i64> {
    new_of(&split_entry(mesh)["route"], |it| &it["destination"]["host"])
}

/// One weight after the other, each until every object bears it.
async fn move_weights(shop: &Shop, objects: &[Bears]) -> Result<()> {
    for weight in WEIGHTS {
        shop.set_weight("storefront", weight.try_into()?).await?;
        for (api, read) in objects {
            eventually(&format!("it bears {weight}"), Duration::from_secs(60), || async {
                let mut object = whole(api).await?;
                let found = read(&mut object);
                ensure!(found == Some(weight), "{found:?}");
                Ok(())
            })
            .await?;
        }
    }
    Ok(())
}

/// Edits an object until it was done [`EDITS`] times and `moved`; `theirs` is what must be as in `shadow` at all times.
async fn edit(
    api: Api<DynamicObject>,
    mut shadow: Value,
    change: fn(&mut Value, u64),
    theirs: fn(Value) -> Value,
    moved: &AtomicBool,
) -> Result<Value> {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut edits = 0;
    while edits < EDITS || !moved.load(Ordering::Relaxed) {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let number = seed >> 33;
        match number % 6 {
            0 => {
                let text = format!("v{number}");
                let patch =
                    json!({"metadata": {"labels": {"edition": text}, "annotations": {"example.com/note": text}}});
                api.patch(ATTACHED, &PatchParams::default(), &Patch::Merge(&patch)).await?;
                shadow["metadata"]["labels"]["edition"] = text.clone().into();
                shadow["metadata"]["annotations"]["example.com/note"] = text.into();
            }
            1 => {
                let object = api.get(ATTACHED).await?;
                let types = object.types.context("no type")?;
                let text = format!("v{number}");
                let owned = json!({
                    "apiVersion": types.api_version, "kind": types.kind,
                    "metadata": {"name": ATTACHED, "labels": {"platform": text}},
                });
                api.patch(ATTACHED, &PatchParams::apply("platform-team").force(), &Patch::Apply(&owned)).await?;
                shadow["metadata"]["labels"]["platform"] = text.into();
            }
            _ => {
                replace(&api, |object| change(object, number / 6)).await?;
                change(&mut shadow, number / 6);
            }
        }
        edits += 1;
        if edits % 50 == 0 {
            let now = theirs(whole(&api).await?);
            ensure!(now == theirs(shadow.clone()), "after {edits} edits: {now:#} instead of {:#}", theirs(shadow));
        }
    }
    Ok(shadow)
}

/// Reads, changes and writes, again when somebody else was faster: what a careful editor does.
async fn replace(api: &Api<DynamicObject>, change: impl Fn(&mut Value)) -> Result<()> {
    loop {
        let mut object = serde_json::to_value(api.get(ATTACHED).await?)?;
        change(&mut object);
        let object: DynamicObject = serde_json::from_value(object)?;
        match api.replace(ATTACHED, &PostParams::default(), &object).await {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(error.into()),
        }
    }
}

async fn whole(api: &Api<DynamicObject>) -> Result<Value> {
    Ok(serde_json::to_value(api.get(ATTACHED).await?)?)
}

fn split_rule(route: &mut Value) -> &mut Value {
    let rules = route["spec"]["rules"].as_array_mut().into_iter().flatten();
    rules.into_iter().find(|rule| rule["name"] == "all").expect("the rule that is attached to is never removed")
}

fn edit_route(route: &mut Value, number: u64) {
    let text = format!("v{number}");
    match number % 6 {
        0 => {
            let filter = json!([{"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x-rule", "value": text}]}}]);
            split_rule(route)["filters"] = filter;
        }
        1 => {
            split_rule(route)["matches"] = json!([
                {"path": {"type": "PathPrefix", "value": "/"}},
                {"path": {"type": "Exact", "value": format!("/{text}")}},
            ]);
        }
        kind => {
            let rules = route["spec"]["rules"].as_array_mut().expect("a route has rules");
            let other = rules.iter().position(|rule| rule["name"] != "all");
            match (kind, other) {
                (2, _) => rules.rotate_left(1),
                (3, Some(at)) if rules.len() > 6 => drop(rules.remove(at)),
                (4, Some(at)) => {
                    rules[at]["backendRefs"] = json!([
                        {"group": "", "kind": "Service", "name": "new", "port": 80, "weight": number % 100},
                        {"group": "", "kind": "Service", "name": "old", "port": 80, "weight": 1},
                    ]);
                }
                _ if rules.len() < 10 => rules.insert(
                    usize::try_from(number).unwrap_or_default() % (rules.len() + 1),
                    json!({
                        "name": format!("extra-{number}"),
                        "matches": [{"path": {"type": "PathPrefix", "value": format!("/{text}")}}],
                        "backendRefs": [{"group": "", "kind": "Service", "name": "old", "port": 80, "weight": 1}],
                    }),
                ),
                _ => rules.reverse(),
            }
        }
    }
}

fn edit_ingress(ingress: &mut Value, number: u64) {
    let text = format!("v{number}");
    let backend = json!({"service": {"name": "extra", "port": {"number": 80}}});
    let path = json!({"path": format!("/{text}"), "pathType": "Prefix", "backend": backend});
    match number % 5 {
        0 => ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/proxy-body-size"] = text.into(),
        1 => ingress["spec"]["tls"] = json!([{"hosts": ["tls.example.com"], "secretName": text}]),
        2 => ingress["spec"]["rules"].as_array_mut().expect("it has rules").rotate_left(1),
        3 => {
            let rules = ingress["spec"]["rules"].as_array_mut().expect("it has rules");
            let other = rules.iter().position(|rule| rule["http"]["paths"][0]["path"] != "/");
            match other {
                Some(at) if rules.len() > 6 => drop(rules.remove(at)),
                _ => rules.push(json!({"host": format!("{text}.example.com"), "http": {"paths": [path]}})),
            }
        }
        _ => {
            let rules = ingress["spec"]["rules"].as_array_mut().expect("it has rules").iter_mut();
            let ours = rules.map(|rule| &mut rule["http"]["paths"]).find(|paths| paths[0]["path"] == "/");
            let paths = ours.and_then(Value::as_array_mut).expect("the path that is split is never removed");
            if paths.len() > 6 {
                paths.truncate(1);
            }
            paths.push(path);
        }
    }
}

fn of_ingress(object: &Value) -> Value {
    json!({
        "labels": object["metadata"]["labels"], "annotations": object["metadata"]["annotations"], "spec": object["spec"],
    })
}

/// Everything but the weights of the one rule.
fn without_weights(mut route: Value) -> Value {
    let backends = split_rule(&mut route)["backendRefs"].as_array_mut().into_iter().flatten();
    for backend in backends.filter_map(Value::as_object_mut) {
        backend.remove("weight");
    }
    of_ingress(&route)
}

/// Everything but the weights of the one rule and the entry of the new side there.
fn of_route(mut route: Value) -> Value {
    if let Some(backends) = split_rule(&mut route)["backendRefs"].as_array_mut() {
        backends.retain(|backend| backend["name"] != "new");
    }
    without_weights(route)
}

/// The entry of a VirtualService that is attached to.
fn split_entry(mesh: &mut Value) -> &mut Value {
    let entries = mesh["spec"]["http"].as_array_mut().into_iter().flatten();
    entries.into_iter().find(|it| it["name"] == "all").expect("the entry that is attached to is never removed")
}

fn edit_service(service: &mut Value, number: u64) {
    let weighted = &mut service["spec"]["weighted"];
    let members = weighted["services"].as_array_mut().expect("it has members");
    match number % 5 {
        0 => members.rotate_left(1),
        1 => members.iter_mut().for_each(|it| it["passHostHeader"] = number.is_multiple_of(2).into()),
        2 => members[0]["responseForwarding"] = json!({"flushInterval": format!("{}ms", number % 100 + 1)}),
        3 => weighted["sticky"] = json!({"cookie": {"name": format!("v{number}")}}),
        _ => drop(weighted.as_object_mut().map(|it| it.remove("sticky"))),
    }
}

fn edit_mesh(mesh: &mut Value, number: u64) {
    let text = format!("v{number}");
    match number % 7 {
        0 => split_entry(mesh)["timeout"] = format!("{}s", number % 60 + 1).into(),
        1 => split_entry(mesh)["retries"] = json!({"attempts": number % 5 + 1}),
        2 => {
            let routes = split_entry(mesh)["route"].as_array_mut().expect("it leads somewhere");
            let legacy = routes.iter_mut().find(|it| it["destination"]["host"] == "old");
            legacy.expect("legacy stays")["headers"] = json!({"request": {"set": {"x-rule": text}}});
        }
        3 => mesh["spec"]["exportTo"] = json!([if number.is_multiple_of(2) { "*" } else { "." }]),
        kind => {
            let entries = mesh["spec"]["http"].as_array_mut().expect("it has entries");
            let other = entries.iter().position(|it| it["name"] != "all");
            match (kind, other) {
                (4, _) => entries.rotate_left(1),
                (5, Some(at)) => {
                    entries[at]["route"] = json!([
                        {"destination": {"host": "new"}, "weight": number % 100}, {"destination": {"host": "old"}, "weight": 1},
                    ]);
                }
                (_, Some(at)) if entries.len() > 6 => drop(entries.remove(at)),
                _ => entries.push(json!({
                    "name": format!("extra-{number}"), "match": [{"uri": {"prefix": format!("/{text}")}}],
                    "route": [{"destination": {"host": "old"}}],
                })),
            }
        }
    }
}

/// Everything but the weights.
fn of_service(mut service: Value) -> Value {
    let members = service["spec"]["weighted"]["services"].as_array_mut().into_iter().flatten();
    members.filter_map(Value::as_object_mut).for_each(|it| drop(it.remove("weight")));
    of_ingress(&service)
}

/// Everything but the weights of the one entry.
fn mesh_without_weights(mut mesh: Value) -> Value {
    let routes = split_entry(&mut mesh)["route"].as_array_mut().into_iter().flatten();
    routes.filter_map(Value::as_object_mut).for_each(|it| drop(it.remove("weight")));
    of_ingress(&mesh)
}

/// Everything but the weights of the one entry and its destination of the new side.
fn of_mesh(mut mesh: Value) -> Value {
    if let Some(routes) = split_entry(&mut mesh)["route"].as_array_mut() {
        routes.retain(|it| it["destination"]["host"] != "new");
    }
    mesh_without_weights(mesh)
}
