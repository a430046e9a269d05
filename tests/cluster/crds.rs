//! The custom resource definitions on a real API server: installed without a warning, explained to users, and every
//! rule tried from both sides, at the greatest size too.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cutover_testkit::{eventually, tools};
use kube::{Client, api::DynamicObject};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::installed::{object, plane, refusal};

#[derive(Deserialize)]
struct Cases {
    bases: Map<String, Value>,
    cases: Vec<Case>,
}

#[derive(Debug, Deserialize)]
struct Case {
    kind: String,
    #[serde(default)]
    patch: Value,
    refused: Option<String>,
    #[serde(default)]
    update: bool,
}

/// A request as kubectl makes it: unknown fields are an error. Nothing is kept.
async fn ask(client: &Client, method: http::Method, path: &str, body: &Value) -> kube::Result<DynamicObject> {
    let merge_patch = method == http::Method::PATCH;
    let content = if merge_patch { "application/merge-patch+json" } else { "application/json" };
    let request = http::Request::builder()
        .method(method)
        .uri(format!("{path}?dryRun=All&fieldValidation=Strict"))
        .header(http::header::CONTENT_TYPE, content)
        .body(body.to_string().into_bytes())
        .map_err(|error| kube::Error::Service(error.into()))?;
    client.request(request).await
}

fn merge(target: &mut Value, patch: &Value) {
    for (key, change) in patch.as_object().into_iter().flatten() {
        let Some(fields) = target.as_object_mut() else { return };
        match fields.get_mut(key) {
            _ if change.is_null() => drop(fields.remove(key)),
            Some(field) if field.is_object() && change.is_object() => merge(field, change),
            _ => drop(fields.insert(key.clone(), change.clone())),
        }
    }
}

fn plural(kind: &str) -> String {
    format!("{}s", kind.to_lowercase())
}

#[tokio::test]
async fn rules_accept_and_refuse_as_the_cases_say() -> Result<()> {
    let plane = plane().await?;
    let namespace = plane.unique_namespace().await?;
    let client = plane.admin().await?;
    let cases: Cases = serde_yaml_ng::from_str(include_str!("admission.yaml"))?;
    for (kind, base) in &cases.bases {
        crate::installed::create(&client, &namespace, base, false).await.with_context(|| format!("base {kind}"))?;
    }
    let mut wrong = Vec::new();
    for case in &cases.cases {
        let folder = format!("/apis/cutover.dev/v1alpha1/namespaces/{namespace}/{}", plural(&case.kind));
        let base = &cases.bases[&case.kind];
        let answer = if case.update {
            let name = base["metadata"]["name"].as_str().context("a base without a name")?;
            ask(&client, http::Method::PATCH, &format!("{folder}/{name}"), &case.patch).await
        } else {
            let mut object = base.clone();
            merge(&mut object, &case.patch);
            if object["metadata"]["name"] == base["metadata"]["name"] {
                object["metadata"]["name"] = "another".into();
            }
            ask(&client, http::Method::POST, &folder, &object).await
        };
        let fits = match (&case.refused, refusal(&answer)) {
            (None, None) => answer.is_ok(),
            (Some(why), Some(message)) => message.contains(why.as_str()),
            _ => false,
        };
        if !fits {
            wrong.push(format!("{case:?}: {:?}", answer.map(drop)));
        }
    }
    ensure!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.cases.len(), wrong.join("\n"));
    Ok(())
}

/// A phase with as many steps, splits and flags as the schema allows.
fn largest_phase(last: i64) -> Value {
    let targets = |key: &str, share: &str, value: i64| -> Vec<Value> {
        (0..16).map(|n| json!({key: format!("{}-{n}", "x".repeat(44)), share: value})).collect()
    };
    let step = |n: i64| {
        let value = if n == 31 { last } else { n };
        json!({
            "name": format!("s{n}"),
            "traffic": targets("split", "newWeight", value),
            "flags": targets("flag", "percent", value),
        })
    };
    object("MigrationPhase", "largest", &json!({"steps": (0..32).map(step).collect::<Vec<_>>()}))
}

#[tokio::test]
async fn rules_stay_within_their_cost_at_the_greatest_size() -> Result<()> {
    let plane = plane().await?;
    let client = plane.admin().await?;
    let phases = "/apis/cutover.dev/v1alpha1/namespaces/default/migrationphases";
    ask(&client, http::Method::POST, phases, &largest_phase(31)).await?;
    let refused = ask(&client, http::Method::POST, phases, &largest_phase(0)).await;
    let message = refusal(&refused).context("a falling weight is accepted")?;
    assert!(message.contains("newWeight of a split must not fall"), "{message}");
    assert!(message.contains("percent of a flag must not fall"), "{message}");

    let names: Vec<String> = (0..64).map(|n| format!("{}-{n}", "c".repeat(27))).collect();
    let others = |own: &String| names.iter().filter(|name| *name != own).take(32).cloned().collect::<Vec<_>>();
    let component = |name: &String| {
        let addresses: Vec<_> = (1..65).map(|n| format!("192.0.2.{n}")).collect();
        let source = json!({"external": {"addresses": addresses, "port": 443}});
        json!({"name": name, "system": "New", "source": source, "callsTo": others(name), "dependsOn": others(name)})
    };
    let config: Map<String, Value> = (0..128).map(|n| (format!("{}_{n}", "K".repeat(120)), json!("v"))).collect();
    let spec = json!({
        "tier": "Production", "components": names.iter().map(component).collect::<Vec<_>>(), "config": config,
    });
    let environments = "/apis/cutover.dev/v1alpha1/namespaces/default/environments";
    ask(&client, http::Method::POST, environments, &object("Environment", "largest", &spec)).await?;

    let hosts: Vec<_> = (0..16).map(|n| format!("{n}.example.com")).collect();
    let pins: Vec<_> =
        (0..8).map(|n| json!({"to": "New", "header": {"name": format!("x-{n}"), "value": "y"}})).collect();
    let attached = |rule: &str| json!({"gatewayApi": {"attach": {"route": "r".repeat(253), "rule": rule}}});
    let routers = [
        json!({"ingressNginx": {"className": "nginx"}}),
        json!({"gatewayApi": {"parentRefs": vec![json!({"name": "e".repeat(253)}); 8]}}),
        attached("one"),
        json!({"traefik": {"entryPoints": (0..8).map(|n| format!("{n}").repeat(63)).collect::<Vec<_>>()}}),
    ];
    let side = |name: &str| json!({"service": {"name": name, "port": 80}});
    let spec = json!({
        "hosts": hosts, "legacy": side("a"), "new": side("b"), "pins": pins, "routers": routers,
    });
    let splits = "/apis/cutover.dev/v1alpha1/namespaces/default/trafficsplits";
    ask(&client, http::Method::POST, splits, &object("TrafficSplit", "largest", &spec)).await.map(drop)?;
    Ok(())
}

#[tokio::test]
async fn definitions_are_applied_by_kubectl_without_a_warning() -> Result<()> {
    let plane = plane().await?;
    let folder = tools::repository().join("crds").display().to_string();
    // Under names of their own they are new to the API server, which then looks at all of them.
    for args in [&["create", "--dry-run=server", "-f", "-"][..], &["apply", "--dry-run=server", "-f", "-"]] {
        let text = std::fs::read_dir(&folder)?
            .map(|entry| Ok(std::fs::read_to_string(entry?.path())?))
            .collect::<Result<Vec<_>>>()?
            .join("\n---\n")
            .replace("cutover.dev", "cutover.example.com");
        let output = plane.run("kubectl", args, plane.kubeconfig(), &text).await?;
        assert_eq!(output.stderr, "", "{args:?}");
        assert_eq!(output.ok()?.lines().count(), 5);
    }
    Ok(())
}

#[tokio::test]
async fn users_find_their_way_with_kubectl() -> Result<()> {
    let plane = plane().await?;
    let namespace = plane.unique_namespace().await?;
    let client = plane.admin().await?;
    let cases: Cases = serde_yaml_ng::from_str(include_str!("admission.yaml"))?;
    for base in cases.bases.values() {
        crate::installed::create(&client, &namespace, base, false).await?;
    }
    // Asking for the kinds anew replaces what another test's kubectl noted before all five were served.
    eventually("all kinds are served", Duration::from_secs(20), || async {
        let group = format!("--api-group={}", cutover_api::GROUP);
        let kinds = plane.kubectl(["api-resources", &group, "-o", "name"]).await?.ok()?;
        ensure!(kinds.lines().count() == 5, "{kinds}");
        Ok(())
    })
    .await?;
    let all = plane.kubectl(["get", "cutover", "-n", &namespace, "-o", "name"]).await?.ok()?;
    assert_eq!(all.lines().count(), 5, "{all}");
    for short in ["env", "tsplit", "fflag", "mphase", "paction"] {
        let table = plane.kubectl(["get", short, "-n", &namespace]).await?.ok()?;
        assert_eq!(table.lines().count(), 2, "{table}");
    }
    let explained = plane.kubectl(["explain", "trafficsplit.spec.legacy"]).await?.ok()?;
    assert!(
        explained.contains("Where the legacy system answers."),
        "the field's own words, not its type's: {explained}"
    );
    let explained = plane.kubectl(["explain", "mphase.spec.steps.soak"]).await?.ok()?;
    assert!(explained.contains("Default\n    `0s`") || explained.contains("Default `0s`"), "{explained}");
    Ok(())
}
