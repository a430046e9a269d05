//! Security headers: names and values, whatever the router's words for setting them.

use cutover_api::v1alpha1::traffic_split::{FrameOptions, SecurityHeaders};

/// What every answer bears.
pub(super) fn of(headers: &SecurityHeaders) -> Vec<(&'static str, String)> {
    let SecurityHeaders {
        frame_options,
        referrer_policy,
        permissions_policy,
        content_security_policy,
        strict_transport_security,
    } = headers;
    let frames = match frame_options {
        FrameOptions::Deny => "DENY",
        FrameOptions::SameOrigin => "SAMEORIGIN",
    };
    let transport = strict_transport_security.map(|it| {
        let below = if it.include_sub_domains { "; includeSubDomains" } else { "" };
        format!("max-age={}{below}", it.max_age.as_secs())
    });
    let always = [
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", frames),
        ("X-XSS-Protection", "1; mode=block"),
        ("Referrer-Policy", referrer_policy),
        ("Permissions-Policy", permissions_policy),
    ];
    let asked = [
        ("Content-Security-Policy", content_security_policy.as_deref()),
        ("Strict-Transport-Security", transport.as_deref()),
    ];
    let asked = asked.into_iter().filter_map(|(name, value)| Some((name, value?)));
    always.into_iter().chain(asked).map(|(name, value)| (name, value.to_owned())).collect()
}
