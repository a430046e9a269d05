//! One row of the table: plays it as a user would, with kubectl, and judges what comes back.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use cutover_testkit::{control_plane::ControlPlane, eventually, in_time};
use futures::{StreamExt, TryStreamExt};
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, ListParams, WatchEvent, WatchParams},
    core::{ApiResource, GroupVersionKind},
};
use serde::Deserialize;
use serde_json::Value;

use super::still::Still;

/// How long a row is looked at before it counts as never told.
const PATIENCE: Duration = Duration::from_secs(75);

/// A wrong manifest and what is to become of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    /// The mistake, in words.
    pub(super) name: String,
    /// Who makes it.
    #[serde(rename = "as", default = "dana")]
    user: String,
    /// What is there before it, besides the world.
    #[serde(default)]
    given: Option<String>,
    manifest: String,
    /// What the API server says.
    #[serde(default)]
    refused: Vec<String>,
    /// What the status says.
    #[serde(default)]
    told: Option<Told>,
    /// What it makes of its own all the same, as kind and name; `*` stands for the rest of a name.
    #[serde(default)]
    makes: Vec<String>,
}

fn dana() -> String {
    "dana".to_owned()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    reason: String,
    says: Vec<String>,
}

/// A row that went as it should, to be looked at once more later.
pub(super) struct Played {
    namespace: String,
    own: String,
    makes: Vec<String>,
    before: Still,
}

impl Played {
    /// Nothing has moved since.
    pub(super) async fn still(&self, client: &Client) -> Result<()> {
        let later = Still::look(client, &self.namespace).await?;
        self.before.same(&later, &self.own, &self.makes).context("later")
    }
}

impl Row {
    pub(super) fn expects_nothing(&self) -> bool {
        self.refused.is_empty() == self.told.as_ref().is_none_or(|told| told.says.is_empty())
    }

    /// Makes the world, applies the manifest, and judges the outcome.
    pub(super) async fn play(
        &self,
        plane: &ControlPlane,
        client: &Client,
        kubeconfigs: &BTreeMap<String, PathBuf>,
    ) -> Result<Played> {
        let namespace = plane.unique_namespace().await?;
        plane.apply_yaml(&namespace, include_str!("world.yaml")).await?;
        settled(client, &namespace).await?;
        if let Some(given) = &self.given {
            plane.apply_yaml(&namespace, given).await?;
        }
        let before = settled(client, &namespace).await?;

        let object: DynamicObject = serde_yaml_ng::from_str(&self.manifest).context("the manifest")?;
        let types = object.types.clone().context("a manifest without a kind")?;
        let (kind, name) = (types.kind, object.name_any());
        let own = format!("{kind}/{name}");
        let watched = Watched::start(client, &namespace, &kind, &name).await?;
        let kubeconfig = kubeconfigs.get(&self.user).with_context(|| format!("nobody is called {}", self.user))?;
        let args = ["apply", "--namespace", &namespace, "--filename", "-"];
        let answer = plane.run("kubectl", args, kubeconfig, &self.manifest).await?;
        match &self.told {
            None => {
                ensure!(!answer.status.success(), "kubectl applied it: {}", answer.stdout);
                says(&answer.stderr, &self.refused)?;
            }
            Some(told) => {
                ensure!(answer.status.success(), "refused: {}", answer.stderr);
                watched.until_told(told).await?;
            }
        }
        let after = Still::look(client, &namespace).await?;
        before.same(&after, &own, &self.makes)?;
        Ok(Played { namespace, own, makes: self.makes.clone(), before })
    }
}

fn says(text: &str, expected: &[String]) -> Result<()> {
    let missing: Vec<_> = expected.iter().filter(|part| !text.contains(part.as_str())).collect();
    ensure!(missing.is_empty(), "does not say {missing:?} but: {text}");
    Ok(())
}

/// Waits until everything in the namespace has come to rest, and says what there is then.
async fn settled(client: &Client, namespace: &str) -> Result<Still> {
    let api = |kind: &str| api(client, namespace, kind);
    eventually("the world at rest", Duration::from_secs(30), || async {
        let first = Still::look(client, namespace).await?;
        ensure!(first.has("ConfigMap/kube-root-ca.crt"), "the namespace is not complete");
        for split in api("TrafficSplit").list(&ListParams::default()).await? {
            let attached = split.data["spec"]["routers"][0]["gatewayApi"].is_object();
            // Nobody accepts HTTPRoutes here: a split that moves one never gets further than having written it.
            let done = if attached { "Reconciling" } else { "Ready" };
            ensure!(is_true(&split, done), "{}: {}", split.name_any(), split.data["status"]);
        }
        for environment in api("Environment").list(&ListParams::default()).await? {
            ensure!(is_true(&environment, "Ready"), "{}: {}", environment.name_any(), environment.data["status"]);
        }
        for flag in api("FeatureFlag").list(&ListParams::default()).await? {
            ensure!(is_true(&flag, "Ready"), "{}: {}", flag.name_any(), flag.data["status"]);
        }
        for phase in api("MigrationPhase").list(&ListParams::default()).await? {
            let (state, stage) = (&phase.data["status"]["state"], &phase.data["status"]["step"]["stage"]);
            let at_rest = state == "Waiting" || stage == "Soaking";
            ensure!(at_rest, "{}: {}", phase.name_any(), phase.data["status"]);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        let second = Still::look(client, namespace).await?;
        ensure!(first == second, "{first:?} became {second:?}");
        Ok(second)
    })
    .await
}

fn is_true(object: &DynamicObject, type_: &str) -> bool {
    let status = &object.data["status"];
    status["observedGeneration"].as_i64() == object.metadata.generation
        && conditions(status).any(|condition| condition["type"] == type_ && condition["status"] == "True")
}

fn conditions(status: &Value) -> impl Iterator<Item = &Value> {
    status["conditions"].as_array().into_iter().flatten()
}

fn api(client: &Client, namespace: &str, kind: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("cutover.dev", "v1alpha1", kind));
    Api::namespaced_with(client.clone(), namespace, &resource)
}

/// An object whose every version is looked at as it comes, from before it is applied.
struct Watched {
    api: Api<DynamicObject>,
    params: WatchParams,
    version: String,
    generation: Option<i64>,
}

impl Watched {
    async fn start(client: &Client, namespace: &str, kind: &str, name: &str) -> Result<Self> {
        let api = api(client, namespace, kind);
        let list = api.list(&ListParams::default()).await?;
        let generation =
            list.items.iter().find(|object| object.name_any() == name).and_then(|it| it.metadata.generation);
        let version = list.metadata.resource_version.context("a list without a version")?;
        let params = WatchParams::default().fields(&format!("metadata.name={name}"));
        Ok(Self { api, params, version, generation })
    }

    /// Waits until the status of the new generation says what it should.
    async fn until_told(self, told: &Told) -> Result<()> {
        let mut events = self.api.watch(&self.params, &self.version).await?.boxed();
        let mut last = Value::Null;
        let outcome = in_time(PATIENCE, async {
            while let Some(event) = events.try_next().await? {
                let (WatchEvent::Added(object) | WatchEvent::Modified(object)) = event else { continue };
                if object.metadata.generation == self.generation {
                    continue;
                }
                last = object.data["status"].clone();
                if last["observedGeneration"].as_i64() == object.metadata.generation
                    && findings(&last)
                        .any(|(reason, message)| reason == told.reason && says(message, &told.says).is_ok())
                {
                    return Ok(());
                }
            }
            bail!("the watch ended")
        })
        .await;
        match outcome {
            Ok(told) => told,
            Err(_) => bail!("status does not say {}, {:?} but: {last}", told.reason, told.says),
        }
    }
}

/// Reasons and messages of a status: of conditions that say that something is open, and of what a phase is blocked by.
fn findings(status: &Value) -> impl Iterator<Item = (&str, &str)> {
    let open = conditions(status).filter(|condition| match condition["type"].as_str() {
        Some("Ready") => condition["status"] == "False",
        Some("Stalled" | "Reconciling") => condition["status"] == "True",
        _ => false,
    });
    let blocked = status["blockedBy"].as_array().into_iter().flatten();
    open.chain(blocked).filter_map(|entry| Some((entry["reason"].as_str()?, entry["message"].as_str()?)))
}
