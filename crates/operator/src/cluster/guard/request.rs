//! What kind of request it is, told from method and URL. Pure.

use http::{Method, Uri};

/// The API server's verb, as its audit log names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
}

impl Verb {
    pub(super) fn of(method: &Method, uri: &Uri) -> Self {
        match *method {
            Method::POST => Self::Create,
            Method::PUT => Self::Update,
            Method::PATCH => Self::Patch,
            Method::GET | Method::HEAD | Method::OPTIONS if is_watch(uri) => Self::Watch,
            Method::GET | Method::HEAD | Method::OPTIONS if is_collection(uri.path()) => Self::List,
            Method::GET | Method::HEAD | Method::OPTIONS => Self::Get,
            // An unknown method is treated as the most dangerous one.
            _ => Self::Delete,
        }
    }

    pub(super) fn mutates(self) -> bool {
        match self {
            Self::Get | Self::List | Self::Watch => false,
            Self::Create | Self::Update | Self::Patch | Self::Delete => true,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }
}

/// Whether the request asks what would happen, and changes nothing. `dryRun` in a body (DELETE) is not looked at: such
/// a request counts as a write.
pub(super) fn is_dry_run(uri: &Uri) -> bool {
    has_parameter(uri, "dryRun", "All")
}

fn is_watch(uri: &Uri) -> bool {
    has_parameter(uri, "watch", "true") || has_parameter(uri, "watch", "1")
}

fn has_parameter(uri: &Uri, name: &str, value: &str) -> bool {
    uri.query().unwrap_or_default().split('&').any(|pair| pair.split_once('=') == Some((name, value)))
}

/// Whether the path ends with a resource rather than with an object's name:
/// `/api/v1[/namespaces/NS]/RESOURCE` or `/apis/GROUP/VERSION[/namespaces/NS]/RESOURCE`.
fn is_collection(path: &str) -> bool {
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    let skipped = match segments.next() {
        Some("api") => segments.next().is_some(),
        Some("apis") => segments.nth(1).is_some(),
        _ => false,
    };
    if !skipped {
        return false;
    }
    let rest: Vec<&str> = segments.collect();
    matches!(rest.as_slice(), [_] | ["namespaces", _, _])
}
