//! Splits on every router, carried out by the real operator and served by the real proxy.

mod alb;
mod attached;
mod backend_tls;
mod bed;
mod edge;
mod edge_tls;
mod finalised;
mod foreign_edits;
mod gitops;
mod grpc;
mod istio;
mod limits;
mod managed;
mod matrix;
mod motion;
mod overlaps;
mod pins;
mod requests;
mod sticky;
mod traefik;
mod traefik_edge;
mod traefik_mirror;
mod wire;
