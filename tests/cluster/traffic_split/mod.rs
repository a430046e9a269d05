//! Splits on every router, carried out by the real operator and served by the real proxy.

mod alb;
mod attached;
mod bed;
mod edge;
mod istio;
mod managed;
mod traefik;
