//! Splits on a load balancer of AWS: the Ingress and its annotations, as the API server takes them. Nobody serves it here.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use cutover_testkit::eventually;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams};
use serde::Deserialize;
use serde_json::{Value, json};

use super::bed::{Shop, weights_are};

const PATIENCE: Duration = Duration::from_secs(60);
const INGRESS: &str = "storefront-cutover-alb";

/// What the controller takes in an action that forwards: another field, or one of another type, and it leaves the whole Ingress as it was.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Action {
    r#type: String,
    forward_config: Forward,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Forward {
    target_groups: Vec<TargetGroup>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct TargetGroup {
    service_name: String,
    service_port: u16,
    weight: u16,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Condition {
    field: String,
    http_header_config: HttpHeader,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct HttpHeader {
    http_header_name: String,
    values: Vec<String>,
}

const ANNOTATION: &str = "alb.ingress.kubernetes.io/";

/// The rules of the controller and of the load balancer behind it, as far as they are about actions.
fn obeys_the_controller(ingress: &DynamicObject) -> Result<()> {
    let annotations = ingress.metadata.annotations.as_ref().context("no annotations")?;
    let of = |what: &str| -> BTreeMap<&str, &str> {
        let prefix = format!("{ANNOTATION}{what}.");
        annotations.iter().filter_map(|(key, value)| Some((key.strip_prefix(&prefix)?, value.as_str()))).collect()
    };
    let (actions, conditions) = (of("actions"), of("conditions"));
    for (name, text) in &actions {
        let Action { r#type, forward_config: Forward { target_groups } } = serde_json::from_str(text)?;
        ensure!(r#type == "forward" && (1..=5).contains(&target_groups.len()), "{name}: {text}");
        ensure!(target_groups.iter().all(|it| it.weight <= 999 && it.service_port > 0), "{name}: {text}");
        ensure!(target_groups.iter().all(|it| !it.service_name.is_empty()), "{name}: {text}");
        ensure!(target_groups.iter().any(|it| it.weight > 0), "nobody is asked by {name}: {text}");
    }
    for (name, text) in &conditions {
        ensure!(actions.contains_key(name), "conditions.{name} is of no action");
        for Condition { field, http_header_config: HttpHeader { http_header_name, values } } in
            serde_json::from_str::<Vec<Condition>>(text)?
        {
            ensure!(field == "http-header" && (1..=40).contains(&http_header_name.len()), "{name}: {text}");
            ensure!(!values.is_empty() && values.iter().all(|it| it.len() <= 128), "{name}: {text}");
        }
    }
    let mut named = BTreeSet::new();
    for rule in ingress.data["spec"]["rules"].as_array().context("no rules")? {
        for path in rule["http"]["paths"].as_array().context("no paths")? {
            let service = &path["backend"]["service"];
            ensure!(service["port"] == json!({"name": "use-annotation"}), "{service}");
            named.insert(service["name"].as_str().context("no name")?);
        }
    }
    ensure!(named.iter().eq(actions.keys()), "rules name {named:?}, and there are {:?}", actions.keys());
    Ok(())
}

impl Shop {
    /// Service and weight of each target group of an action.
    async fn target_groups(&self, action: &str) -> Result<Vec<(String, i64)>> {
        let ingress = self.ingresses().get(INGRESS).await?;
        obeys_the_controller(&ingress)?;
        let annotations = ingress.metadata.annotations.context("no annotations")?;
        let action =
            annotations.get(&format!("alb.ingress.kubernetes.io/actions.{action}")).context("no such action")?;
        let action: Value = serde_json::from_str(action)?;
        ensure!(action["type"] == "forward", "{action:#}");
        let groups = action["forwardConfig"]["targetGroups"].as_array().context("no target groups")?;
        let read = |it: &Value| Some((it["serviceName"].as_str()?.to_owned(), it["weight"].as_i64()?));
        groups.iter().map(|it| read(it).context("no weight")).collect()
    }

    async fn groups_are(&self, action: &str, expected: &[(&str, i64)]) -> Result<()> {
        weights_are(action, expected, || self.target_groups(action)).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ingress_of_a_load_balancer_carries_each_weight_and_its_pins() -> Result<()> {
    let shop = Shop::open().await?;
    shop.split(
        "storefront",
        "
  newWeight: 0
  weightTotal: 1000
  paths: [{value: /shop}, {type: Exact, value: /health}]
  pins: [{to: New, header: {name: x-cutover, value: new}}]
  routers: [{alb: {className: alb, annotations: {alb.ingress.kubernetes.io/scheme: internal}}}]
",
    )
    .await?;
    shop.carries("storefront", 0).await?;
    // A load balancer of AWS takes no weight above 999; alone it is all the same.
    shop.groups_are("weighted", &[("old", 999), ("new", 0)]).await?;
    shop.groups_are("pin-1", &[("new", 1)]).await?;
    for (weight, [old, new]) in [(250, [750, 250]), (1, [999, 1]), (1000, [0, 999])] {
        shop.set_weight("storefront", weight).await?;
        let status = shop.carries("storefront", weight).await?;
        ensure!(status.routers[0].observed_weight == Some(weight), "{status:#?}");
        shop.groups_are("weighted", &[("old", old), ("new", new)]).await?;
    }
    let ingress = shop.ingresses().get(INGRESS).await?;
    let paths: Vec<_> = ingress.data["spec"]["rules"][0]["http"]["paths"]
        .as_array()
        .context("no paths")?
        .iter()
        .map(|it| (it["path"].as_str().unwrap_or_default(), it["backend"]["service"].clone()))
        .collect();
    let backend = |name: &str| json!({"name": name, "port": {"name": "use-annotation"}});
    let expected = [("/shop", "pin-1"), ("/shop", "weighted"), ("/health", "pin-1"), ("/health", "weighted")];
    ensure!(paths == expected.map(|(path, name)| (path, backend(name))), "{paths:?}");

    // What others change is put right.
    let by_hand = json!({
        "metadata": {"annotations": {"alb.ingress.kubernetes.io/actions.weighted": "{}"}},
        "spec": {"defaultBackend": {"service": {"name": "old", "port": {"number": 80}}}},
    });
    shop.ingresses().patch(INGRESS, &PatchParams::default(), &Patch::Merge(by_hand)).await?;
    shop.groups_are("weighted", &[("old", 0), ("new", 999)]).await?;
    eventually("what others added is gone", PATIENCE, || async {
        let ingress = shop.ingresses().get(INGRESS).await?;
        ensure!(ingress.data["spec"].get("defaultBackend").is_none(), "{:#}", ingress.data);
        Ok(())
    })
    .await?;

    // Released and adopted at its weight, then removed.
    let gone = async || {
        shop.splits().delete("storefront", &DeleteParams::default()).await?;
        eventually("the split is gone", PATIENCE, || async {
            ensure!(shop.splits().get_opt("storefront").await?.is_none(), "it is there");
            Ok(())
        })
        .await
    };
    gone().await?;
    shop.groups_are("weighted", &[("old", 0), ("new", 999)]).await?;
    shop.split("storefront", "  onDelete: Delete\n  newWeight: 0\n  routers: [{alb: {className: alb}}]").await?;
    shop.carries("storefront", 100).await?;
    gone().await?;
    ensure!(shop.ingresses().get_opt(INGRESS).await?.is_none(), "it is still there");
    Ok(())
}
