//! The file that names the sinks. Read once, at start, and refused with the name of the field that is wrong; the secrets that it points to
//! are looked at then, and read again at every delivery, so that they can be changed.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use cutover_api::v1alpha1::migration_phase::NotifyOn;
use serde::Deserialize;

use super::message::keys;

/// Sinks that a file may name.
const SINKS: usize = 32;

/// Why the sinks cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file.
    #[error("{path} cannot be read: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its form.
    #[error("{path}: {source}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_path_to_error::Error<serde_json::Error>,
    },
    /// What it says.
    #[error("{path}: {field}: {problem}")]
    Field {
        /// The file.
        path: PathBuf,
        /// Path of the field.
        field: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
}

/// How a message is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Format {
    /// CloudEvents 1.0 as JSON, signed as Standard Webhooks.
    CloudEvents,
    /// Slack's incoming webhooks.
    Slack,
    /// Webhooks of Teams's Workflows.
    Teams,
}

/// One sink.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sink {
    /// What `spec.notify` of a phase calls it.
    pub name: String,
    /// Where messages go.
    #[serde(default)]
    pub url: Option<String>,
    /// File with the URL: that of a chat is a secret.
    #[serde(default)]
    pub url_file: Option<PathBuf>,
    /// How they are written.
    pub format: Format,
    /// For CloudEvents: file with the signing secrets, `whsec_` and base64 each, separated by white space. Every message is signed with each.
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
    /// Namespaces whose phases may name it. Absent: all.
    #[serde(default)]
    pub namespaces: Option<BTreeSet<String>>,
    /// What it is told of every phase of these namespaces, whether that names it or not.
    #[serde(default)]
    pub always: BTreeSet<NotifyOn>,
}

impl Sink {
    /// Whether phases of the namespace may name it.
    #[must_use]
    pub fn is_for(&self, namespace: &str) -> bool {
        self.namespaces.as_ref().is_none_or(|namespaces| namespaces.contains(namespace))
    }
}

/// The sinks, and where they are told from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sinks {
    /// What the cluster is called in every message.
    #[serde(default)]
    pub cluster: Option<String>,
    /// The sinks.
    pub sinks: Vec<Sink>,
}

/// The sinks that the file names.
///
/// # Errors
/// See [`Error`].
pub fn read(path: &Path) -> Result<Sinks, Error> {
    let text = fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let read = serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_slice(&text));
    let sinks: Sinks = read.map_err(|source| Error::Parse { path: path.to_owned(), source })?;
    match problem(&sinks) {
        None => Ok(sinks),
        Some((field, problem)) => Err(Error::Field { path: path.to_owned(), field, problem }),
    }
}

/// The first field that is wrong, and why.
fn problem(Sinks { cluster, sinks }: &Sinks) -> Option<(String, String)> {
    if cluster.as_ref().is_some_and(|name| name.is_empty() || name.len() > 253 || name.chars().any(char::is_control)) {
        return Some(("cluster".to_owned(), "give it a name of 1 to 253 characters, or leave it out".to_owned()));
    }
    if sinks.len() > SINKS {
        return Some(("sinks".to_owned(), format!("there are {}: at most {SINKS} can be used", sinks.len())));
    }
    let mut names = BTreeSet::new();
    sinks.iter().enumerate().find_map(|(index, sink)| {
        let (field, problem) = if names.insert(&sink.name) {
            sink_problem(sink)?
        } else {
            ("name", format!("{} is named twice", sink.name))
        };
        Some((format!("sinks[{index}].{field}"), problem))
    })
}

fn sink_problem(sink: &Sink) -> Option<(&'static str, String)> {
    let named = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let edges = sink.name.starts_with('-') || sink.name.ends_with('-');
    if sink.name.is_empty() || sink.name.len() > 63 || edges || !sink.name.chars().all(named) {
        return Some(("name", "give 1 to 63 of a to z, 0 to 9 and - (not first or last)".to_owned()));
    }
    if sink.namespaces.as_ref().is_some_and(BTreeSet::is_empty) {
        return Some(("namespaces", "it is empty: leave it out for all, or name some".to_owned()));
    }
    let url = match (&sink.url, &sink.url_file) {
        (Some(url), None) => super::url(url).err().map(|why| ("url", why)),
        (None, Some(path)) => {
            let read = text(path).and_then(|text| super::url(&text));
            read.err().map(|why| ("urlFile", why))
        }
        _ => Some(("url", "give url or urlFile, one of them".to_owned())),
    };
    url.or_else(|| match (sink.format, &sink.secret_file) {
        (Format::CloudEvents, None) => Some(("secretFile", "CloudEvents are signed: give it".to_owned())),
        (Format::CloudEvents, Some(path)) => {
            let read = text(path).and_then(|text| Ok(keys(&text).map(drop)?));
            read.err().map(|why| ("secretFile", why))
        }
        (Format::Slack | Format::Teams, Some(_)) => Some(("secretFile", "it is for CloudEvents only".to_owned())),
        (Format::Slack | Format::Teams, None) => None,
    })
}

fn text(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
}
