//! `status` and `history`: what the cluster says, once or as it changes.

use std::{fmt::Debug, hash::Hash, time::Duration};

use anyhow::Result;
use cutover_api::v1alpha1::{Environment, FeatureFlag, MigrationPhase, PhaseAction, TrafficSplit};
use cutover_engine::show::{Objects, Overview, history as past, overview, tree};
use futures::{Stream, StreamExt, stream::BoxStream};
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use kube::{
    Resource,
    runtime::{
        WatchStreamExt,
        reflector::{Store, store},
        watcher,
    },
};
use serde::de::DeserializeOwned;

use crate::{
    args::{Connection, Format, Status},
    cluster::Cluster,
    exit::Exit,
    output::{self, on_terminal, paint},
};

/// Changes that come together are shown together.
const CALM: Duration = Duration::from_millis(100);
/// How often a terminal is drawn anew, for the times that pass.
const TICK: Duration = Duration::from_secs(1);
/// Clears the terminal and puts the cursor in its corner.
const CLEAR: &str = "\u{1b}[H\u{1b}[2J";

pub(crate) async fn run(connection: Connection, what: Status) -> Result<Exit> {
    let cluster = Cluster::connect(connection).await?;
    if let Some(name) = what.phase.as_deref().filter(|_| !what.all_namespaces) {
        cluster.phase(name).await?;
    }
    let objects = cluster.objects(what.all_namespaces).await?;
    if !what.watch {
        show(&overview(&objects, what.phase.as_deref()), &what, &cluster.namespace)?;
        return Ok(Exit::Done);
    }
    watch(&cluster, &what).await
}

pub(crate) async fn history(connection: Connection, phase: String, output: Option<Format>) -> Result<Exit> {
    let cluster = Cluster::connect(connection).await?;
    let phase = cluster.phase(&phase).await?;
    let actions: Vec<PhaseAction> = cluster.list(false).await?;
    let history = past::history(&phase, &actions);
    match output {
        Some(format) => output::data(&history, format)?,
        None => output::print(&past::text(&history, paint()))?,
    }
    Ok(Exit::Done)
}

fn show(overview: &Overview, what: &Status, namespace: &str) -> Result<()> {
    if let Some(format) = what.output {
        return output::data(overview, format);
    }
    if overview.environments.is_empty() {
        let place = if what.all_namespaces { "any namespace".to_owned() } else { format!("namespace {namespace}") };
        output::complain(&format!("there is no Environment and no MigrationPhase in {place}"));
    }
    output::print(&tree::tree(overview, Timestamp::now(), what.all_namespaces, paint()))
}

/// What is watched, as it was last seen.
struct Seen {
    environments: Store<Environment>,
    phases: Store<MigrationPhase>,
    splits: Store<TrafficSplit>,
    flags: Store<FeatureFlag>,
}

impl Seen {
    async fn ready(&self) -> Result<()> {
        self.environments.wait_until_ready().await?;
        self.phases.wait_until_ready().await?;
        self.splits.wait_until_ready().await?;
        Ok(self.flags.wait_until_ready().await?)
    }

    fn objects(&self) -> Objects {
        Objects {
            environments: all(&self.environments),
            phases: all(&self.phases),
            splits: all(&self.splits),
            flags: all(&self.flags),
        }
    }
}

fn all<K>(store: &Store<K>) -> Vec<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    store.state().iter().map(|object| object.as_ref().clone()).collect()
}

async fn watch(cluster: &Cluster, what: &Status) -> Result<Exit> {
    let (environments, a) = follow(cluster, what.all_namespaces);
    let (phases, b) = follow(cluster, what.all_namespaces);
    let (splits, c) = follow(cluster, what.all_namespaces);
    let (flags, d) = follow(cluster, what.all_namespaces);
    let seen = Seen { environments, phases, splits, flags };
    let mut changes = futures::stream::select_all([a, b, c, d]);
    {
        let mut ready = std::pin::pin!(seen.ready());
        loop {
            tokio::select! {
                outcome = &mut ready => break outcome?,
                change = changes.next() => report(change),
            }
        }
    }
    let mut shown: Option<Overview> = None;
    loop {
        let now = overview(&seen.objects(), what.phase.as_deref());
        let redraw = what.output.is_none() && on_terminal();
        if redraw || shown.as_ref() != Some(&now) {
            draw(&now, what, &cluster.namespace, redraw)?;
            shown = Some(now);
        }
        tokio::select! {
            change = changes.next() => {
                report(change);
                let calm = tokio::time::sleep(CALM);
                tokio::pin!(calm);
                loop {
                    tokio::select! {
                        () = &mut calm => break,
                        change = changes.next() => report(change),
                    }
                }
            }
            () = tokio::time::sleep(TICK), if redraw => {}
        }
    }
}

fn draw(overview: &Overview, what: &Status, namespace: &str, redraw: bool) -> Result<()> {
    match what.output {
        Some(Format::Json) => output::print(&format!("{}\n", serde_json::to_string(overview)?)),
        Some(Format::Yaml) => output::print(&format!("---\n{}", serde_yaml_ng::to_string(overview)?)),
        None => {
            let now = Timestamp::now().round(jiff::Unit::Second)?;
            output::print(&format!("{}{now}\n", if redraw { CLEAR } else { "" }))?;
            show(overview, what, namespace)
        }
    }
}

/// A watch that fails is tried again; meanwhile what is shown may be old.
fn report(change: Option<Result<(), watcher::Error>>) {
    if let Some(Err(error)) = change {
        output::complain(&format!("what is shown may be old: {error}; trying again"));
    }
}

fn follow<K>(cluster: &Cluster, everywhere: bool) -> (Store<K>, BoxStream<'static, Result<(), watcher::Error>>)
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
    K::DynamicType: Hash + Eq + Clone + Default,
{
    let (reader, writer) = store();
    let events = watcher(cluster.api::<K>(everywhere), watcher::Config::default());
    (reader, quiet(events.default_backoff().reflect(writer)))
}

/// That something changed; what it was is in the store.
fn quiet<K: Send + 'static>(
    events: impl Stream<Item = Result<watcher::Event<K>, watcher::Error>> + Send + 'static,
) -> BoxStream<'static, Result<(), watcher::Error>> {
    events.map(|event| event.map(drop)).boxed()
}
