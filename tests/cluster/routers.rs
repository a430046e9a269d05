//! The routers that the real proxy serves, for tests that go through more than one of them.

use std::net::SocketAddr;

use cutover_testkit::traefik::EntryPoints;

/// As an entry of `spec.routers`.
pub(crate) const NGINX: &str = "{ingressNginx: {className: nginx}}";
pub(crate) const GATEWAY: &str = "{gatewayApi: {parentRefs: [{name: edge, namespace: infra}]}}";
pub(crate) const TRAEFIK: &str = "{traefik: {entryPoints: [web]}}";

/// A router whose routes the operator makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Router {
    /// Ingresses with ingress-nginx's annotations.
    Nginx,
    /// An HTTPRoute.
    Gateway,
    /// Traefik's own kinds.
    Traefik,
}

impl Router {
    pub(crate) const ALL: [Self; 3] = [Self::Nginx, Self::Gateway, Self::Traefik];

    /// Its label in a load.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Gateway => "gateway",
            Self::Traefik => "traefik",
        }
    }

    /// Where the proxy listens for it.
    pub(crate) const fn entry(self, at: &EntryPoints) -> SocketAddr {
        match self {
            Self::Nginx => at.nginx,
            Self::Gateway => at.gateway,
            Self::Traefik => at.web,
        }
    }

    /// `spec.routers` of a split on these.
    pub(crate) fn spec(routers: &[Self]) -> String {
        let entries: Vec<_> = routers
            .iter()
            .map(|router| match router {
                Self::Nginx => NGINX,
                Self::Gateway => GATEWAY,
                Self::Traefik => TRAEFIK,
            })
            .collect();
        format!("[{}]", entries.join(", "))
    }
}
