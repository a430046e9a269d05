//! What is seen of a flag. Reads caches, and from the API server only a phase in doubt and a ConfigMap that is to be made.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cutover_api::v1alpha1::{FeatureFlag, FeatureFlagStatus, MigrationPhase};
use cutover_engine::{
    Known,
    feature_flag::{Claim, ConfigMapView, Flag, Observed, Plan, config_map_name, decide},
};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client, ResourceExt, api::ListParams};

use crate::{
    caches::{Caches, ConfigMapRecord, Kinds},
    cluster::stores::Key,
    controllers::{Error, newest::Newest},
};

/// What is read.
pub(super) struct Sources {
    pub(super) kinds: Kinds,
    pub(super) caches: Caches,
    pub(super) newest: Newest<FeatureFlag>,
    pub(super) written: Written,
}

/// ConfigMaps as we wrote them, until the cache has caught up.
#[derive(Default)]
pub(super) struct Written {
    views: Mutex<HashMap<Key, ConfigMapView>>,
}

impl Written {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, ConfigMapView>> {
        self.views.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put(&self, key: Key, view: ConfigMapView) {
        self.lock().insert(key, view);
    }

    /// What the cache shows now. Returns whether that is our own last write and nothing else.
    pub(super) fn seen(&self, key: &Key, shown: Option<&ConfigMapView>) -> bool {
        let mut views = self.lock();
        let Some(written) = views.get(key) else { return false };
        let ours = shown.is_some_and(|shown| shown.version == written.version);
        let caught_up = shown.is_none_or(|shown| number(shown) >= number(written));
        if caught_up {
            views.remove(key);
        }
        ours
    }

    fn newest(&self, key: &Key, cached: Option<ConfigMapView>) -> Option<ConfigMapView> {
        let views = self.lock();
        match (views.get(key), cached) {
            (Some(written), Some(cached)) if number(written) <= number(&cached) => Some(cached),
            (Some(written), _) => Some(written.clone()),
            (None, cached) => cached,
        }
    }
}

fn number(view: &ConfigMapView) -> u64 {
    view.version.parse().unwrap_or(0)
}

/// What was read for one decision.
pub(super) struct Snapshot {
    flag: Arc<FeatureFlag>,
    others: Vec<Arc<FeatureFlag>>,
    namespace: String,
    claims: Vec<Claim>,
    absent: Vec<String>,
    environment: bool,
    config_map: Option<ConfigMapView>,
    looked: bool,
}

impl Sources {
    /// What the caches show.
    pub(super) fn observe(&self, flag: Arc<FeatureFlag>) -> Snapshot {
        let namespace = flag.namespace().unwrap_or_default();
        let environment = flag.spec.environment.clone();
        let name = flag.name_any();
        let others = self.kinds.flags.filter(|other| {
            other.spec.environment == environment
                && other.metadata.namespace.as_deref() == Some(&namespace)
                && other.metadata.name.as_deref() != Some(&name)
        });
        let holder = flag.status.as_ref().and_then(|status| status.held_by.as_ref()).map(|holder| holder.uid.clone());
        let phases = self.kinds.phases.filter(|phase| phase.metadata.namespace.as_deref() == Some(&namespace));
        let claims = phases
            .iter()
            .map(|phase| Claim::of(phase, &name, false))
            .filter(|claim| claim.request.is_some() || Some(&claim.uid) == holder.as_ref());
        let key = Key::new(&namespace, &config_map_name(&environment));
        Snapshot {
            claims: claims.collect(),
            absent: Vec::new(),
            environment: self.kinds.environments.get(&namespace, &environment).is_some(),
            config_map: self.present(&key),
            looked: false,
            others: others.into_iter().map(|other| self.newest.of(other)).collect(),
            namespace,
            flag,
        }
    }

    /// The present version of a ConfigMap of flags.
    pub(super) fn version(&self, namespace: &str, name: &str) -> Option<String> {
        self.present(&Key::new(namespace, name)).map(|view| view.version)
    }

    fn present(&self, key: &Key) -> Option<ConfigMapView> {
        let cached = self.caches.config_maps.get(&key.namespace, &key.name);
        let cached = cached.and_then(|record| match &*record {
            ConfigMapRecord::Flags(view) => Some(view.clone()),
            ConfigMapRecord::Environment(_) | ConfigMapRecord::Split(_) => None,
        });
        self.written.newest(key, cached)
    }

    /// Decides, and reads what is in doubt until nothing is.
    pub(super) async fn settle(client: &Client, snapshot: &mut Snapshot) -> Result<Plan, Error> {
        loop {
            let plan = snapshot.decide();
            if let Some(phase) = &plan.doubt {
                snapshot.confirm(client, phase).await?;
            } else if plan.write.as_ref().is_some_and(|write| write.version.is_none()) && !snapshot.looked {
                snapshot.look(client).await?;
            } else {
                return Ok(plan);
            }
        }
    }
}

impl Snapshot {
    fn decide(&self) -> Plan {
        let nothing = FeatureFlagStatus::default();
        let name = self.flag.name_any();
        let names: Vec<String> = self.others.iter().map(|other| other.name_any()).collect();
        let others = self.others.iter().zip(&names).map(|(other, name)| view(other, name, &nothing));
        decide(&Observed {
            namespace: &self.namespace,
            flag: view(&self.flag, &name, &nothing),
            others: others.collect(),
            claims: Known::Known(self.claims.clone()),
            absent: self.absent.clone(),
            environment: Known::Known(self.environment),
            config_map: self.config_map.clone(),
        })
    }

    async fn confirm(&mut self, client: &Client, phase: &str) -> Result<(), Error> {
        let api: Api<MigrationPhase> = Api::namespaced(client.clone(), &self.namespace);
        let found = api.get_opt(phase).await.map_err(|source| Error::ReadPhase { phase: phase.to_owned(), source })?;
        self.claims.retain(|claim| claim.phase != phase);
        match found {
            Some(found) => self.claims.push(Claim::of(&found, &self.flag.name_any(), true)),
            None => self.absent.push(phase.to_owned()),
        }
        Ok(())
    }

    /// Whether somebody has the name: what is not ours is in no cache. A list, so that no right to read by name is needed.
    async fn look(&mut self, client: &Client) -> Result<(), Error> {
        self.looked = true;
        let name = config_map_name(&self.flag.spec.environment);
        let api: Api<ConfigMap> = Api::namespaced(client.clone(), &self.namespace);
        let named = ListParams::default().fields(&format!("metadata.name={name}"));
        let found =
            api.list(&named).await.map_err(|source| Error::Look { object: format!("ConfigMap {name}"), source })?;
        self.config_map = found.items.first().map(ConfigMapView::of);
        Ok(())
    }
}

fn view<'a>(flag: &'a FeatureFlag, name: &'a str, nothing: &'a FeatureFlagStatus) -> Flag<'a> {
    let meta = &flag.metadata;
    Flag {
        name,
        created: meta.creation_timestamp.as_ref().map(|time| time.0),
        deleting: meta.deletion_timestamp.is_some(),
        guarded: flag.finalizers().iter().any(|name| name == cutover_api::labels::FINALIZER_FEATURE_FLAG),
        spec: &flag.spec,
        status: flag.status.as_ref().unwrap_or(nothing),
    }
}
