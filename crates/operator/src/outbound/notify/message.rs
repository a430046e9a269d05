//! How a notification is written for each format, and how it is signed. No I/O.

use base64::{Engine, prelude::BASE64_STANDARD};
use cutover_engine::migration_phase::Notification;
use ring::hmac;
use serde_json::{Value, json};

use super::config::Format;

/// Bytes that a signing secret may have.
const KEY: std::ops::RangeInclusive<usize> = 24..=64;

/// What is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// The same at every attempt: the hash of the audit record.
    pub id: String,
    pub content_type: &'static str,
    pub body: String,
}

impl Message {
    pub fn new(format: Format, cluster: Option<&str>, notification: &Notification) -> Self {
        let (content_type, body) = match format {
            Format::CloudEvents => ("application/cloudevents+json", cloud_event(cluster, notification)),
            Format::Slack => ("application/json", json!({"text": escaped(&sentence(cluster, notification))})),
            Format::Teams => ("application/json", card(cluster, notification)),
        };
        Self { id: notification.record.hash.clone(), content_type, body: body.to_string() }
    }
}

fn cloud_event(cluster: Option<&str>, notification: &Notification) -> Value {
    let Notification { sink: _, event, namespace, phase, uid, step, by, message, record } = notification;
    json!({
        "specversion": "1.0",
        "id": record.hash,
        "source": format!("/apis/cutover.dev/v1alpha1/namespaces/{namespace}/migrationphases/{phase}"),
        "type": format!("dev.cutover.phase.{}", event.as_str()),
        "subject": phase,
        "time": record.at,
        "datacontenttype": "application/json",
        "data": {
            "event": event, "cluster": cluster, "namespace": namespace, "phase": phase, "uid": uid,
            "generation": record.generation, "attempt": record.attempt, "step": step,
            "by": by, "reason": by.as_ref().map(|_| &record.why), "message": message,
            "before": record.before, "after": record.after,
            "audit": {"sequence": record.sequence, "hash": record.hash},
        },
    })
}

/// Which phase, and what happened.
fn sentence(cluster: Option<&str>, notification: &Notification) -> String {
    let Notification { event, namespace, phase, by, message, record, .. } = notification;
    let cluster = cluster.map(|cluster| format!("{cluster}: ")).unwrap_or_default();
    let by = by.as_ref().map(|by| format!(" (by {by}: {})", record.why)).unwrap_or_default();
    format!("{cluster}{namespace}/{phase}, attempt {}: {}: {message}{by}", record.attempt, event.as_str())
}

/// An Adaptive Card, the only form that Workflows take. Its text is in a run, which knows no Markdown: what a person wrote as a reason makes
/// no link.
fn card(cluster: Option<&str>, notification: &Notification) -> Value {
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": [{
                    "type": "RichTextBlock",
                    "inlines": [{"type": "TextRun", "text": sentence(cluster, notification)}],
                }],
            },
        }],
    })
}

/// Slack takes these three for its own: they would begin links and mentions.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The signing keys in the text of a file.
pub(super) fn keys(secrets: &str) -> Result<Vec<hmac::Key>, &'static str> {
    let keys: Result<Vec<_>, &'static str> = secrets
        .split_whitespace()
        .map(|secret| {
            let encoded = secret.strip_prefix("whsec_").ok_or("a secret does not begin with whsec_")?;
            let key = BASE64_STANDARD.decode(encoded).map_err(|_| "what follows whsec_ in a secret is not base64")?;
            if !KEY.contains(&key.len()) {
                return Err("a secret is not of 24 to 64 bytes");
            }
            Ok(hmac::Key::new(hmac::HMAC_SHA256, &key))
        })
        .collect();
    match keys? {
        keys if keys.is_empty() => Err("there is no secret in the file"),
        keys => Ok(keys),
    }
}

/// The value of `webhook-signature`: one signature for each key.
pub(super) fn signature(keys: &[hmac::Key], id: &str, timestamp: i64, body: &str) -> String {
    let signed = format!("{id}.{timestamp}.{body}");
    let sign = |key| format!("v1,{}", BASE64_STANDARD.encode(hmac::sign(key, signed.as_bytes())));
    keys.iter().map(sign).collect::<Vec<_>>().join(" ")
}
