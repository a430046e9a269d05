//! The Node object. API I/O.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;

use super::status::now;

/// Pods that one node takes: more than any test makes.
const CAPACITY: u32 = 10_000;

/// Creates the node, or makes it ready again. Its own server listens at `port`.
pub(super) async fn ensure(client: Client, name: &str, address: Ipv4Addr, port: u16) -> Result<()> {
    let api: Api<Node> = Api::all(client);
    let node = serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {
            "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
        }},
    }))?;
    match api.create(&PostParams::default(), &node).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        Err(error) => return Err(error).with_context(|| format!("create node {name}")),
    }
    // Admission taints a new node; the controller that would lift it does not run.
    let untainted = Patch::Merge(json!({"spec": {"taints": null}}));
    api.patch(name, &PatchParams::default(), &untainted).await.with_context(|| format!("untaint node {name}"))?;
    let resources = json!({
        "cpu": "1000", "memory": "1000Gi", "ephemeral-storage": "1000Gi", "pods": CAPACITY.to_string(),
    });
    let status = Patch::Merge(json!({"status": {
        "capacity": resources, "allocatable": resources,
        "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "Simulated", "message": "the node simulator runs",
            "lastHeartbeatTime": now(), "lastTransitionTime": now(),
        }],
        "nodeInfo": {
            "architecture": "amd64", "operatingSystem": "linux", "kubeletVersion": "v0.0.0-simulated",
            "bootID": "", "containerRuntimeVersion": "simulated://0", "kernelVersion": "", "kubeProxyVersion": "",
            "machineID": "", "osImage": "simulated", "systemUUID": "",
        },
    }}));
    api.patch_status(name, &PatchParams::default(), &status).await.with_context(|| format!("status of node {name}"))?;
    Ok(())
}
