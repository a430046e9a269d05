//! Which router carries which feature of a TrafficSplit: the one table by which features are refused and from which that of
//! docs/routers.md is made. Pure.
//!
//! Weights, hosts and paths are carried by every router and are not in it. Each router has a function from feature to [`Carried`], one per
//! mode (managed or attached) where these differ; [`COLUMNS`] lists them.

use cutover_api::{conditions::reasons, v1alpha1::traffic_split::Edge};

use super::{
    alb,
    contract::{Intent, Problem},
    gateway, ingress, istio, marks, traefik,
};

/// What a split, or a component that it leads to, can ask of routers besides weights, hosts and paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    /// Requests with a header go to one side.
    HeaderPins,
    /// Requests with a cookie go to one side.
    CookiePins,
    /// Who was served by a side stays with it.
    Stickiness,
    /// So many requests per client.
    RateLimit,
    /// How long a backend is waited for.
    Timeouts,
    /// Headers on every answer.
    SecurityHeaders,
    /// Pages of other origins may ask.
    Cors,
    /// Requests are sent again.
    Retries,
    /// After so long.
    RetryBackoff,
    /// Each try may take so long.
    TryTimeout,
    /// While too many of its answers are errors, a side is not asked.
    CircuitBreaker,
    /// Requests without TLS are sent to where there is.
    TlsRedirect,
    /// A side sees another path than clients ask for.
    Rewrite,
    /// The new side gets copies of requests.
    Mirror,
    /// One side speaks TLS, under a name and with an authority of its own.
    BackendTls,
}

impl Feature {
    /// All of them, in the order in which they are looked at and listed: a part before the whole, so that the part is named.
    pub const ALL: [Self; 15] = [
        Self::HeaderPins,
        Self::CookiePins,
        Self::Stickiness,
        Self::RateLimit,
        Self::Timeouts,
        Self::SecurityHeaders,
        Self::Cors,
        Self::RetryBackoff,
        Self::TryTimeout,
        Self::Retries,
        Self::CircuitBreaker,
        Self::TlsRedirect,
        Self::Rewrite,
        Self::Mirror,
        Self::BackendTls,
    ];

    /// The field that asks for it, in the spec of a split or of a component.
    #[must_use]
    pub const fn field(self) -> &'static str {
        match self {
            Self::HeaderPins => "spec.pins[].header",
            Self::CookiePins => "spec.pins[].cookie",
            Self::Stickiness => "spec.stickiness",
            Self::RateLimit => "spec.edge.rateLimit",
            Self::Timeouts => "spec.edge.timeouts",
            Self::SecurityHeaders => "spec.edge.securityHeaders",
            Self::Cors => "spec.edge.cors",
            Self::Retries => "spec.edge.retries",
            Self::RetryBackoff => "spec.edge.retries.backoffMilliseconds",
            Self::TryTimeout => "spec.edge.retries.perTryTimeout",
            Self::CircuitBreaker => "spec.edge.circuitBreaker",
            Self::TlsRedirect => "spec.edge.tlsRedirect",
            Self::Rewrite => "spec.paths[].rewrite",
            Self::Mirror => "spec.mirror",
            Self::BackendTls => "source.external.tls",
        }
    }

    /// The field that asks for it in this intent, if one does.
    fn asked(self, intent: &Intent<'_>) -> Option<String> {
        let pin = |at: Option<usize>| at.map(|at| format!("spec.pins[{at}]"));
        let edge = |has: fn(&Edge) -> bool| intent.edge.is_some_and(has).then(|| self.field().to_owned());
        match self {
            Self::HeaderPins => pin(intent.pins.iter().position(|pin| pin.header.is_some())),
            Self::CookiePins => pin(intent.pins.iter().position(|pin| pin.cookie.is_some())),
            Self::Stickiness => intent.stickiness.map(|_| self.field().to_owned()),
            Self::RateLimit => edge(|edge| edge.rate_limit.is_some_and(|it| it.limit().is_some())),
            Self::Timeouts => edge(|edge| edge.timeouts.is_some()),
            Self::SecurityHeaders => edge(|edge| edge.security_headers.is_some()),
            Self::Cors => edge(|edge| edge.cors.is_some()),
            Self::Retries => edge(|edge| edge.retries.is_some()),
            Self::RetryBackoff => edge(|edge| edge.retries.is_some_and(|it| it.backoff_milliseconds.is_some())),
            Self::TryTimeout => edge(|edge| edge.retries.is_some_and(|it| it.per_try_timeout.is_some())),
            Self::CircuitBreaker => edge(|edge| edge.circuit_breaker.is_some()),
            Self::TlsRedirect => edge(|edge| edge.tls_redirect),
            Self::Rewrite => {
                let at = intent.paths.iter().position(|path| path.rewrite.is_some());
                at.map(|at| format!("spec.paths[{at}].rewrite"))
            }
            Self::Mirror => intent.mirror.map(|_| self.field().to_owned()),
            Self::BackendTls => {
                let (side, backend) = intent.sides.speaking_tls()?;
                Some(format!("{} (of Service {}, which {side} leads to)", self.field(), backend.service))
            }
        }
    }
}

/// How far a router carries a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried {
    /// As far as the spec can say.
    Wholly,
    /// Within this bound, which the router's own code judges.
    Within(&'static str),
    /// Where the GatewayClass lists this feature.
    WhereListed(&'static str),
    /// Not at all.
    Not {
        /// Why, to follow the router's name.
        why: &'static str,
        /// What to do instead.
        remedy: &'static str,
    },
}

/// The name of a column, as the spec has it, and what that router carries in that mode.
type Column = (&'static str, fn(Feature) -> Carried);

/// Every router in every mode.
pub const COLUMNS: [Column; 11] = [
    ("ingressNginx", ingress::carries),
    ("ingressNginx.attach", ingress::carries_attached),
    ("gatewayApi", gateway::carries),
    ("gatewayApi.attach", gateway::carries_attached),
    (gateway::GRPC, gateway::carries_grpc),
    (gateway::GRPC_ATTACHED, gateway::carries_grpc_attached),
    ("traefik", traefik::carries),
    ("traefik.attach", traefik::carries_attached),
    ("istio", istio::carries),
    ("istio.attach", istio::carries_attached),
    ("alb", alb::carries),
];

/// The first feature that the intent asks for and that the router does not carry. `router` is its name in the spec.
pub(super) fn refusal(router: &str, carries: fn(Feature) -> Carried, intent: &Intent<'_>) -> Option<Problem> {
    Feature::ALL.into_iter().find_map(|feature| {
        let Carried::Not { why, remedy } = carries(feature) else { return None };
        let field = feature.asked(intent)?;
        Some(marks::stalled(reasons::UNSUPPORTED_BY_ROUTER, format!("{field}: {router} {why}: {remedy}")))
    })
}

/// What a GatewayClass has to list for this intent, each with the field that asks for it.
pub(super) fn to_be_listed(
    carries: fn(Feature) -> Carried,
    intent: &Intent<'_>,
) -> impl Iterator<Item = (String, &'static str)> {
    Feature::ALL.into_iter().filter_map(move |feature| match carries(feature) {
        Carried::WhereListed(listed) => Some((feature.asked(intent)?, listed)),
        Carried::Wholly | Carried::Within(_) | Carried::Not { .. } => None,
    })
}

/// The table as Markdown, a row per feature and a column per router and mode, and below it why a router does not carry what it does not.
#[must_use]
pub fn markdown() -> String {
    let row = |first: &str, cells: Vec<String>| format!("| {first} | {} |\n", cells.join(" | "));
    let names = COLUMNS.iter().map(|(router, _)| format!("`{router}`")).collect();
    let mut table = row("feature", names) + &row("---", vec!["---".to_owned(); COLUMNS.len()]);
    let mut reasons = Vec::new();
    for feature in Feature::ALL {
        let field = feature.field();
        let cells = COLUMNS.iter().map(|(router, carries)| match carries(feature) {
            Carried::Wholly => "yes".to_owned(),
            Carried::Within(bound) => format!("yes: {bound}"),
            Carried::WhereListed(listed) => format!("where the GatewayClass lists `{listed}`"),
            Carried::Not { why, remedy } => {
                reasons.push(format!("- `{field}`: `{router}` {why}: {remedy}."));
                "refused".to_owned()
            }
        });
        table += &row(&format!("`{field}`"), cells.collect());
    }
    format!("{table}\n{}\n", reasons.join("\n"))
}
