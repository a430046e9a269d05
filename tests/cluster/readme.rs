//! What the documentation shows is what the API server accepts.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, ensure};
use cutover_testkit::{
    control_plane::{ControlPlane, Identity},
    tools,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::installed::plane;

/// Kinds of other projects that the documentation shows.
const STRANGERS: [(&str, &str, &str); 4] = [
    ("kustomize.toolkit.fluxcd.io", "v1", "Kustomization"),
    ("argoproj.io", "v1alpha1", "Application"),
    ("source.toolkit.fluxcd.io", "v1", "GitRepository"),
    ("helm.toolkit.fluxcd.io", "v2", "HelmRelease"),
];

/// The fenced blocks of a language.
fn blocks(markdown: &str, language: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut block: Option<String> = None;
    for line in markdown.lines() {
        match (&mut block, line.strip_prefix("```")) {
            (None, Some(info)) => block = Some(if info == language { String::new() } else { "#".to_owned() }),
            (Some(_), Some(_)) => found.extend(block.take().filter(|text| !text.starts_with('#'))),
            (Some(text), None) if !text.starts_with('#') => {
                text.push_str(line);
                text.push('\n');
            }
            _ => {}
        }
    }
    found
}

fn documents(yaml: &str) -> Result<Vec<Value>> {
    serde_yaml_ng::Deserializer::from_str(yaml).map(|one| Ok(Value::deserialize(one)?)).collect()
}

fn markdown() -> Result<Vec<PathBuf>> {
    let root = tools::repository();
    let mut files = vec![root.join("README.md")];
    let mut folders = vec![root.join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                files.push(path);
            }
        }
    }
    Ok(files)
}

/// Definitions that accept anything: that these objects fit their projects' schemas is not ours to show.
async fn invite_strangers(plane: &ControlPlane) -> Result<()> {
    for (group, version, kind) in STRANGERS {
        let plural = if kind.ends_with('y') { kind.replace('y', "ies") } else { format!("{kind}s") }.to_lowercase();
        let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.{group}")},
            "spec": {
                "group": group, "scope": "Namespaced",
                "names": {"plural": plural, "singular": kind.to_lowercase(), "kind": kind},
                "versions": [{"name": version, "served": true, "storage": true, "schema": {"openAPIV3Schema": open}}],
            },
        });
        let file = plane.data().join(format!("{plural}.yaml"));
        fs::write(&file, definition.to_string())?;
        plane.install_definitions([file]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn yaml_of_the_documentation_is_accepted() -> Result<()> {
    let plane = plane().await?;
    invite_strangers(plane).await?;
    let namespace = plane.unique_namespace().await?;
    for other in ["argocd", "flux-system"] {
        plane.kubectl(["create", "namespace", other]).await?.ok()?;
    }
    let bound =
        ["create", "rolebinding", "you", "-n", &namespace, "--clusterrole=cutover-decide", "--user=you@example.com"];
    plane.kubectl(bound).await?.ok()?;
    let you = plane.kubeconfig_for(&Identity::User { name: "you@example.com".into(), groups: vec![] }).await?;

    let mut kinds = std::collections::BTreeSet::new();
    let gitops = ["argocd/argocd-cm.yaml", "argocd/application.yaml", "flux/kustomizations.yaml"];
    let files = gitops.map(|file| tools::repository().join("deploy/gitops").join(file));
    for file in markdown()?.into_iter().chain(files) {
        let text = fs::read_to_string(&file)?;
        let yaml = file.extension().is_some_and(|extension| extension == "yaml");
        for block in if yaml { vec![text] } else { blocks(&text, "yaml") } {
            let block = block.replace("namespace: shop}", &format!("namespace: {namespace}}}"));
            for document in documents(&block)? {
                let kind = document["kind"].as_str().context("an object without kind")?.to_owned();
                // A decision is made, by whom it is signed; all else is applied.
                let (verb, who) = match kind.as_str() {
                    "PhaseAction" => ("create", you.as_path()),
                    _ => ("apply", plane.kubeconfig()),
                };
                let said = plane.run("kubectl", [verb, "-f", "-"], who, &document.to_string()).await?;
                ensure!(said.stderr.is_empty(), "{}: {kind}: {}", file.display(), said.stderr);
                said.ok()?;
                let from = document.pointer("/spec/source/repoURL").and_then(Value::as_str);
                let ours = from.is_none_or(|repository| repository.ends_with("cutover-dev/cutover"));
                for path in ["/spec/source/path", "/spec/chart/spec/chart"] {
                    if let Some(chart) = document.pointer(path).and_then(Value::as_str).filter(|_| ours) {
                        assert!(tools::repository().join(chart).join("Chart.yaml").is_file(), "{chart} is no chart");
                    }
                }
                kinds.insert(kind);
            }
        }
    }
    for kind in
        ["Environment", "TrafficSplit", "FeatureFlag", "MigrationPhase", "PhaseAction", "Application", "HelmRelease"]
    {
        assert!(kinds.contains(kind), "{kind} is not shown");
    }
    Ok(())
}

#[tokio::test]
async fn the_shop_is_accepted_as_a_user_applies_it() -> Result<()> {
    let plane = plane().await?;
    let folder = tools::repository().join("deploy/examples/shop").display().to_string();
    let said = plane.kubectl(["apply", "-k", &folder]).await?;
    assert_eq!(said.stderr, "");
    assert_eq!(said.ok()?.lines().count(), 10);
    Ok(())
}

#[test]
fn links_and_commands_of_the_documentation_lead_somewhere() -> Result<()> {
    let root = tools::repository();
    for file in markdown()? {
        let text = fs::read_to_string(&file)?;
        let folder = file.parent().context("a file in a folder")?;
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let there = target.starts_with("http") || folder.join(target).exists();
            assert!(there, "{}: {target} is not there", file.display());
        }
        for block in blocks(&text, "sh") {
            for word in
                block.split_whitespace().filter(|word| word.starts_with("charts/") || word.starts_with("deploy"))
            {
                assert!(root.join(word).exists(), "{}: {word} is not there", file.display());
            }
            for target in block.lines().filter_map(|line| line.strip_prefix("make ")) {
                let target = target.split_whitespace().next().unwrap_or_default();
                let makefile = fs::read_to_string(root.join("Makefile"))?;
                assert!(makefile.lines().any(|line| line.starts_with(&format!("{target}:"))), "make {target}");
            }
        }
    }
    Ok(())
}
