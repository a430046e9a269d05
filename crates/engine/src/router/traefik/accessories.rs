//! What Traefik does at the edge is said by objects of its own: Middlewares and a ServersTransport, one per purpose, all in one place here.
//! Pure.
//!
//! The names are fixed, so that a change of what one says is a write of it and of nothing else.

use cutover_api::v1alpha1::traffic_split::{
    CircuitBreaker, Cors, Edge, Limit, PathMatch, Retries, SecurityHeaders, Timeouts,
};
use serde_json::{Map, Value, json};

use super::rewrite;
use crate::{
    hash::short_hash,
    router::{contract::ObjectKind, headers, names},
};

/// An object that routes name.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Accessory {
    pub(super) kind: ObjectKind,
    pub(super) name: String,
    pub(super) spec: Value,
    pub(super) by: By,
}

/// Who names it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum By {
    /// Every rule.
    Rules,
    /// Rules for this path.
    Path(PathMatch),
    /// Rules on entry points without TLS, before all others.
    Redirect,
    /// Whatever leads to one side: what it counts is that side's alone.
    Sides,
}

/// Fields of either kind that we do not write, or not always, and that nobody else should: of the kinds of Middleware there must be one.
pub(super) const MEANINGFUL: [&str; 59] = [
    "accessControlAllowCredentials",
    "accessControlAllowHeaders",
    "accessControlAllowMethods",
    "accessControlAllowOriginList",
    "accessControlAllowOriginListRegex",
    "accessControlExposeHeaders",
    "accessControlMaxAge",
    "addPrefix",
    "addVaryHeader",
    "allowedHosts",
    "basicAuth",
    "buffering",
    "certificatesSecrets",
    "chain",
    "checkPeriod",
    "circuitBreaker",
    "compress",
    "contentType",
    "customRequestHeaders",
    "customResponseHeaders",
    "digestAuth",
    "dialTimeout",
    "disableHTTP2",
    "disableRetryOnNetworkError",
    "encodedCharacters",
    "errors",
    "fallbackDuration",
    "forcePermanentRedirect",
    "forwardAuth",
    "grpcWeb",
    "headers",
    "inFlightReq",
    "initialInterval",
    "insecureSkipVerify",
    "ipAllowList",
    "ipWhiteList",
    "maxRequestBodyBytes",
    "passTLSClientCert",
    "plugin",
    "port",
    "rateLimit",
    "recoveryDuration",
    "redirectRegex",
    "redirectScheme",
    "redis",
    "replacePath",
    "replacePathRegex",
    "responseCode",
    "responseHeaderTimeout",
    "retry",
    "retryNonIdempotentMethod",
    "rootCAs",
    "serverName",
    "sourceCriterion",
    "spiffe",
    "status",
    "stripPrefix",
    "stripPrefixRegex",
    "timeout",
];

/// What the only ServersTransport is for.
const TRANSPORT: &str = "timeouts";
const BREAKER: &str = "circuit-breaker";
const RETRIES: &str = "retries";

/// How many idle connections per server are kept: what Traefik does by default, and does not do by default in a ServersTransport.
pub(crate) const IDLE_CONNECTIONS: i32 = 200;

/// What the spec asks for. Middlewares are in the order in which a request passes them: answers of later ones still get the headers, what is
/// over the limit is no error of a side, and what is counted as one has been tried as often as it may be: so retries are behind a breaker.
pub(super) fn wanted(split: &str, edge: Option<&Edge>, paths: &[PathMatch], copied: bool) -> Vec<Accessory> {
    let named_by =
        |by, kind, purpose: &str, spec| Accessory { kind, name: names::accessory_name(split, purpose), spec, by };
    let middleware = |purpose: &str, spec| named_by(By::Rules, ObjectKind::Middleware, purpose, spec);
    let of_sides = |kind, purpose: &str, spec| named_by(By::Sides, kind, purpose, spec);
    let nothing = Edge::default();
    let Edge { rate_limit, timeouts, security_headers, cors, retries, circuit_breaker, tls_redirect } =
        edge.unwrap_or(&nothing);
    let redirect = json!({"redirectScheme": {"scheme": "https", "permanent": true}});
    let before = [
        tls_redirect.then(|| named_by(By::Redirect, ObjectKind::Middleware, "redirect", redirect)),
        security_headers.as_ref().map(|it| middleware("headers", answers_bear(it))),
        cors.as_ref().map(|it| middleware("cors", origins(it))),
        rate_limit.and_then(|it| it.limit()).map(|it| middleware("rate-limit", limits(it))),
        circuit_breaker.as_ref().map(|it| of_sides(ObjectKind::Middleware, BREAKER, breaks(it))),
    ];
    let rewrites = paths.iter().filter_map(|path| {
        let spec = rewrite::spec(path)?;
        // Called after what it says: a route changes from one to another in one write.
        let purpose = format!("rewrite-{}", short_hash(&spec));
        Some(named_by(By::Path(path.clone()), ObjectKind::Middleware, &purpose, spec))
    });
    // A copy that has not been sent yet would have the rule's own try its request again.
    let tried_by = if circuit_breaker.is_some() || copied { By::Sides } else { By::Rules };
    let after = [
        retries.as_ref().map(|it| named_by(tried_by, ObjectKind::Middleware, RETRIES, tries(it))),
        timeouts.as_ref().map(|it| of_sides(ObjectKind::ServersTransport, TRANSPORT, waits(it))),
    ];
    before.into_iter().flatten().chain(rewrites).chain(after.into_iter().flatten()).collect()
}

/// All that what leads to a side may name, in the order in which [`wanted`] has it.
pub(super) fn names_of_sides(split: &str) -> [(ObjectKind, String); 3] {
    let all = [
        (ObjectKind::Middleware, BREAKER),
        (ObjectKind::Middleware, RETRIES),
        (ObjectKind::ServersTransport, TRANSPORT),
    ];
    all.map(|(kind, purpose)| (kind, names::accessory_name(split, purpose)))
}

fn answers_bear(security: &SecurityHeaders) -> Value {
    let set: Map<String, Value> =
        headers::of(security).into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    json!({"headers": {"customResponseHeaders": set}})
}

fn origins(cors: &Cors) -> Value {
    let methods: Vec<_> = cors.allow_methods.iter().map(|method| method.as_str()).collect();
    let mut headers = json!({
        "accessControlAllowOriginList": cors.allow_origins,
        "accessControlAllowMethods": methods,
        "accessControlAllowHeaders": cors.allow_headers,
        "accessControlMaxAge": cors.max_age.as_secs(),
        // What one origin is answered is not kept by a cache for another.
        "addVaryHeader": true,
    });
    if let Some(headers) = headers.as_object_mut() {
        if !cors.expose_headers.is_empty() {
            headers.insert("accessControlExposeHeaders".to_owned(), json!(cors.expose_headers));
        }
        if cors.allow_credentials {
            headers.insert("accessControlAllowCredentials".to_owned(), true.into());
        }
    }
    json!({"headers": headers})
}

/// Only what never reached a side is sent again, whatever its method. To repeat by the status of answers, Traefik would keep every request's
/// body, and refuse long ones.
fn tries(retries: &Retries) -> Value {
    let mut retry = Map::from_iter([("attempts".to_owned(), retries.attempts.saturating_add(1).into())]);
    retry.extend(retries.backoff_milliseconds.map(|it| ("initialInterval".to_owned(), format!("{it}ms").into())));
    json!({"retry": retry})
}

fn breaks(breaker: &CircuitBreaker) -> Value {
    json!({"circuitBreaker": {
        "expression": format!("ResponseCodeRatio(500, 600, 0, 600) > 0.{:02}", breaker.error_percent),
        "fallbackDuration": format!("{}s", breaker.open_for.as_secs()),
    }})
}

fn limits(limit: Limit) -> Value {
    // Of whom a request is: the address that the connection comes from.
    json!({"rateLimit": {
        "average": limit.requests_per_minute, "period": "1m", "burst": limit.burst, "sourceCriterion": {"ipStrategy": {}},
    }})
}

fn waits(timeouts: &Timeouts) -> Value {
    let seconds = |name: &str, it: Option<cutover_api::HumanDuration>| {
        it.map(|it| (name.to_owned(), Value::from(format!("{}s", it.as_secs()))))
    };
    let all = [seconds("dialTimeout", timeouts.connect), seconds("responseHeaderTimeout", timeouts.read)];
    let all: Map<String, Value> = all.into_iter().flatten().collect();
    json!({"maxIdleConnsPerHost": IDLE_CONNECTIONS, "forwardingTimeouts": all})
}
