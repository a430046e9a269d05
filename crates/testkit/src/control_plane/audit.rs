//! The API server's audit log: who asked for what, and what the answer was.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::PathBuf,
};

use anyhow::{Context, Result};
use serde::Deserialize;

/// One entry. A request has one with the stage `ResponseComplete` (or `Panic`); a watch has one with
/// `ResponseStarted` before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// `ResponseStarted`, `ResponseComplete` or `Panic`.
    pub stage: String,
    /// Who the request counts for: the impersonated user, else the authenticated one.
    pub user: String,
    /// That user's groups.
    pub groups: Vec<String>,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// The API group, empty for the core group.
    pub group: String,
    /// The plural resource; empty for paths that name none.
    pub resource: String,
    /// The subresource, or empty.
    pub subresource: String,
    /// The namespace, or empty.
    pub namespace: String,
    /// The object's name, or empty.
    pub name: String,
    /// The HTTP status of the answer; 0 when there was none.
    pub code: u16,
    /// Path and query.
    pub uri: String,
    /// The client's name for itself.
    pub user_agent: String,
    /// When the request came in, in microseconds since 1970.
    pub received_micros: i64,
    /// When this stage was reached, in microseconds since 1970.
    pub stage_micros: i64,
}

impl AuditEntry {
    /// Whether the request was answered (each request counts once; a running watch does not count yet).
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.stage == "ResponseComplete"
    }

    /// Whether it asked for a change.
    #[must_use]
    pub fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }
}

/// A position in the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark(u64);

/// The log of one control plane. It goes on when the API server is restarted.
#[derive(Debug, Clone)]
pub struct AuditLog {
    path: PathBuf,
}

impl AuditLog {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The position after the last entry so far.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn mark(&self) -> Result<Mark> {
        Ok(Mark(self.read(Mark::default())?.len() as u64))
    }

    /// All entries after `mark`; `Mark::default()` is the beginning.
    ///
    /// # Errors
    /// When the log cannot be read or holds something else.
    pub fn since(&self, mark: Mark) -> Result<Vec<AuditEntry>> {
        self.read(mark)?
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| {
                let event: Event = serde_json::from_slice(line)
                    .with_context(|| format!("not an audit event: {}", String::from_utf8_lossy(line)))?;
                Ok(event.into())
            })
            .collect()
    }

    /// Whole lines only: the last one may still be in the writing.
    fn read(&self, Mark(start): Mark) -> Result<Vec<u8>> {
        let mut file = File::open(&self.path).with_context(|| format!("cannot open {}", self.path.display()))?;
        file.seek(SeekFrom::Start(start))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        text.truncate(end);
        Ok(text)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    stage: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    verb: String,
    user: User,
    impersonated_user: Option<User>,
    #[serde(default)]
    user_agent: String,
    #[serde(default)]
    object_ref: ObjectRef,
    #[serde(default)]
    response_status: ResponseStatus,
    request_received_timestamp: jiff::Timestamp,
    stage_timestamp: jiff::Timestamp,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct User {
    username: String,
    groups: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct ObjectRef {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ResponseStatus {
    code: u16,
}

impl From<Event> for AuditEntry {
    fn from(event: Event) -> Self {
        let user = event.impersonated_user.unwrap_or(event.user);
        let ObjectRef { api_group, resource, subresource, namespace, name } = event.object_ref;
        Self {
            stage: event.stage,
            user: user.username,
            groups: user.groups,
            verb: event.verb,
            group: api_group,
            resource,
            subresource,
            namespace,
            name,
            code: event.response_status.code,
            uri: event.request_uri,
            user_agent: event.user_agent,
            received_micros: event.request_received_timestamp.as_microsecond(),
            stage_micros: event.stage_timestamp.as_microsecond(),
        }
    }
}
