//! An API server in memory that knows one phase, its split, and actions on it; and the split's controller, as far as the phase can
//! tell: it grants and follows at once.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cutover_api::{labels::MANAGER_MIGRATION_PHASE, v1alpha1::MigrationPhase};
use http::Method;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::super::{Checks, Context, Hooks, Settled, Sink, Sources};
use crate::{
    cluster::{
        events::Events,
        policies::Enforcement,
        scripted::{Exchange, Scripted, server},
    },
    controllers::{
        driver::Reconciler,
        jobs::Jobs,
        newest::Newest,
        scripted::{Shown, object},
    },
    metrics::Metrics,
    outbound::{
        self,
        http_probe::Probes,
        notify::{self, Notifier},
        prometheus::Servers,
        reach::Reach,
    },
};

pub(super) const PHASE: &str = "/apis/cutover.dev/v1alpha1/namespaces/shop/migrationphases/30-shift";
pub(super) const STATUS: &str = "/apis/cutover.dev/v1alpha1/namespaces/shop/migrationphases/30-shift/status";
const ACTIONS: &str = "/apis/cutover.dev/v1alpha1/namespaces/shop/phaseactions/";

/// Where an action of this name is read.
pub(super) fn action_path(name: &str) -> String {
    format!("{ACTIONS}{name}")
}

/// Where its status is written.
pub(super) fn action_status(name: &str) -> String {
    format!("{ACTIONS}{name}/status")
}

/// When the process is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kill {
    /// This request, counted from 0, is under way and has not been carried out.
    Before(usize),
    /// It has been carried out, and its answer is not there yet.
    After(usize),
}

/// What the API server has stored.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) phase: Value,
    pub(super) split: Value,
    /// Splits besides `split`.
    pub(super) other_splits: Vec<Value>,
    pub(super) flags: Vec<Value>,
    pub(super) actions: Vec<Value>,
    pub(super) http_route: Option<Value>,
    pub(super) jobs: Vec<Value>,
    pub(super) enforcement: Enforcement,
    pub(super) servers: Servers,
    pub(super) receivers: notify::Sinks,
    /// Requests of the controller so far.
    pub(super) requests: usize,
    version: u64,
}

impl World {
    /// Nothing has moved yet; the split is at 0.
    pub(super) fn new(spec: &Value) -> Self {
        let meta = |name: &str, uid: &str| {
            json!({
                "name": name, "namespace": "shop", "uid": uid, "resourceVersion": "100", "generation": 1,
                "creationTimestamp": "2026-11-01T00:00:00Z",
            })
        };
        let phase = json!({
            "apiVersion": "cutover.dev/v1alpha1", "kind": "MigrationPhase",
            "metadata": meta("30-shift", "p1"), "spec": spec,
        });
        let split = json!({
            "apiVersion": "cutover.dev/v1alpha1", "kind": "TrafficSplit",
            "metadata": meta("storefront", "s1"),
            "spec": {
                "hosts": ["shop.example.com"],
                "legacy": {"service": {"name": "old", "port": 80}}, "new": {"service": {"name": "new", "port": 80}},
                "newWeight": 0, "routers": [{"gatewayApi": {"parentRefs": [{"name": "edge"}]}}],
            },
            "status": {
                "observedGeneration": 1, "desiredWeight": 0, "appliedWeight": 0, "exposure": "Exposed",
                "endpoints": {"legacy": {"ready": 3}, "new": {"ready": 3}},
            },
        });
        Self {
            phase,
            split,
            other_splits: Vec::new(),
            flags: Vec::new(),
            actions: Vec::new(),
            http_route: None,
            jobs: Vec::new(),
            enforcement: Enforcement::Enforced,
            servers: Servers::new(),
            receivers: notify::Sinks::default(),
            requests: 0,
            version: 100,
        }
    }

    /// From 0 to 100 in one step that is approved.
    pub(super) fn with_approval() -> Self {
        let all = json!({
            "name": "all", "traffic": [{"split": "storefront", "newWeight": 100}], "soak": "0s",
            "approval": {"required": 1},
        });
        Self::new(&json!({"steps": [all]}))
    }

    /// From nothing to all in three steps of two splits and a flag, each step approved.
    pub(super) fn with_two_splits_and_a_flag() -> Self {
        let step = |name: &str, storefront: i32, api: i32, percent: i32| {
            json!({
                "name": name, "soak": "0s", "approval": {"required": 1},
                "traffic": [{"split": "storefront", "newWeight": storefront}, {"split": "api", "newWeight": api}],
                "flags": [{"flag": "checkout", "percent": percent}],
            })
        };
        let mut world =
            Self::new(&json!({"steps": [step("few", 5, 10, 5), step("half", 50, 50, 50), step("all", 100, 100, 100)]}));
        let mut api = world.split.clone();
        (api["metadata"]["name"], api["metadata"]["uid"]) = ("api".into(), "s2".into());
        world.other_splits.push(api);
        let percentage = json!({"growing": "on", "rest": "off", "percent": 0});
        let mut flag = json!({
            "apiVersion": "cutover.dev/v1alpha1", "kind": "FeatureFlag", "metadata": world.split["metadata"],
            "spec": {
                "environment": "production", "variants": {"on": true, "off": false}, "defaultVariant": "off",
                "rules": [{"name": "rollout", "percentage": percentage}],
            },
            "status": {"observedGeneration": 1, "percent": 0},
        });
        (flag["metadata"]["name"], flag["metadata"]["uid"]) = ("checkout".into(), "f1".into());
        world.flags.push(flag);
        world
    }

    /// From 0 to 100 in one step that soaks for long.
    pub(super) fn soaking() -> Self {
        let all = json!({"name": "all", "traffic": [{"split": "storefront", "newWeight": 100}], "soak": "24h"});
        Self::new(&json!({"steps": [all]}))
    }

    /// A person acts on the phase's present attempt.
    pub(super) fn act(&mut self, name: &str, action: &str) -> &mut Value {
        let mut spec = json!({
            "phase": "30-shift", "phaseUID": "p1", "attempt": self.phase["status"]["attempt"], "action": action,
            "requestedBy": "alice", "reason": "ticket 4711",
        });
        if action == "Approve" {
            spec["step"] = self.phase["status"]["step"]["name"].clone();
        }
        self.actions.push(json!({
            "apiVersion": "cutover.dev/v1alpha1", "kind": "PhaseAction",
            "metadata": {
                "name": name, "namespace": "shop", "uid": format!("uid-{name}"), "resourceVersion": "7",
                "creationTimestamp": jiff::Timestamp::now().to_string(),
            },
            "spec": spec,
        }));
        self.actions.last_mut().unwrap()
    }

    pub(super) fn action(&self, name: &str) -> &Value {
        self.actions.iter().find(|action| action["metadata"]["name"] == name).unwrap()
    }

    /// The phase as a cache shows it.
    pub(super) fn cached(&self) -> Arc<MigrationPhase> {
        Arc::new(object(&self.phase))
    }

    /// What the caches show now.
    pub(super) fn shown(&self) -> Shown {
        let environment = json!({
            "metadata": {"name": "production", "namespace": "shop", "uid": "e1", "resourceVersion": "1"},
            "spec": {"tier": "Production", "components": []},
        });
        Shown {
            environments: vec![environment],
            splits: std::iter::once(&self.split).chain(&self.other_splits).cloned().collect(),
            flags: self.flags.clone(),
            phases: vec![self.phase.clone()],
            actions: self.actions.clone(),
            jobs: self.jobs.clone(),
            http_routes: self.http_route.iter().cloned().collect(),
            ..Shown::default()
        }
    }

    /// A process that has just started, with caches as of now. Its Events go to a server of their own.
    pub(super) fn start(&self) -> (Context, Scripted, Scripted) {
        let (client, api) = server();
        let (events_client, events) = server();
        let states = Metrics::new().unwrap().object_gauges("cutover_phase_state", "State.", &["state"]).unwrap();
        let caches = self.shown().caches();
        let hooks = Hooks::new(Jobs::new(client.clone(), caches.jobs.clone(), MANAGER_MIGRATION_PHASE)).0;
        let http = outbound::http_client(Duration::from_secs(10), None).unwrap();
        let deliveries = Metrics::new().unwrap().notifications;
        let notifier = Notifier::start(&http, self.receivers.clone(), deliveries, notify::Timing::default());
        let sources = Sources {
            kinds: self.shown().kinds(),
            caches,
            hooks: hooks.clone(),
            checks: Checks::new(
                self.servers.clone(),
                Probes::new(Reach::new(&[]), rustls::RootCertStore::empty()),
                hooks.clone(),
            )
            .0,
            settled: Settled::default(),
            watching_since: Instant::now(),
            skew: watch::channel(None).1,
            clock_is_compared: false,
            policies: watch::channel(self.enforcement).1,
            trust_unenforced_policies: false,
            notifier: notifier.clone(),
        };
        let sink = Sink {
            client,
            hooks,
            audit: Arc::default(),
            notifier,
            events: Events::start(events_client, "cutover.dev/migration-phase", "test"),
        };
        (Context { sources, sink, newest: Newest::default(), states }, api, events)
    }

    /// The API server's part in one request.
    pub(super) fn carry_out(&mut self, request: &Exchange) -> Result<Value, http::StatusCode> {
        let (object, status) = match request.path.strip_suffix("/status") {
            Some(object) => (object, true),
            None => (request.path.as_str(), false),
        };
        let stored = match object.strip_prefix(ACTIONS) {
            Some(name) => self.actions.iter_mut().find(|action| action["metadata"]["name"] == name),
            None if object == PHASE => Some(&mut self.phase),
            None => panic!("not asked for by this controller: {} {}", request.method, request.path),
        };
        let stored = stored.ok_or(http::StatusCode::NOT_FOUND)?;
        match (&request.method, status) {
            (&Method::GET, false) => {}
            (&Method::PATCH, true) => {
                let meta = &request.body["metadata"];
                let same = |field: &str| meta[field].is_null() || meta[field] == stored["metadata"][field];
                if !(same("uid") && same("resourceVersion")) {
                    return Err(http::StatusCode::CONFLICT);
                }
                self.version += 1;
                stored["status"] = request.body["status"].clone();
                stored["metadata"]["resourceVersion"] = self.version.to_string().into();
            }
            (method, _) => panic!("{method} {}", request.path),
        }
        Ok(stored.clone())
    }

    /// Serves the controller until it, or the process, ends.
    async fn serve(&mut self, mut api: Scripted, kill: Option<Kill>) {
        while let Some(request) = api.upcoming().await {
            let at = self.requests;
            self.requests += 1;
            if kill == Some(Kill::Before(at)) {
                return;
            }
            let answer = self.carry_out(&request);
            if kill == Some(Kill::After(at)) {
                return;
            }
            match answer {
                Ok(object) => request.ok(&object),
                Err(status) => request.refuse(status, "Scripted"),
            }
        }
    }

    /// One reconcile of a process that has just started; whether it made any request.
    pub(super) async fn reconcile(&mut self, kill: Option<Kill>) -> bool {
        let (context, api, _events) = self.start();
        let (cached, before) = (self.cached(), self.requests);
        let work = async move {
            let result = context.reconcile(cached).await;
            drop(context);
            result
        };
        tokio::pin!(work);
        tokio::select! {
            biased;
            () = self.serve(api, kill) => {}
            result = &mut work => drop(result.unwrap()),
        }
        self.requests != before
    }

    /// The splits and flags grant and follow; whether that changed any.
    pub(super) fn follow(&mut self) -> bool {
        let phase = &self.phase["status"];
        let holds = ["Running", "Paused", "RollingBack", "Frozen"].iter().any(|state| phase["state"] == *state);
        let mut changed = false;
        let splits = std::iter::once(&mut self.split).chain(&mut self.other_splits).map(|it| ("split", it));
        for (kind, object) in splits.chain(self.flags.iter_mut().map(|it| ("flag", it))) {
            let before = object["status"].clone();
            let asked = phase["requests"][format!("{kind}s")].as_array().into_iter().flatten();
            let asked = asked.filter(|_| holds).find(|asked| asked[kind] == object["metadata"]["name"]);
            let (status, holder) = (&mut object["status"], if kind == "split" { "holder" } else { "heldBy" });
            match asked {
                Some(request) => {
                    if let Some(weight) = request["newWeight"].as_i64() {
                        (status["desiredWeight"], status["appliedWeight"]) = (weight.into(), weight.into());
                    }
                    if let Some(percent) = request["percent"].as_i64() {
                        status["percent"] = percent.into();
                    }
                    status[holder] = json!({
                        "phase": "30-shift", "uid": "p1", "attempt": phase["attempt"], "epoch": 1,
                        "requestRevision": phase["requestRevision"],
                    });
                }
                None => drop(status.as_object_mut().unwrap().remove(holder)),
            }
            changed |= *status != before;
        }
        changed
    }

    /// Lets everybody do their part until nothing happens any more. A kill ends one process; the next one goes on from what is stored.
    pub(super) async fn run(&mut self, mut kill: Option<Kill>, mut person: impl FnMut(&mut Self) -> bool) {
        for _ in 0..100 {
            let wrote = self.reconcile(kill).await;
            if matches!(kill, Some(Kill::Before(at) | Kill::After(at)) if at < self.requests) {
                kill = None;
                continue;
            }
            let (followed, acted) = (self.follow(), person(self));
            if !wrote && !followed && !acted {
                return;
            }
        }
        panic!("it never comes to rest: {:#}", self.phase["status"]);
    }

    /// Runs without anybody's action.
    pub(super) async fn settle(mut self) -> Self {
        self.run(None, |_| false).await;
        self
    }

    pub(super) fn stage(&self) -> &Value {
        &self.phase["status"]["step"]["stage"]
    }
}
