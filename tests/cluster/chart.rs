//! The charts: what they refuse, what they render, and what installing, upgrading and uninstalling them does.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use cutover_operator::args::Args;
use cutover_testkit::{
    control_plane::ControlPlane,
    eventually,
    operator::{LEASE, NAMESPACE, SERVICE_ACCOUNT},
    tools,
};
use k8s_openapi::api::{
    authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
    core::v1::Pod,
};
use kube::{
    Api, Client,
    api::{ListParams, PostParams},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::installed::{create, install, object, plane, policies_in_force, refusal};

fn chart(name: &str) -> String {
    tools::repository().join("charts").join(name).display().to_string()
}

async fn template(plane: &ControlPlane, values: &[&str]) -> Result<String> {
    let path = chart("cutover");
    let mut args = vec!["template", "cutover", &path, "--namespace", NAMESPACE];
    args.extend(values.iter().flat_map(|value| ["--set-json", value]));
    plane.helm(args).await?.ok()
}

fn documents(yaml: &str) -> Result<Vec<Value>> {
    let read = |document| Value::deserialize(document).context("not YAML");
    Ok(serde_yaml_ng::Deserializer::from_str(yaml)
        .map(read)
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .filter(|value| !value.is_null())
        .collect())
}

fn of_kind<'a>(documents: &'a [Value], kind: &str) -> Vec<&'a Value> {
    documents.iter().filter(|document| document["kind"] == kind).collect()
}

#[tokio::test]
async fn helm_finds_nothing_to_complain_about() -> Result<()> {
    let plane = plane().await?;
    for name in ["cutover", "cutover-crds"] {
        let said = plane.helm(["lint", "--strict", &chart(name)]).await?.ok()?;
        assert!(said.contains("0 chart(s) failed") && !said.contains("[WARNING]"), "{said}");
    }
    Ok(())
}

#[tokio::test]
async fn values_that_make_no_sense_are_refused_by_name() -> Result<()> {
    let plane = plane().await?;
    for (value, path) in [
        ("replica=3", "replica"),
        ("replicas=-1", "/replicas"),
        ("concurrency=0", "/concurrency"),
        (r#"log={"format":"xml"}"#, "/log/format"),
        (r#"leaderElection={"leaseDuration":"15"}"#, "/leaderElection/leaseDuration"),
        (r#"watchNamespaces=["Shop"]"#, "/watchNamespaces/0"),
        (r#"prometheus={"default":"prometheus:9090"}"#, "/prometheus/default"),
        (r#"notifications={"sinks":[{"name":"chat","format":"Slack"}]}"#, "/notifications/sinks/0"),
        (r#"notifications={"sinks":[{"name":"x","url":"ftp://x","format":"Slack"}]}"#, "/notifications/sinks/0/url"),
        (r#"notifications={"sinks":[{"name":"x","url":"http://x","format":"CloudEvents"}]}"#, "/notifications/sinks/0"),
        (r#"notifications={"url":"http://x"}"#, "url"),
        (r#"policies={"extraStatusWriters":["a' || true || 'b"]}"#, "/policies/extraStatusWriters/0"),
    ] {
        let refused = template(plane, &[value]).await.map(drop).expect_err(value).to_string();
        assert!(refused.contains(path), "{value}: {refused}");
    }
    let refused = template(plane, &[r#"serviceAccount={"create":false}"#]).await.map(drop);
    assert!(refused.is_err_and(|error| error.to_string().contains("serviceAccount.name is required")));
    Ok(())
}

#[tokio::test]
async fn rights_are_named_one_by_one_each_with_its_reason() -> Result<()> {
    let plane = plane().await?;
    for values in [&["userRoles=false"][..], &["userRoles=false", r#"watchNamespaces=["shop","bank"]"#]] {
        let rendered = template(plane, values).await?;
        let lines: Vec<_> = rendered.lines().collect();
        let rules = lines.windows(2).filter(|pair| pair[1].starts_with("- apiGroups:"));
        let mut count = 0;
        for pair in rules {
            assert!(pair[0].starts_with("# "), "no reason for {pair:?}");
            count += 1;
        }
        assert!(count > 14, "{count} rules");
        for role in documents(&rendered)?.iter().filter(|document| !document["rules"].is_null()) {
            let rules = role["rules"].to_string();
            assert!(!rules.contains('*'), "{rules}");
            assert!(!rules.contains("secrets"), "{rules}");
            assert!(!rules.contains("escalate") && !rules.contains("impersonate"), "{rules}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_operator_understands_its_flags() -> Result<()> {
    let plane = plane().await?;
    let values = [
        r#"watchNamespaces=["shop","bank"]"#,
        r#"prometheus={"default":"http://prometheus:9090","edge":"https://edge.example.com"}"#,
        r#"forbiddenExternalCIDRs=["10.0.0.0/8","fd00::/8"]"#,
        r#"dnsServers=["192.0.2.53","[2001:db8::53]:5353"]"#,
        r#"outboundNetworks=["10.96.0.0/12","fd00::/8"]"#,
        r#"policies={"trustUnenforced":true}"#,
        r#"extraArgs=["--extra-ca-file=/etc/ca.crt"]"#,
    ];
    for values in [&[][..], &values] {
        let rendered = documents(&template(plane, values).await?)?;
        let deployment = of_kind(&rendered, "Deployment").pop().context("no Deployment")?;
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        let flags = container["args"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let args = Args::try_parse_from(std::iter::once("cutover-operator").chain(flags))?;
        args.validate().map_err(anyhow::Error::msg)?;
        assert_eq!(args.lease_name, LEASE);
        assert_eq!(args.lease_namespace.as_deref(), Some(NAMESPACE));
        assert_eq!(args.prometheus.len(), if values.is_empty() { 0 } else { 2 });
        assert_eq!(args.watch_namespaces.len(), if values.is_empty() { 0 } else { 2 });
        let grace = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"].as_u64();
        assert!(grace.is_some_and(|grace| grace > args.shutdown_grace.as_secs()), "killed before its grace is over");
    }
    Ok(())
}

#[tokio::test]
async fn pods_pass_the_strictest_pod_security() -> Result<()> {
    let plane = plane().await?;
    let namespace = plane.unique_namespace().await?;
    let labels = ["enforce", "warn"].map(|mode| format!("pod-security.kubernetes.io/{mode}=restricted"));
    plane.kubectl(["label", "namespace", &namespace, &labels[0], &labels[1]]).await?.ok()?;
    let mut rendered = documents(&template(plane, &[]).await?)?;
    rendered.retain(|document| {
        matches!(document["kind"].as_str(), Some("Deployment" | "ServiceAccount" | "PodDisruptionBudget" | "Service"))
    });
    let text = rendered.iter().map(serde_yaml_ng::to_string).collect::<Result<Vec<_>, _>>()?.join("---\n");
    let text = text.replace(&format!("namespace: {NAMESPACE}"), &format!("namespace: {namespace}"));
    let applied = plane.run("kubectl", ["apply", "-f", "-"], plane.kubeconfig(), &text).await?;
    assert_eq!(applied.stderr, "");
    applied.ok()?;
    let pods: Api<Pod> = Api::namespaced(plane.admin().await?, &namespace);
    eventually("two pods", std::time::Duration::from_secs(30), || async {
        ensure!(pods.list(&ListParams::default()).await?.items.len() == 2, "not made");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn sinks_of_the_values_are_what_the_operator_reads() -> Result<()> {
    let plane = plane().await?;
    let folder = plane.data().join("sinks");
    std::fs::create_dir_all(&folder)?;
    // Beside the pod the secrets are elsewhere: what is asked is whether the file is read as it is rendered.
    let secret = folder.join("releases").display().to_string();
    std::fs::write(&secret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")?;
    let sinks = json!({"cluster": "prod", "secretName": "sinks", "sinks": [
        {"name": "releases", "url": "https://events.example.com/hook", "format": "CloudEvents", "secretFile": secret},
        {"name": "chat", "url": "https://chat.example.com/x", "format": "Teams", "namespaces": ["shop"], "always": ["Failed"]},
    ]});
    let rendered = documents(&template(plane, &[&format!("notifications={sinks}")]).await?)?;
    let deployment = of_kind(&rendered, "Deployment").pop().context("no Deployment")?;
    let pod = &deployment["spec"]["template"]["spec"];
    let mounts = &pod["containers"][0]["volumeMounts"];
    let configured = of_kind(&rendered, "ConfigMap").pop().context("no ConfigMap")?;
    assert_eq!(pod["volumes"][0]["configMap"]["name"], configured["metadata"]["name"]);
    assert_eq!(
        (&pod["volumes"][1]["name"], &pod["volumes"][1]["secret"]["secretName"]),
        (&json!("secrets"), &json!("sinks"))
    );
    assert_eq!(
        (&mounts[0]["mountPath"], &mounts[1]["mountPath"]),
        (&json!("/etc/cutover/notifications"), &json!("/etc/cutover/secrets"))
    );
    let flags = pod["containers"][0]["args"].as_array().context("no args")?;
    assert!(flags.contains(&json!("--notification-sinks=/etc/cutover/notifications/sinks.json")), "{flags:?}");

    let file = folder.join("sinks.json");
    std::fs::write(&file, configured["data"]["sinks.json"].as_str().context("no sinks.json")?)?;
    let read = cutover_operator::outbound::notify::read(&file)?;
    assert_eq!((read.cluster.as_deref(), read.sinks.len()), (Some("prod"), 2));
    assert!(read.sinks[1].is_for("shop") && !read.sinks[1].is_for("bank"));

    // A change of the sinks is one of the pods, for they are read at start.
    let annotation = |deployment: &Value| deployment["spec"]["template"]["metadata"]["annotations"].clone();
    let other =
        documents(&template(plane, &[&format!("notifications={}", sinks.to_string().replace("prod", "test"))]).await?)?;
    let other = of_kind(&other, "Deployment").pop().context("no Deployment")?;
    assert_ne!(annotation(deployment), annotation(other));
    let none = documents(&template(plane, &[]).await?)?;
    assert!(of_kind(&none, "ConfigMap").is_empty());
    Ok(())
}

async fn may(client: &Client, user: &str, namespace: &str, right: (&str, &str, &str)) -> Result<bool> {
    let (verb, group, resource) = right;
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let attributes = ResourceAttributes {
        namespace: Some(namespace.to_owned()),
        verb: Some(verb.to_owned()),
        group: Some(group.to_owned()),
        resource: Some(resource.to_owned()),
        subresource: Some(subresource.to_owned()),
        ..ResourceAttributes::default()
    };
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(user.to_owned()),
            groups: Some(vec!["system:serviceaccounts".to_owned(), "system:authenticated".to_owned()]),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let answer = Api::all(client.clone()).create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

#[tokio::test]
async fn a_release_for_some_namespaces_has_rights_in_those_only() -> Result<()> {
    let plane = plane().await?;
    let (watched, other) = (plane.unique_namespace().await?, plane.unique_namespace().await?);
    let home = plane.unique_namespace().await?;
    let path = chart("cutover");
    let watch = format!("watchNamespaces={{{watched}}}");
    let args = ["install", "team", &path, "-n", &home, "--set", &watch, "--set", "replicas=0,userRoles=false"];
    plane.helm(args).await?.ok()?;
    let client = plane.admin().await?;
    let user = format!("system:serviceaccount:{home}:team-cutover");
    let rights = [
        ("create", "apps", "deployments"),
        ("watch", "", "services"),
        ("patch", "cutover.dev", "trafficsplits/status"),
        ("delete", "networking.k8s.io", "ingresses"),
    ];
    for right in rights {
        assert!(may(&client, &user, &watched, right).await?, "{right:?} where it works");
        assert!(!may(&client, &user, &other, right).await?, "{right:?} elsewhere");
        assert!(!may(&client, &user, &home, right).await?, "{right:?} at home");
    }
    assert!(may(&client, &user, &other, ("list", "gateway.networking.k8s.io", "gatewayclasses")).await?);
    assert!(may(&client, &user, &home, ("create", "coordination.k8s.io", "leases")).await?);
    for right in [("get", "", "secrets"), ("create", "", "pods"), ("approve", "cutover.dev", "migrationphases")] {
        assert!(!may(&client, &user, &watched, right).await?, "{right:?} is nobody's business");
    }
    plane.helm(["uninstall", "team", "-n", &home]).await?.ok().map(drop)
}

#[tokio::test]
async fn people_get_their_part_of_the_built_in_roles() -> Result<()> {
    let plane = plane().await?;
    let namespace = plane.unique_namespace().await?;
    let bind = |role: &str, user: &str| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": user},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
        })
    };
    for (role, user) in [("view", "vera"), ("edit", "edda"), ("cutover-decide", "dora")] {
        plane.apply_yaml(&namespace, &bind(role, user).to_string()).await?;
    }
    let client = plane.admin().await?;
    let list = ("list", "cutover.dev", "migrationphases");
    let write = ("create", "cutover.dev", "migrationphases");
    let decide = ("create", "cutover.dev", "phaseactions");
    let approve = ("approve", "cutover.dev", "migrationphases");
    let status = ("patch", "cutover.dev", "trafficsplits/status");
    let expected = [
        ("vera", [true, false, false, false, false]),
        ("edda", [true, true, false, false, false]),
        ("dora", [true, false, true, true, false]),
    ];
    // The aggregation is a controller's work.
    eventually("rights of people", std::time::Duration::from_secs(20), || async {
        for (user, wanted) in expected {
            for (right, wanted) in [list, write, decide, approve, status].into_iter().zip(wanted) {
                ensure!(may(&client, user, &namespace, right).await? == wanted, "{user}: {right:?} should be {wanted}");
            }
        }
        Ok(())
    })
    .await
}

/// Every role against every verb: what is missing in one is as much a part of it as what is there.
#[tokio::test]
async fn each_role_decides_what_it_is_for() -> Result<()> {
    const DECISIONS: [&str; 7] = ["approve", "promote", "pause", "resume", "abort", "rollback", "retry"];
    let plane = plane().await?;
    let namespace = plane.unique_namespace().await?;
    let elsewhere = plane.unique_namespace().await?;
    let client = plane.admin().await?;
    for role in ["view", "edit", "decide", "approve", "operate", "admin"] {
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": role},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": format!("cutover-{role}")},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": format!("{role}-er")}],
        });
        plane.apply_yaml(&namespace, &binding.to_string()).await?;
    }
    let decides = |role: &str, verb: &str| match role {
        "decide" | "admin" => true,
        "approve" => verb == "approve",
        "operate" => verb != "approve",
        _ => false,
    };
    let mut expected = Vec::new();
    for role in ["view", "edit", "decide", "approve", "operate", "admin"] {
        for verb in DECISIONS {
            expected.push((role, (verb, "cutover.dev", "migrationphases"), decides(role, verb)));
        }
        let acts = matches!(role, "decide" | "approve" | "operate" | "admin");
        let writes = matches!(role, "edit" | "admin");
        expected.extend([
            (role, ("create", "cutover.dev", "phaseactions"), acts),
            (role, ("update", "cutover.dev", "phaseactions"), false),
            (role, ("delete", "cutover.dev", "phaseactions"), role == "admin"),
            (role, ("list", "cutover.dev", "phaseactions"), role != "edit"),
            (role, ("get", "cutover.dev", "migrationphases"), role != "edit"),
            (role, ("update", "cutover.dev", "migrationphases"), writes),
            (role, ("create", "cutover.dev", "environments"), writes),
            (role, ("patch", "cutover.dev", "migrationphases/status"), false),
            (role, ("create", "", "pods"), false),
            (role, ("get", "", "secrets"), false),
        ]);
    }
    eventually("rights of the roles", std::time::Duration::from_secs(20), || async {
        for (role, right, wanted) in &expected {
            let allowed = may(&client, &format!("{role}-er"), &namespace, *right).await?;
            ensure!(allowed == *wanted, "cutover-{role}: {right:?} should be {wanted}");
        }
        Ok(())
    })
    .await?;
    for verb in DECISIONS {
        let right = (verb, "cutover.dev", "migrationphases");
        assert!(!may(&client, "admin-er", &elsewhere, right).await?, "{verb} in a namespace where nothing is bound");
    }
    Ok(())
}

#[tokio::test]
async fn uninstalling_keeps_the_kinds_and_their_objects() -> Result<()> {
    let plane = ControlPlane::start_named("uninstall").await?;
    install(&plane).await?;
    let client = plane.admin().await?;
    let spec = json!({"environment": "production", "variants": {"on": true}, "defaultVariant": "on"});
    let flag = object("FeatureFlag", "kept", &spec);
    create(&client, "default", &flag, false).await?;
    let mut wrong = flag.clone();
    wrong["spec"]["defaultVariant"] = "off".into();
    assert!(refusal(&create(&client, "default", &wrong, true).await).is_some());

    plane
        .helm(["upgrade", "cutover", &chart("cutover"), "-n", NAMESPACE, "--set", "replicas=0,concurrency=4"])
        .await?
        .ok()?;
    for release in ["cutover", "cutover-crds"] {
        plane.helm(["uninstall", release, "-n", NAMESPACE, "--wait"]).await?.ok()?;
    }
    let kept = plane.kubectl(["get", "fflag", "-A", "-o", "name"]).await?.ok()?;
    assert_eq!(kept.trim(), "featureflag.cutover.dev/kept");
    let left = plane
        .kubectl([
            "get",
            "clusterrole,validatingadmissionpolicy",
            "-l",
            "app.kubernetes.io/part-of=cutover",
            "-o",
            "name",
        ])
        .await?
        .ok()?;
    assert_eq!(left, "", "the operator's own parts are gone");

    // And back: the kinds that were kept are taken up again.
    install(&plane).await.context("installing again")?;
    assert_eq!(plane.kubectl(["get", "fflag", "-A", "-o", "name"]).await?.ok()?, kept);
    Ok(())
}

#[tokio::test]
async fn kubectl_alone_installs_the_same() -> Result<()> {
    let plane = ControlPlane::start_named("kustomize").await?;
    let folder = tools::repository().join("deploy").display().to_string();
    let applied = plane.kubectl(["apply", "-k", &folder]).await?;
    assert_eq!(applied.stderr, "");
    let made: BTreeSet<String> = applied
        .ok()?
        .lines()
        .filter_map(|line| Some(line.split_once('.').map_or(line, |(kind, _)| kind).split('/').next()?.to_owned()))
        .collect();
    for kind in ["customresourcedefinition", "deployment", "validatingadmissionpolicy", "namespace"] {
        assert!(made.contains(kind), "{made:?}");
    }
    policies_in_force(&plane).await?;
    let client = plane.admin().await?;
    let user = format!("system:serviceaccount:{NAMESPACE}:{SERVICE_ACCOUNT}");
    assert!(may(&client, &user, "default", ("patch", "networking.k8s.io", "ingresses")).await?);
    let generations = async || -> Result<Vec<(String, u64)>> {
        let listed: Value = serde_json::from_str(&plane.kubectl(["get", "-k", &folder, "-o", "json"]).await?.ok()?)?;
        let of = |item: &Value| {
            (
                format!("{}/{}", item["kind"], item["metadata"]["name"]),
                item["metadata"]["generation"].as_u64().unwrap_or_default(),
            )
        };
        Ok(listed["items"].as_array().into_iter().flatten().map(of).collect())
    };
    let before = generations().await?;
    assert!(before.len() > 25, "{before:?}");
    // Applied again, nothing is changed: no field is fought over.
    plane.kubectl(["apply", "-k", &folder]).await?.ok()?;
    assert_eq!(generations().await?, before);
    Ok(())
}
