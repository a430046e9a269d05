//! Pins as canary annotations, as far as these can express them.
//!
//! What the proxies look at, in this order: one header (a value or a pattern leads to the canary; without either, `always`
//! leads to it and `never` away), then one cookie (`always` or `never`), then the weight.

use cutover_api::{
    conditions::reasons,
    v1alpha1::traffic_split::{CookieMatch, HeaderMatch, Pin, Side},
};

use crate::router::{contract::Problem, marks::stalled};

pub(super) const BY_HEADER: &str = "nginx.ingress.kubernetes.io/canary-by-header";
const BY_HEADER_VALUE: &str = "nginx.ingress.kubernetes.io/canary-by-header-value";
const BY_HEADER_PATTERN: &str = "nginx.ingress.kubernetes.io/canary-by-header-pattern";
const BY_COOKIE: &str = "nginx.ingress.kubernetes.io/canary-by-cookie";

const ALWAYS: &str = "always";
const NEVER: &str = "never";

/// The canary's annotations for these pins, or the first pin that they cannot express.
pub(super) fn annotations(pins: &[Pin]) -> Result<Vec<(&'static str, String)>, Problem> {
    in_order(pins)?;
    let headers = pins.iter().enumerate().filter_map(|(i, pin)| Some((i, pin.to, pin.header.as_ref()?)));
    let cookies = pins.iter().enumerate().filter_map(|(i, pin)| Some((i, pin.to, pin.cookie.as_ref()?)));
    let mut all = by_header(&headers.collect::<Vec<_>>())?;
    all.extend(by_cookie(&cookies.collect::<Vec<_>>())?);
    Ok(all)
}

fn refused(field: &str, why: &str, remedy: &str) -> Problem {
    stalled(reasons::UNSUPPORTED_BY_ROUTER, format!("{field}: ingressNginx {why}: {remedy}"))
}

/// A header always beats a cookie, whatever the order of the pins.
fn in_order(pins: &[Pin]) -> Result<(), Problem> {
    for (i, pin) in pins.iter().enumerate().filter(|(_, pin)| pin.header.is_some()) {
        let beaten = pins.iter().take(i).any(|earlier| earlier.cookie.is_some() && earlier.to != pin.to);
        if beaten {
            return Err(refused(
                &format!("spec.pins[{i}]"),
                "looks at headers before cookies, but a cookie pin to the other side comes first",
                "put header pins before cookie pins",
            ));
        }
    }
    Ok(())
}

fn by_header(pins: &[(usize, Side, &HeaderMatch)]) -> Result<Vec<(&'static str, String)>, Problem> {
    let Some((_, _, first)) = pins.first() else { return Ok(Vec::new()) };
    if let Some((i, ..)) = pins.iter().find(|(.., header)| !header.name.eq_ignore_ascii_case(&first.name)) {
        return Err(refused(
            &format!("spec.pins[{i}].header.name"),
            &format!("matches one header only, and an earlier pin already takes {}", first.name),
            &format!("use {} here too, a cookie, or the router gatewayApi", first.name),
        ));
    }
    let mut seen: Vec<(usize, Side, &str)> = Vec::new();
    for (i, to, header) in pins {
        if !seen.iter().any(|(.., value)| *value == header.value) {
            seen.push((*i, *to, &header.value));
        }
    }
    let to_new: Vec<&str> = seen.iter().filter(|(_, to, _)| *to == Side::New).map(|(.., value)| *value).collect();
    let to_legacy = seen.iter().find(|(_, to, _)| *to == Side::Legacy);
    let mut all = vec![(BY_HEADER, first.name.clone())];
    match (to_new.as_slice(), to_legacy) {
        ([value], None) => all.push((BY_HEADER_VALUE, (*value).to_owned())),
        (values, None) => all.push((BY_HEADER_PATTERN, any_of(values))),
        ([ALWAYS], Some((_, _, NEVER))) if seen.len() == 2 => {}
        (_, Some((i, ..))) => {
            return Err(refused(
                &format!("spec.pins[{i}]"),
                "leads a header to Legacy only by the value never, beside a pin of the same header with the value always to New and no other",
                "use that pair of pins, or the router gatewayApi",
            ));
        }
    }
    Ok(all)
}

fn by_cookie(pins: &[(usize, Side, &CookieMatch)]) -> Result<Vec<(&'static str, String)>, Problem> {
    let Some((_, _, first)) = pins.first() else { return Ok(Vec::new()) };
    for (i, to, cookie) in pins {
        if cookie.name != first.name {
            return Err(refused(
                &format!("spec.pins[{i}].cookie.name"),
                &format!("matches one cookie only, and an earlier pin already takes {}", first.name),
                &format!("use {} here too, or the router gatewayApi", first.name),
            ));
        }
        let fits = matches!((to, cookie.value.as_str()), (Side::New, ALWAYS) | (Side::Legacy, NEVER));
        if !fits {
            return Err(refused(
                &format!("spec.pins[{i}].cookie.value"),
                "knows only the cookie value always, to New, and never, to Legacy",
                "use one of these, a header, or the router gatewayApi",
            ));
        }
    }
    match pins.iter().find(|(_, to, _)| *to == Side::New) {
        Some(_) => Ok(vec![(BY_COOKIE, first.name.clone())]),
        None => Err(refused(
            "spec.pins",
            "cannot lead a cookie with the value never to Legacy without leading the value always to New",
            "add a pin of the same cookie with the value always to New, or use the router gatewayApi",
        )),
    }
}

/// A pattern that matches exactly one of the values, in the characters that ingress-nginx accepts in one.
fn any_of(values: &[&str]) -> String {
    let escaped: Vec<String> = values.iter().map(|value| value.replace('.', r"\.")).collect();
    format!("^({})$", escaped.join("|"))
}
