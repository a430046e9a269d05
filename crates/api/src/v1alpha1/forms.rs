//! The forms that texts of a spec have, and the words in which the API server asks for each.
//!
//! A field names its form by a `pattern`. In the definitions each becomes a rule with a message: who writes a URL for a
//! host should read what a host looks like, not a regular expression.

use crate::{decimal::DECIMAL_PATTERN, duration::DURATION_PATTERN};

/// Names of objects: a DNS subdomain, as the API server demands of most names.
pub const NAME_PATTERN: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// Names within one object (components, steps, checks): a DNS label.
pub const LABEL_PATTERN: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
/// Names of components, which Services are called by: a DNS label that begins with a letter.
pub const COMPONENT_PATTERN: &str = "^[a-z]([-a-z0-9]*[a-z0-9])?$";
/// Host names, with an optional leading wildcard label.
pub const HOST_PATTERN: &str = r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// Full host names that are resolved: at least two labels, and no IP address.
pub const DOMAIN_PATTERN: &str = r"^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\.)+[a-z]([-a-z0-9]{0,61}[a-z0-9])?$";
/// Paths of routes.
pub const PATH_PATTERN: &str = r"^/[A-Za-z0-9/._~!$&'()*+,;=:@%-]*$";
/// What paths are rewritten to: some routers write it into patterns of their own.
pub const REWRITE_PATTERN: &str = r"^/([A-Za-z0-9/._~-]*[A-Za-z0-9._~-])?$";
/// Origins of pages, as browsers say them, or every one.
pub const ORIGIN_PATTERN: &str = r"^(\*|https?://[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[0-9]{1,5})?)$";
/// Paths that pods are asked for their health by; they may have a query.
pub const HEALTH_PATH_PATTERN: &str = "^/";
/// Container images.
pub const IMAGE_PATTERN: &str = r"^[^\s]+$";
/// Commits.
pub const COMMIT_PATTERN: &str = "^[A-Za-z0-9._-]+$";
/// Names of headers.
pub const HEADER_PATTERN: &str = "^[A-Za-z0-9-]+$";
/// Names of cookies.
pub const COOKIE_PATTERN: &str = "^[A-Za-z0-9_-]+$";
/// Values of headers and cookies, which some routers write into patterns of their own.
pub const VALUE_PATTERN: &str = "^[A-Za-z0-9._~-]+$";
/// Names of entry points and certificate resolvers in Traefik's configuration.
pub const ENTRY_POINT_PATTERN: &str = "^[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?$";
/// Istio's Gateways, with their namespace or without.
pub const GATEWAY_PATTERN: &str = "^([a-z0-9]([-a-z0-9]*[a-z0-9])?/)?[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
/// Keys of flags.
pub const KEY_PATTERN: &str = "^[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?$";
/// Attributes of an evaluation context.
pub const ATTRIBUTE_PATTERN: &str = "^[A-Za-z0-9_.-]+$";
/// Times of the day; midnight at its end is 24:00.
pub const CLOCK_PATTERN: &str = "^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$";
/// Days.
pub const DATE_PATTERN: &str = "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$";
/// Names of time zones.
pub const ZONE_PATTERN: &str = "^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$";
/// What approvals are about.
pub const SUBJECT_PATTERN: &str = "^[0-9a-f]+-[0-9a-f]+$";
/// Keys of ConfigMaps.
pub const DATA_KEY_PATTERN: &str = "^[-._a-zA-Z0-9]+$";
/// Addresses that are asked for something over HTTP.
pub const URL_PATTERN: &str = r"^https?://[A-Za-z0-9._:\[\]-]+(/[!-~]*)?$";
/// Places in a JSON document.
pub const POINTER_PATTERN: &str = "^(/([^~/]|~0|~1)*)+$";
/// What `caBundle` may hold, as CEL over the field, and what is said otherwise.
pub const CA_BUNDLE_RULE: &str = "self.contains('-----BEGIN CERTIFICATE-----') && !self.contains('PRIVATE KEY')";
/// See [`CA_BUNDLE_RULE`].
pub const CA_BUNDLE_MESSAGE: &str = "caBundle holds certificates in PEM, and no key";
/// That `caBundle` needs TLS, as CEL over what has both `caBundle` and `url`, and what is said otherwise.
pub const CA_BUNDLE_URL_RULE: &str = "!has(self.caBundle) || self.url.startsWith('https://')";
/// See [`CA_BUNDLE_URL_RULE`].
pub const CA_BUNDLE_URL_MESSAGE: &str = "caBundle is about https, and the url says http";
/// Texts of one line.
pub const LINE_PATTERN: &str = "^[!-~]([ -~]*[!-~])?$";
/// UIDs of objects.
pub const UID_PATTERN: &str = "^[-A-Za-z0-9]+$";

/// Each form in words, with an example.
pub(crate) const WORDS: [(&str, &str); 29] = [
    (
        NAME_PATTERN,
        "must be the name of an object: lower-case letters, digits, hyphens and dots, beginning and ending with a letter or digit, such as shop-v2",
    ),
    (
        LABEL_PATTERN,
        "must be lower-case letters, digits and hyphens, beginning and ending with a letter or digit, such as five-percent",
    ),
    (
        COMPONENT_PATTERN,
        "must be lower-case letters, digits and hyphens, beginning with a letter and not ending with a hyphen, such as storefront",
    ),
    (
        HOST_PATTERN,
        "must be a host name in lower case, without scheme, port and path, such as app.example.com or *.example.com",
    ),
    (
        DOMAIN_PATTERN,
        "must be a full host name in lower case, with at least one dot, without a final one, and no IP address, such as app-01.dc.example.com",
    ),
    (PATH_PATTERN, "must be a path that begins with /, without host, query, spaces and braces, such as /v2"),
    (
        REWRITE_PATTERN,
        "must be a path that begins with / and does not end with one, of letters, digits, dots, underscores, tildes, hyphens and slashes, such as /v1",
    ),
    (
        ORIGIN_PATTERN,
        "must be an origin in lower case, without path and without a slash at its end, such as https://admin.example.com, or * for every origin",
    ),
    (HEALTH_PATH_PATTERN, "must be a path that begins with /, such as /api/health"),
    (IMAGE_PATTERN, "must be an image without spaces, such as registry.example.com/storefront:1.4.2"),
    (COMMIT_PATTERN, "must be letters, digits, dots, underscores and hyphens, such as 9f3c2ab"),
    (HEADER_PATTERN, "must be the name of a header: letters, digits and hyphens, such as x-cutover"),
    (COOKIE_PATTERN, "must be the name of a cookie: letters, digits, underscores and hyphens, such as cutover"),
    (VALUE_PATTERN, "must be letters, digits, dots, underscores, tildes and hyphens, such as always"),
    (
        ENTRY_POINT_PATTERN,
        "must be letters, digits, underscores and hyphens, beginning and ending with a letter or digit, such as websecure",
    ),
    (
        GATEWAY_PATTERN,
        "must be the name of a Gateway, after its namespace and a slash if it is in another, such as istio-ingress/edge, or mesh",
    ),
    (
        KEY_PATTERN,
        "must be letters, digits, dots, underscores, slashes and hyphens, beginning and ending with a letter or digit, such as new-checkout",
    ),
    (
        ATTRIBUTE_PATTERN,
        "must be letters, digits, underscores, dots and hyphens; dots reach into objects, such as user.email",
    ),
    (CLOCK_PATTERN, "must be a time of the day in quotes, with hours from 00 to 24 and minutes, such as \"09:00\""),
    (DATE_PATTERN, "must be a day in quotes, as year, month and day, such as \"2026-12-20\""),
    (ZONE_PATTERN, "must be the name of a time zone of the IANA database, such as America/Sao_Paulo or UTC"),
    (
        SUBJECT_PATTERN,
        "must be what the phase shows as its subject: kubectl get mphase NAME -o jsonpath={.status.approvalSubject}",
    ),
    (DATA_KEY_PATTERN, "must be a key of a ConfigMap: letters, digits, hyphens, dots and underscores, such as version"),
    (
        URL_PATTERN,
        "must be the address of an HTTP server, without user and without spaces, such as https://api.shop.svc:8443/api/health",
    ),
    (POINTER_PATTERN, "must be a JSON pointer that begins with /, such as /queue/depth"),
    (LINE_PATTERN, "must be one line of plain characters that neither begins nor ends with a space"),
    (
        UID_PATTERN,
        "must be the UID of the phase, such as 6b1f7c3e-1f0a-4d52-9f0e-2b7d3c1a9e55: kubectl get mphase NAME -o jsonpath={.metadata.uid}",
    ),
    (
        DURATION_PATTERN,
        "must be a duration in whole numbers with the units d, h, m and s, largest first, such as 90s, 10m or 1h30m",
    ),
    (DECIMAL_PATTERN, "must be a decimal number in quotes, without unit or percent sign, such as \"0.05\""),
];
