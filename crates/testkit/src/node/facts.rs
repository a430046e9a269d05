//! What the simulator needs to know of a pod. No I/O.

use std::{collections::BTreeSet, net::Ipv4Addr, time::Duration};

use cutover_api::labels;
use k8s_openapi::{
    api::core::v1::{Container, Pod, PodSpec, Probe as PodProbe},
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::ResourceExt;

use super::{
    app::Identity,
    protocol::System,
    readiness::{Probe, Target},
    script::ANNOTATION_PREFIX,
};

/// Label that names the component of a pod that Cutover did not make.
const APP: &str = "app";

/// What never changes in a pod.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) identity: Identity,
    /// TCP ports of all containers.
    pub(super) ports: BTreeSet<u16>,
    /// Name and image.
    pub(super) containers: Vec<(String, String)>,
    pub(super) init_containers: Vec<(String, String)>,
    pub(super) restart: Restart,
    pub(super) probes: Vec<Probe>,
    /// Time that the containers' hooks ask to go on serving.
    pub(super) pre_stop_sleep: Duration,
}

/// When a container that ended is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Restart {
    /// A server.
    Always,
    /// A task, repeated until it succeeds.
    OnFailure,
    /// A task.
    Never,
}

impl Facts {
    /// None for what is no pod of an API server (no name, no spec).
    pub(super) fn of(pod: &Pod) -> Option<Self> {
        let spec = pod.spec.as_ref()?;
        let name = pod.metadata.name.clone()?;
        let tag = spec.containers.first().map_or("", |first| image_tag(first.image.as_deref().unwrap_or_default()));
        Some(Self {
            namespace: pod.metadata.namespace.clone()?,
            uid: pod.metadata.uid.clone()?,
            identity: Identity {
                component: component(pod).unwrap_or(&name).to_owned(),
                system: system(pod),
                pod: name.clone(),
                image_tag: tag.to_owned(),
            },
            name,
            ports: spec.containers.iter().flat_map(tcp_ports).map(|(_, port)| port).collect(),
            containers: named(&spec.containers),
            init_containers: named(spec.init_containers.as_deref().unwrap_or_default()),
            restart: restart(spec),
            probes: spec.containers.iter().filter_map(readiness_probe).collect(),
            pre_stop_sleep: spec.containers.iter().map(pre_stop_sleep).max().unwrap_or_default(),
        })
    }
}

/// The node that a pod is bound to.
pub(super) fn node(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

/// Held back by a scheduling gate.
pub(super) fn is_gated(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|spec| spec.scheduling_gates.as_ref()).is_some_and(|gates| !gates.is_empty())
}

pub(super) fn is_terminating(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Has run to its end.
pub(super) fn is_finished(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// The address that an earlier simulator gave it.
pub(super) fn address(pod: &Pod) -> Option<Ipv4Addr> {
    pod.status.as_ref()?.pod_ip.as_deref()?.parse().ok()
}

/// The time that a terminating pod has, at most.
pub(super) fn grace(pod: &Pod) -> Duration {
    let of_spec = || pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
    let seconds = pod.metadata.deletion_grace_period_seconds.or_else(of_spec).unwrap_or(30);
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

/// Every readiness gate's condition is true.
pub(super) fn gates_are_met(pod: &Pod) -> bool {
    let gates = pod.spec.as_ref().and_then(|spec| spec.readiness_gates.as_deref()).unwrap_or_default();
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    gates.iter().all(|gate| {
        conditions.iter().any(|condition| condition.type_ == gate.condition_type && condition.status == "True")
    })
}

/// The component that a pod belongs to, by its labels.
pub(super) fn component(pod: &Pod) -> Option<&str> {
    let labels = pod.labels();
    labels.get(labels::COMPONENT).or_else(|| labels.get(APP)).map(String::as_str)
}

/// The system of a pod; what names none counts as shared, and so is never the expected side of a split.
fn system(pod: &Pod) -> System {
    let annotated = pod.annotations().get(&format!("{ANNOTATION_PREFIX}system"));
    let named = pod.labels().get(labels::SYSTEM).or(annotated);
    named.and_then(|name| name.parse().ok()).unwrap_or(System::Shared)
}

/// The tag of an image reference; a digest when there is no tag, `latest` when there is neither.
fn image_tag(image: &str) -> &str {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let last = name.rsplit_once('/').map_or(name, |(_, last)| last);
    last.split_once(':').map(|(_, tag)| tag).or(digest).unwrap_or("latest")
}

fn named(containers: &[Container]) -> Vec<(String, String)> {
    let pair = |container: &Container| (container.name.clone(), container.image.clone().unwrap_or_default());
    containers.iter().map(pair).collect()
}

fn tcp_ports(container: &Container) -> impl Iterator<Item = (Option<&str>, u16)> {
    container
        .ports
        .iter()
        .flatten()
        .filter(|port| port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP"))
        .filter_map(|port| Some((port.name.as_deref(), u16::try_from(port.container_port).ok()?)))
}

fn restart(spec: &PodSpec) -> Restart {
    match spec.restart_policy.as_deref() {
        Some("Never") => Restart::Never,
        Some("OnFailure") => Restart::OnFailure,
        _ => Restart::Always,
    }
}

fn pre_stop_sleep(container: &Container) -> Duration {
    let hook = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref());
    let seconds = hook.and_then(|hook| hook.sleep.as_ref()).map_or(0, |sleep| sleep.seconds);
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

fn readiness_probe(container: &Container) -> Option<Probe> {
    let probe = container.readiness_probe.as_ref()?;
    let resolve = |port: &IntOrString| match port {
        IntOrString::Int(number) => u16::try_from(*number).ok(),
        IntOrString::String(name) => {
            tcp_ports(container).find(|(known, _)| *known == Some(name)).map(|(_, number)| number)
        }
    };
    let target = match probe {
        PodProbe { http_get: Some(get), .. } => {
            Target::Http { port: resolve(&get.port), path: get.path.clone().unwrap_or_else(|| "/".to_owned()) }
        }
        PodProbe { tcp_socket: Some(socket), .. } => Target::Tcp { port: resolve(&socket.port) },
        PodProbe { grpc: Some(grpc), .. } => Target::Tcp { port: u16::try_from(grpc.port).ok() },
        _ => Target::Command,
    };
    let seconds = |value: Option<i32>, default| {
        Duration::from_secs(value.and_then(|value| u64::try_from(value).ok()).unwrap_or(default))
    };
    let times = |value: Option<i32>, default| value.and_then(|value| u32::try_from(value).ok()).unwrap_or(default);
    Some(Probe {
        target,
        initial_delay: seconds(probe.initial_delay_seconds, 0),
        period: seconds(probe.period_seconds, 10),
        failure_threshold: times(probe.failure_threshold, 3).max(1),
        success_threshold: times(probe.success_threshold, 1).max(1),
    })
}
