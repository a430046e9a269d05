//! A namespace in memory: carries plans out the way the API server does, as far as the engine can see.

use std::collections::BTreeMap;

use cutover_api::v1alpha1::{EnvironmentSpec, environment::IpFamily};
use jiff::Timestamp;
use k8s_openapi::{
    api::{apps::v1::DeploymentStatus, core::v1::Service, discovery::v1::EndpointSlice},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use crate::{
    Known,
    environment::{
        Applied, ConfigMapView, DeploymentView, Identity, Marks, ObjectKind, ObjectRef, Observed, Plan, PolicyView,
        ServiceView, Settled, SliceView, Step, Usage, Validated,
        plan::Body,
        resolve::{self, Published, Told},
        validate,
    },
};

pub const UID: &str = "11111111-2222-3333-4444-555555555555";

pub fn identity() -> Identity {
    Identity { namespace: "shop".into(), name: "production".into(), uid: UID.into() }
}

pub fn spec(yaml: &str) -> EnvironmentSpec {
    serde_yaml_ng::from_str(yaml).unwrap()
}

pub fn valid(yaml: &str) -> Validated {
    validate(identity(), &spec(yaml), &[]).unwrap()
}

/// What most tests are about: every kind of source, calls, dependencies, configuration.
pub const SHOP: &str = r#"
tier: Production
version: "2026.11.1"
components:
- name: monolith
  system: Legacy
  role: Monolith
  source:
    workload:
      image: registry.example.com/monolith:7
      replicas: 2
      ports: [{name: http, containerPort: 8080}]
      health: {path: /healthz, interval: 5s, liveness: false}
  callsTo: [database]
- name: storefront
  system: New
  role: Frontend
  source:
    workload:
      image: registry.example.com/storefront:1.4.2
      commit: 9f3c2ab
      replicas: 3
      ports: [{name: http, containerPort: 8080, servicePort: 80}, {name: metrics, containerPort: 9090}]
      env: [{name: LOG_LEVEL, value: debug}, {name: OWN, value: "1"}]
      resources: {requests: {cpu: 100m}, limits: {memory: 256Mi}}
  callsTo: [api]
  dependsOn: [api, database]
- name: api
  system: New
  role: Api
  source: {service: {name: api, port: 8081}}
- name: database
  system: Shared
  role: Database
  source: {external: {addresses: [203.0.113.7, 203.0.113.5], port: 5432}}
config: {LOG_LEVEL: info, REGION: eu}
"#;

/// One stored object.
#[derive(Clone, Debug)]
pub struct Stored {
    pub body: Body,
    pub uid: String,
    pub version: u64,
    pub generation: i64,
    pub status: DeploymentStatus,
}

/// The namespace.
#[derive(Clone, Debug, Default)]
pub struct World {
    pub objects: BTreeMap<ObjectRef, Stored>,
    pub settled: BTreeMap<ObjectRef, Settled>,
    /// Ready endpoints of Services of others.
    pub foreign_ready: BTreeMap<String, i32>,
    pub usage: Known<Usage>,
    /// What name servers said of the host names of components.
    pub told: BTreeMap<String, BTreeMap<IpFamily, Told>>,
    /// Whether the cluster has BackendTLSPolicies.
    pub policies_served: Known<bool>,
    /// Whether it has ServersTransports.
    pub transports_served: Known<bool>,
    /// ConfigMaps of authorities.
    pub authorities: BTreeMap<String, bool>,
    /// When addresses were seen, by the status.
    pub seen: Option<Timestamp>,
    clock: u64,
}

impl World {
    pub fn new() -> Self {
        Self {
            usage: Known::Known(Usage::default()),
            policies_served: Known::Known(true),
            transports_served: Known::Known(false),
            ..Self::default()
        }
    }

    /// A Service of somebody else.
    pub fn foreign_service(&mut self, name: &str, port: i32, ready: i32) {
        let service: Service = serde_json::from_value(serde_json::json!({
            "metadata": {"name": name}, "spec": {"selector": {"app": name}, "ports": [{"port": port}]},
        }))
        .unwrap();
        self.put(Body::Service(service));
        self.foreign_ready.insert(name.into(), ready);
    }

    pub fn put(&mut self, body: Body) -> &Stored {
        self.clock += 1;
        let object = body.object();
        let clock = self.clock;
        let stored = self.objects.entry(object).or_insert_with(|| Stored {
            body: body.clone(),
            uid: format!("uid-{clock}"),
            version: clock,
            generation: 1,
            status: DeploymentStatus::default(),
        });
        if stored.body != body {
            stored.body = body;
            stored.generation += 1;
        }
        stored.version = clock;
        stored
    }

    /// Carries a plan out; foreign objects fail the test.
    pub fn apply(&mut self, plan: &Plan) -> Applied {
        let mut applied = Applied::default();
        for step in &plan.steps {
            match step {
                Step::Claim { object, .. } => assert!(!self.objects.contains_key(object), "{object} is not seen"),
                Step::Apply { object, uid, body, hash, .. } => {
                    let there = self.objects.get(object).map(|stored| stored.uid.clone());
                    assert_eq!(there, *uid, "{object} is written only as it was seen");
                    if let (Some(Stored { body: Body::Service(before), .. }), Body::Service(after)) =
                        (self.objects.get(object), &**body)
                    {
                        assert_eq!(selector(before), selector(after), "{object}");
                    }
                    self.put((**body).clone());
                    let marks = self.marks(object).unwrap();
                    self.settled.insert(
                        object.clone(),
                        Settled { uid: marks.uid, revision: marks.revision, hash: hash.clone() },
                    );
                }
                Step::Delete { object, uid, .. } => {
                    let stored = self.objects.remove(object).unwrap();
                    assert_eq!(stored.uid, *uid);
                    self.settled.remove(object);
                    applied.deleted.push(object.clone());
                }
            }
        }
        applied
    }

    /// Every pod of every Deployment is ready and of the present form.
    pub fn roll_out(&mut self) {
        let names: Vec<ObjectRef> = self.objects.keys().cloned().collect();
        for object in names {
            self.scale(&object.name, i32::MAX);
        }
    }

    /// At most `ready` pods of a Deployment are ready.
    pub fn scale(&mut self, name: &str, ready: i32) {
        let Some(stored) = self.objects.get_mut(&ObjectRef::new(ObjectKind::Deployment, name)) else { return };
        let Body::Deployment(deployment) = &stored.body else { return };
        let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        stored.status = DeploymentStatus {
            observed_generation: Some(stored.generation),
            replicas: Some(wanted),
            updated_replicas: Some(wanted),
            ready_replicas: Some(wanted.min(ready)),
            ..DeploymentStatus::default()
        };
    }

    pub fn observe(&self) -> Observed {
        let mut observed = Observed {
            settled: self.settled.clone(),
            usage: self.usage.clone(),
            policies_served: self.policies_served,
            transports_served: self.transports_served,
            authorities: self.authorities.clone(),
            ..Observed::default()
        };
        for (object, stored) in &self.objects {
            let name = object.name.clone();
            match &stored.body {
                Body::Deployment(deployment) => {
                    let mut deployment = deployment.clone();
                    stamp(&mut deployment.metadata, stored);
                    deployment.status = Some(stored.status.clone());
                    observed.deployments.insert(name, DeploymentView::of(&deployment));
                }
                Body::Service(service) => {
                    let mut service = service.clone();
                    stamp(&mut service.metadata, stored);
                    let ready = self.foreign_ready.get(&name).map_or(Known::Unknown, |ready| Known::Known(*ready));
                    observed.services.insert(name, ServiceView { ready, ..ServiceView::of(&service) });
                }
                Body::EndpointSlice(slice) => {
                    let mut slice: EndpointSlice = slice.clone();
                    stamp(&mut slice.metadata, stored);
                    observed.slices.insert(name, SliceView::of(&slice));
                }
                Body::BackendTlsPolicy(policy) => {
                    let mut policy = policy.clone();
                    stamp(&mut policy.metadata, stored);
                    observed.policies.insert(name, PolicyView::of(&policy));
                }
                Body::ServersTransport(transport) => {
                    let mut metadata = transport.metadata.clone();
                    stamp(&mut metadata, stored);
                    observed.transports.insert(name, Marks::of(&metadata, false));
                }
                Body::ConfigMap(config_map) => {
                    let mut config_map = config_map.clone();
                    stamp(&mut config_map.metadata, stored);
                    observed.config_maps.insert(name, ConfigMapView::of(&config_map));
                }
            }
        }
        for (component, told) in &self.told {
            let identity = identity();
            let shown = resolve::published(&identity, component, &observed).flat_map(|(_, view)| view.addresses.iter());
            let addresses = shown.map(|address| address.parse().unwrap()).collect();
            let published = Published { addresses, seen: self.seen };
            observed.names.insert(component.clone(), resolve::next(&published, told, &[]));
        }
        observed
    }

    fn marks(&self, object: &ObjectRef) -> Option<Marks> {
        self.observe().marks(object).cloned()
    }

    pub fn has(&self, kind: ObjectKind, name: &str) -> bool {
        self.objects.contains_key(&ObjectRef::new(kind, name))
    }
}

fn selector(service: &Service) -> Option<&BTreeMap<String, String>> {
    service.spec.as_ref()?.selector.as_ref()
}

fn stamp(meta: &mut ObjectMeta, stored: &Stored) {
    meta.uid = Some(stored.uid.clone());
    meta.resource_version = Some(stored.version.to_string());
    meta.generation = Some(stored.generation);
}
