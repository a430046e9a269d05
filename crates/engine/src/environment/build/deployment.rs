//! The Deployment of a component that the operator runs.
//!
//! Pods pass Pod Security `restricted`. The root file system is left writable: many images write below it, and a user who
//! wants it read-only says so in `podTemplate`.

use std::collections::BTreeMap;

use cutover_api::{labels, v1alpha1::environment::Workload};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{
            Capabilities, ConfigMapKeySelector, Container, ContainerPort, EnvVar, EnvVarSource, PodSecurityContext,
            PodSpec, PodTemplateSpec, SeccompProfile, SecurityContext, TopologySpreadConstraint,
        },
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};

use super::{metadata, probes};
use crate::{
    environment::{
        discovery,
        names::CONTAINER,
        pod_template::merged,
        validate::{Component, Validated},
    },
    hash::short_hash,
};

/// Former forms that are kept to look at.
const HISTORY: i32 = 3;

/// The Deployment; `None` for a component that the operator does not run.
#[must_use]
pub fn build_deployment(environment: &Validated, component: &Component) -> Option<Deployment> {
    let workload = super::workload_of(component)?;
    let identity = &environment.identity;
    let built = pod_template(environment, component, workload);
    let mut template = match &workload.pod_template {
        // Validation has merged it before: it cannot fail here.
        Some(patch) => merged(&built, patch).unwrap_or(built),
        None => built,
    };
    let own = identity.pod_labels(&component.name, component.system, component.role);
    template.metadata.get_or_insert_default().labels.get_or_insert_default().extend(own);
    Some(Deployment {
        metadata: metadata(identity, component, identity.object(&component.name)),
        spec: Some(DeploymentSpec {
            replicas: Some(workload.replicas),
            revision_history_limit: Some(HISTORY),
            selector: LabelSelector { match_labels: Some(identity.selector(&component.name)), match_expressions: None },
            // Never fewer than wanted: a pod goes when its successor is ready.
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".into()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(1)),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            template,
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    })
}

/// The pod template before the user's own is merged over it.
#[must_use]
pub fn pod_template(environment: &Validated, component: &Component, workload: &Workload) -> PodTemplateSpec {
    let identity = &environment.identity;
    let mut read = discovery::read_by(environment, component);
    read.retain(|name, _| !workload.env.iter().any(|own| own.name == *name));
    let hash = (!read.is_empty()).then(|| BTreeMap::from([(labels::CONFIG_HASH.to_owned(), short_hash(&read))]));
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(identity.pod_labels(&component.name, component.system, component.role)),
            annotations: hash,
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            containers: vec![container(workload, &environment_of(&identity.config_map(), &read, &workload.env))],
            // What a pod does not need it does not get: no token of the API, no variables for every Service around.
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            security_context: Some(PodSecurityContext {
                run_as_non_root: Some(true),
                seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".into(), localhost_profile: None }),
                ..PodSecurityContext::default()
            }),
            termination_grace_period_seconds: Some(probes::GRACE_SECONDS),
            topology_spread_constraints: Some(vec![spread(identity.selector(&component.name))]),
            ..PodSpec::default()
        }),
    }
}

fn container(workload: &Workload, env: &[EnvVar]) -> Container {
    let ports = workload.ports.iter().map(|port| ContainerPort {
        name: Some(port.name.clone()),
        container_port: port.container_port,
        protocol: Some("TCP".into()),
        ..ContainerPort::default()
    });
    Container {
        name: CONTAINER.into(),
        image: Some(workload.image.clone()),
        command: filled(&workload.command),
        args: filled(&workload.args),
        env: filled(env),
        env_from: filled(&workload.env_from),
        ports: Some(ports.collect()),
        resources: workload.resources.clone(),
        readiness_probe: Some(probes::readiness(workload)),
        liveness_probe: probes::liveness(workload),
        startup_probe: probes::startup(workload),
        lifecycle: Some(probes::lifecycle()),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".into()]), add: None }),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

/// What is read of the ConfigMap, key by key, then the user's own, which win (what they replace is not read). Not as a whole (`envFrom`): the pods would
/// see addresses of components that they are not meant to call, and one could not tell which change they need to see.
fn environment_of(config_map: &str, read: &BTreeMap<String, String>, own: &[EnvVar]) -> Vec<EnvVar> {
    let from_config = read.keys().map(|name| EnvVar {
        name: name.clone(),
        value_from: Some(EnvVarSource {
            config_map_key_ref: Some(ConfigMapKeySelector {
                name: config_map.to_owned(),
                key: name.clone(),
                optional: None,
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    });
    from_config.chain(own.iter().cloned()).collect()
}

fn spread(selector: BTreeMap<String, String>) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        topology_key: "kubernetes.io/hostname".into(),
        max_skew: 1,
        when_unsatisfiable: "ScheduleAnyway".into(),
        label_selector: Some(LabelSelector { match_labels: Some(selector), match_expressions: None }),
        match_label_keys: Some(vec!["pod-template-hash".into()]),
        ..TopologySpreadConstraint::default()
    }
}

fn filled<T: Clone>(items: &[T]) -> Option<Vec<T>> {
    (!items.is_empty()).then(|| items.to_vec())
}
