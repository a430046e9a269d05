//! Tests of the routers: what is built, what is refused, and what proxies would serve at every moment of a walk.

mod alb;
pub(crate) mod bed;
mod custom_headers;
mod edge;
mod features;
mod foreign;
mod gateway;
mod grpc;
mod ingress;
mod istio;
mod ownership;
mod proxies;
mod refusals;
mod speaking_tls;
mod sticky;
mod traefik;
mod traefik_edge;
mod traefik_mirror;
mod traefik_redirect;
mod views;
mod walks;
