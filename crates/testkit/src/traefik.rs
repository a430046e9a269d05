//! Traefik as the data plane for every router: Ingress with ingress-nginx's annotations, Gateway API, Traefik's CRDs.
//!
//! Each router has an entry point of its own on 127.0.0.1, since the same host on two routers of one entry point
//! means that one of them wins. Nothing is retried: a request that a change of weights loses must be seen to be lost.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};
use kube::{
    Api, Client,
    api::DynamicObject,
    core::{ApiResource, GroupVersionKind},
    runtime::wait::await_condition,
};
use serde_json::{Value, json};

use crate::{
    control_plane::{ControlPlane, Identity},
    http, ports,
    process::Process,
    tools,
};

/// The IngressClass that is served like ingress-nginx.
pub const INGRESS_CLASS: &str = "nginx";
/// Headers that Ingresses may have set on answers.
pub const ALLOWED_RESPONSE_HEADERS: [&str; 7] = [
    "X-Content-Type-Options",
    "X-Frame-Options",
    "X-XSS-Protection",
    "Referrer-Policy",
    "Permissions-Policy",
    "Content-Security-Policy",
    "Strict-Transport-Security",
];

/// The GatewayClass.
pub const GATEWAY_CLASS: &str = "traefik";

/// The namespace of the Gateway.
pub const GATEWAY_NAMESPACE: &str = "infra";

/// The Gateway, which takes routes from every namespace.
pub const GATEWAY: &str = "edge";

const TIMEOUT: Duration = Duration::from_secs(180);

/// Where Traefik listens; all on 127.0.0.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryPoints {
    /// Ingresses of the class [`INGRESS_CLASS`].
    pub nginx: SocketAddr,
    /// Routes of the Gateway [`GATEWAY`].
    pub gateway: SocketAddr,
    /// `IngressRoute`s.
    pub web: SocketAddr,
    /// [`EntryPoints::nginx`] by TLS.
    pub nginx_tls: SocketAddr,
    /// For listeners with TLS of Gateways that tests make.
    pub gateway_tls: SocketAddr,
    /// `IngressRoute`s that name it, `web-tls`.
    pub web_tls: SocketAddr,
    /// `/metrics`, `/ping` and Traefik's own API.
    pub internal: SocketAddr,
}

impl EntryPoints {
    /// Free ports.
    ///
    /// # Errors
    /// When there are none.
    pub fn free() -> Result<Self> {
        let next = || Ok::<_, anyhow::Error>(SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()?)));
        Ok(Self {
            nginx: next()?,
            gateway: next()?,
            web: next()?,
            nginx_tls: next()?,
            gateway_tls: next()?,
            web_tls: next()?,
            internal: next()?,
        })
    }
}

/// A running Traefik, with the definitions and classes it needs in the cluster.
#[derive(Debug)]
pub struct Traefik {
    process: Process,
    entry_points: EntryPoints,
}

impl Traefik {
    /// Starts Traefik for a control plane: installs the CRDs of Gateway API and Traefik, makes the classes and the
    /// Gateway, and waits until that is programmed. One per control plane.
    ///
    /// # Errors
    /// When an object is refused, or Traefik does not come up (with its log's end).
    pub async fn start(plane: &ControlPlane) -> Result<Self> {
        Self::start_on(plane, EntryPoints::free()?).await
    }

    /// [`Traefik::start`] on given entry points.
    ///
    /// # Errors
    /// As [`Traefik::start`].
    pub async fn start_on(plane: &ControlPlane, entry_points: EntryPoints) -> Result<Self> {
        let definitions = [tools::definitions("gateway-api")?, tools::definitions("traefik")?].concat();
        plane.install_definitions(definitions).await?;
        plane.apply_yaml("default", &cluster_objects(&entry_points)?).await?;

        let config = plane.data().join("traefik.yaml");
        fs::write(&config, serde_yaml_ng::to_string(&configuration(&entry_points))?)?;
        // A user of its own, so that the audit log tells it from the tests.
        let identity = Identity::User { name: "traefik".to_owned(), groups: vec!["system:masters".to_owned()] };
        let mut command = Command::new(tools::find("traefik")?);
        command
            .arg(format!("--configFile={}", config.display()))
            .env("KUBECONFIG", plane.kubeconfig_for(&identity).await?);
        let process = Process::spawn("traefik", command, plane.logs())?;
        process.wait_ready(TIMEOUT, || http::text(entry_points.internal, "/ping")).await?;

        let traefik = Self { process, entry_points };
        traefik.wait_programmed(&plane.admin().await?).await?;
        Ok(traefik)
    }

    /// Where it listens.
    #[must_use]
    pub fn entry_points(&self) -> EntryPoints {
        self.entry_points
    }

    /// The process, for its log.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Its Prometheus metrics.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn metrics(&self) -> Result<String> {
        http::text(self.entry_points.internal, "/metrics").await
    }

    /// What it made of the routes: a part of its own API, such as `http/services`.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn api(&self, part: &str) -> Result<Value> {
        Ok(serde_json::from_str(&http::text(self.entry_points.internal, &format!("/api/{part}")).await?)?)
    }

    async fn wait_programmed(&self, client: &Client) -> Result<()> {
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "Gateway"));
        let gateways: Api<DynamicObject> = Api::namespaced_with(client.clone(), GATEWAY_NAMESPACE, &kind);
        let programmed =
            await_condition(gateways, GATEWAY, |gateway: Option<&DynamicObject>| gateway.is_some_and(is_programmed));
        tokio::time::timeout(TIMEOUT, programmed).await.with_context(|| {
            format!("the Gateway is not programmed; end of Traefik's log:\n{}", self.process.log_tail())
        })??;
        Ok(())
    }
}

fn is_programmed(gateway: &DynamicObject) -> bool {
    gateway.data.pointer("/status/conditions").and_then(Value::as_array).is_some_and(|conditions| {
        conditions.iter().any(|condition| {
            condition.get("type") == Some(&json!("Programmed"))
                && condition.get("status") == Some(&json!("True"))
                && condition.get("observedGeneration").and_then(Value::as_i64) == gateway.metadata.generation
        })
    })
}

fn cluster_objects(entry_points: &EntryPoints) -> Result<String> {
    let objects = [
        json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "IngressClass",
            "metadata": {"name": INGRESS_CLASS},
            "spec": {"controller": "k8s.io/ingress-nginx"},
        }),
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "GatewayClass",
            "metadata": {"name": GATEWAY_CLASS},
            "spec": {"controllerName": "traefik.io/gateway-controller"},
        }),
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": GATEWAY_NAMESPACE}}),
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "metadata": {"name": GATEWAY, "namespace": GATEWAY_NAMESPACE},
            "spec": {
                "gatewayClassName": GATEWAY_CLASS,
                "listeners": [{
                    "name": "http",
                    "protocol": "HTTP",
                    // Traefik finds the entry point of a listener by the port.
                    "port": entry_points.gateway.port(),
                    "allowedRoutes": {"namespaces": {"from": "All"}},
                }],
            },
        }),
    ];
    let documents: Vec<_> = objects.iter().map(serde_yaml_ng::to_string).collect::<Result<_, _>>()?;
    Ok(documents.join("---\n"))
}

fn configuration(entry_points: &EntryPoints) -> Value {
    let address = |at: SocketAddr| json!({"address": at.to_string()});
    json!({
        "global": {"checkNewVersion": false, "sendAnonymousUsage": false},
        "log": {"level": "INFO", "format": "json"},
        "entryPoints": {
            "nginx": address(entry_points.nginx),
            "gateway": address(entry_points.gateway),
            "web": {"address": entry_points.web.to_string(), "asDefault": true},
            "nginx-tls": address(entry_points.nginx_tls),
            "gateway-tls": address(entry_points.gateway_tls),
            "web-tls": address(entry_points.web_tls),
            // The name that `api.insecure` is bound to.
            "traefik": address(entry_points.internal),
        },
        "api": {"insecure": true, "dashboard": false},
        "ping": {"entryPoint": "traefik"},
        "metrics": {"prometheus": {
            "entryPoint": "traefik",
            "addEntryPointsLabels": true,
            "addRoutersLabels": true,
            "addServicesLabels": true,
        }},
        "providers": {
            // The default, two seconds, is longer than most of what tests look at.
            "providersThrottleDuration": "50ms",
            "kubernetesIngressNGINX": {
                "httpEntryPoint": "nginx", "httpsEntryPoint": "nginx-tls", "proxyNextUpstream": "off",
                "globalAllowedResponseHeaders": ALLOWED_RESPONSE_HEADERS,
            },
            "kubernetesGateway": {"statusAddress": {"ip": "127.0.0.1"}},
            "kubernetesCRD": {"allowEmptyServices": true},
        },
    })
}
