//! The node's own server, of which the API server asks what containers have printed. API and network I/O, over TLS with a certificate
//! that is made at the start: the API server has no authority to judge it by, and takes it as it is.
//!
//! What a container has printed is [`Script::log`](super::Script::log) as it is now, once the container was started.

use std::{collections::BTreeMap, convert::Infallible, net::Ipv4Addr, sync::Arc};

use anyhow::{Context, Result};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt};
use tokio::{net::TcpListener, sync::watch};
use tokio_rustls::TlsAcceptor;

use super::{World, facts::Facts};
use crate::tls;

/// Listens at a free port of the node's address.
pub(super) async fn listen(address: Ipv4Addr) -> Result<(TcpListener, TlsAcceptor)> {
    let (acceptor, _) = tls::acceptor([address.to_string()])?;
    let listener = TcpListener::bind((address, 0)).await.with_context(|| format!("the node's port at {address}"))?;
    Ok((listener, acceptor))
}

/// Serves until the simulator ends.
pub(super) async fn serve(listener: TcpListener, acceptor: TlsAcceptor, world: Arc<World>) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "accept at the node's port");
                tokio::task::yield_now().await;
                continue;
            }
        };
        let (acceptor, world) = (acceptor.clone(), Arc::clone(&world));
        tokio::spawn(async move {
            let stream = match acceptor.accept(stream).await {
                Ok(stream) => stream,
                Err(error) => return tracing::warn!(%error, "handshake at the node's port"),
            };
            let service = service_fn(|request| answer(&world, request));
            if let Err(error) = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!(%error, "connection to the node's port");
            }
        });
    }
}

async fn answer(world: &World, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, text) = match log(world, &request).await {
        Ok(text) => (StatusCode::OK, text),
        Err((status, why)) => (status, why),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    Ok(response)
}

/// What is asked for at `/containerLogs/<namespace>/<pod>/<container>`.
async fn log(world: &World, request: &Request<Incoming>) -> Result<String, (StatusCode, String)> {
    let not_found = |what: String| (StatusCode::NOT_FOUND, what);
    let path: Vec<&str> = request.uri().path().trim_matches('/').split('/').collect();
    let ["containerLogs", namespace, name, container] = path.as_slice() else {
        return Err(not_found(format!("nothing is served at {}", request.uri().path())));
    };
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), namespace);
    let pod = pods.get(name).await.map_err(|error| not_found(error.to_string()))?;
    let facts = Facts::of(&pod).ok_or_else(|| not_found(format!("pod {name} has no containers")))?;
    if !facts.containers.iter().any(|(own, _)| own == container) {
        return Err(not_found(format!("pod {name} has no container {container}")));
    }
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    if !matches!(phase, Some("Running" | "Succeeded" | "Failed")) {
        let waiting = format!("container {container} of pod {name} is waiting to start");
        return Err((StatusCode::BAD_REQUEST, waiting));
    }
    let annotations = watch::channel(pod.annotations().clone()).1;
    let script = world.scripts.component(namespace, &facts.identity.component).told_with(annotations).now();
    let query: BTreeMap<&str, &str> =
        request.uri().query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('=')).collect();
    let number = |name: &str| query.get(name).and_then(|text| text.parse().ok());
    Ok(end(&script.log, number("tailLines"), number("limitBytes")))
}

/// The last lines of a text, and of those the first bytes: so does a kubelet.
fn end(text: &str, lines: Option<usize>, bytes: Option<usize>) -> String {
    let skip = lines.map_or(0, |lines| text.lines().count().saturating_sub(lines));
    let mut rest: String = text.split_inclusive('\n').skip(skip).collect();
    let most = bytes.unwrap_or(rest.len()).min(rest.len());
    let cut = (0..=most).rev().find(|at| rest.is_char_boundary(*at)).unwrap_or(0);
    rest.truncate(cut);
    rest
}
