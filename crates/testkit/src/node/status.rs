//! Pod status as a kubelet would write it: patches for the `status` subresource. No I/O.

use std::net::Ipv4Addr;

use jiff::{Timestamp, Unit};
use serde_json::{Value, json};

use super::facts::Facts;

/// Message of every container that waits for no fault.
pub(super) const CREATING: &str = "ContainerCreating";

/// Builds the patches for one pod.
#[derive(Clone, Debug)]
pub(super) struct Status<'a> {
    pub(super) facts: &'a Facts,
    pub(super) node: Ipv4Addr,
    pub(super) restarts: i32,
}

impl Status<'_> {
    /// Bound, but no container runs.
    pub(super) fn waiting(&self, reason: &str) -> Value {
        let state = json!({"waiting": {"reason": reason}});
        json!({"status": {
            "phase": "Pending",
            "hostIP": self.node, "hostIPs": [{"ip": self.node}],
            "startTime": now(),
            "conditions": conditions(false, false, "ContainersNotReady"),
            "containerStatuses": self.containers(&state, false, false),
        }})
    }

    /// All containers run. With readiness gates, a pod may be less ready than its containers.
    pub(super) fn running(&self, address: Ipv4Addr, started: Timestamp, containers: bool, pod: bool) -> Value {
        let state = json!({"running": {"startedAt": started}});
        let reason = if containers { "ReadinessGatesNotReady" } else { "ContainersNotReady" };
        json!({"status": {
            "phase": "Running",
            "hostIP": self.node, "hostIPs": [{"ip": self.node}],
            "podIP": address, "podIPs": [{"ip": address}, {"$patch": "replace"}],
            "startTime": started,
            "conditions": conditions(containers, pod, reason),
            "initContainerStatuses": self.init_containers(started),
            "containerStatuses": self.containers(&state, containers, true),
        }})
    }

    /// All containers have ended, for good.
    pub(super) fn ended(&self, started: Timestamp, exit_code: i32) -> Value {
        let (phase, reason) = if exit_code == 0 { ("Succeeded", "Completed") } else { ("Failed", "Error") };
        let state = json!({"terminated": {
            "exitCode": exit_code, "reason": reason, "startedAt": started, "finishedAt": now(),
        }});
        json!({"status": {
            "phase": phase,
            "conditions": conditions(false, false, if exit_code == 0 { "PodCompleted" } else { "PodFailed" }),
            "containerStatuses": self.containers(&state, false, false),
        }})
    }

    fn containers(&self, state: &Value, ready: bool, started: bool) -> Vec<Value> {
        let status = |(name, image): &(String, String)| {
            json!({
                "name": name, "image": image, "imageID": image, "ready": ready, "started": started,
                "restartCount": self.restarts, "state": state,
                "containerID": format!("simulated://{}/{name}", self.facts.uid),
            })
        };
        self.facts.containers.iter().map(status).collect()
    }

    /// Init containers do nothing and always succeed.
    fn init_containers(&self, started: Timestamp) -> Vec<Value> {
        let status = |(name, image): &(String, String)| {
            json!({
                "name": name, "image": image, "imageID": image, "ready": true, "started": false, "restartCount": 0,
                "state": {"terminated": {
                    "exitCode": 0, "reason": "Completed", "startedAt": started, "finishedAt": started,
                }},
            })
        };
        self.facts.init_containers.iter().map(status).collect()
    }
}

/// The current second: all that the API server keeps.
pub(super) fn now() -> Timestamp {
    let now = Timestamp::now();
    now.round(Unit::Second).unwrap_or(now)
}

/// Merged by type into those that others have written (readiness gates).
fn conditions(containers_ready: bool, ready: bool, reason: &str) -> Value {
    let condition = |kind: &str, holds: bool| {
        let status = if holds { "True" } else { "False" };
        // A strategic merge would keep the reason of the time before.
        let reason = if holds { Value::Null } else { reason.into() };
        json!({"type": kind, "status": status, "lastTransitionTime": now(), "reason": reason})
    };
    json!([
        condition("PodReadyToStartContainers", true),
        condition("Initialized", true),
        condition("ContainersReady", containers_ready),
        condition("Ready", ready),
    ])
}
