//! How a container's health is asked, and how it leaves.

use cutover_api::v1alpha1::environment::Workload;
use k8s_openapi::{
    api::core::v1::{HTTPGetAction, Lifecycle, LifecycleHandler, Probe, SleepAction},
    apimachinery::pkg::util::intstr::IntOrString,
};

/// How long a pod that is to end goes on serving, so that every proxy has learnt that it leaves.
pub const DRAIN_SECONDS: i64 = 10;
/// How long it may then take to finish what it has begun.
const FINISH_SECONDS: i64 = 30;
/// How long a container may take to answer for the first time.
const START_SECONDS: i32 = 300;
/// How often it is asked until then: a pod is ready soon after its container is.
const START_PERIOD: i32 = 2;
/// Failures in a row that count.
const FAILURES: i32 = 3;
/// Longest wait for an answer.
const TIMEOUT: i32 = 5;

/// Time from the request to end until the pod is killed.
pub const GRACE_SECONDS: i64 = DRAIN_SECONDS + FINISH_SECONDS;

/// Out of service after failures in a row. Always there: nothing else tells a proxy that a pod is able to answer.
pub(super) fn readiness(workload: &Workload) -> Probe {
    ask(workload, period(workload), FAILURES)
}

/// Restarted after failures in a row, unless that is not wanted.
pub(super) fn liveness(workload: &Workload) -> Option<Probe> {
    workload.health.liveness.then(|| ask(workload, period(workload), FAILURES))
}

/// Holds back the liveness probe until the container has answered once. It restarts the container when that takes too
/// long, so it goes with the liveness probe.
pub(super) fn startup(workload: &Workload) -> Option<Probe> {
    workload.health.liveness.then(|| ask(workload, START_PERIOD, START_SECONDS / START_PERIOD))
}

/// The pod is out of the endpoints as soon as it is told to end; it serves on until that has reached the proxies.
pub(super) fn lifecycle() -> Lifecycle {
    Lifecycle {
        pre_stop: Some(LifecycleHandler {
            sleep: Some(SleepAction { seconds: DRAIN_SECONDS }),
            ..LifecycleHandler::default()
        }),
        ..Lifecycle::default()
    }
}

fn period(workload: &Workload) -> i32 {
    i32::try_from(workload.health.interval.as_secs()).unwrap_or(i32::MAX)
}

fn ask(workload: &Workload, period: i32, failures: i32) -> Probe {
    let first = workload.ports.first().map(|port| port.name.clone());
    let port = workload.health.port.clone().or(first).unwrap_or_default();
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(workload.health.path.clone()),
            port: IntOrString::String(port),
            scheme: Some("HTTP".into()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(period.clamp(1, TIMEOUT)),
        failure_threshold: Some(failures),
        success_threshold: Some(1),
        ..Probe::default()
    }
}
