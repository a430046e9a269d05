//! Whose an object is, and how it changes hands: our labels instead of owner references, release and adoption.

use cutover_api::{conditions::reasons, labels};
use serde_json::{Map, Value, json};

use super::{
    contract::{ObjectKind, Problem, RouteStep, RouterPlan, SplitRef},
    view::Meta,
};
use crate::{Known, conditions::Health};

/// Whose an object of one of our names is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// This split's.
    Ours,
    /// Left behind by a split of this name: by its deletion, or by a restore that gave the split a new UID.
    Adoptable,
    /// Somebody else's.
    Foreign,
}

/// Whose it is.
pub(super) fn claim(meta: &Meta, split: &SplitRef<'_>) -> Claim {
    if meta.is_owned_by(split.uid) {
        Claim::Ours
    } else if meta.is_released_from(split.namespace, split.name)
        || (meta.owner_uid.is_some() && meta.owner_name.as_deref() == Some(split.name))
    {
        Claim::Adoptable
    } else {
        Claim::Foreign
    }
}

/// Whether it is this split's, and is to stay.
pub(super) fn is_ours(meta: &Meta, split: &SplitRef<'_>) -> bool {
    claim(meta, split) == Claim::Ours && !meta.deleting
}

fn ours<'a>(
    split: SplitRef<'a>,
    objects: impl IntoIterator<Item = (ObjectKind, &'a Meta)>,
) -> impl Iterator<Item = (ObjectKind, &'a Meta)> {
    objects.into_iter().filter(move |(_, meta)| is_ours(meta, &split))
}

/// What releases those of the objects that are the split's.
pub(super) fn release_ours<'a>(
    split: SplitRef<'a>,
    objects: impl IntoIterator<Item = (ObjectKind, &'a Meta)>,
) -> Vec<RouteStep> {
    ours(split, objects).map(|(kind, meta)| release(kind, meta, &split)).collect()
}

/// What deletes those of the objects that are the split's.
pub(super) fn delete_ours<'a>(
    split: SplitRef<'a>,
    objects: impl IntoIterator<Item = (ObjectKind, &'a Meta)>,
) -> Vec<RouteStep> {
    ours(split, objects).map(|(kind, meta)| delete(kind, meta)).collect()
}

/// `metadata` of an object that is made for the split.
pub(super) fn metadata(
    split: &SplitRef<'_>,
    name: &str,
    more_labels: &[(&str, &str)],
    annotations: impl IntoIterator<Item = (String, String)>,
) -> Value {
    let mut labels = owner_labels(split);
    labels.extend(more_labels.iter().map(|(key, value)| ((*key).to_owned(), Value::from(*value))));
    let mut all: Map<String, Value> = annotations.into_iter().map(|(key, value)| (key, value.into())).collect();
    all.insert(labels::OWNER_NAME.to_owned(), split.name.into());
    json!({"name": name, "namespace": split.namespace, "labels": labels, "annotations": all})
}

fn owner_labels(split: &SplitRef<'_>) -> Map<String, Value> {
    Map::from_iter([
        (labels::MANAGED_BY.to_owned(), labels::MANAGED_BY_VALUE.into()),
        (labels::OWNER_KIND.to_owned(), "TrafficSplit".into()),
        (labels::OWNER_UID.to_owned(), split.uid.into()),
    ])
}

/// Makes an object that was left behind ours again, and changes nothing else.
pub(super) fn adopt(kind: ObjectKind, meta: &Meta, split: &SplitRef<'_>) -> RouteStep {
    let annotations = json!({(labels::OWNER_NAME): split.name, (labels::RELEASED_FROM): null});
    patch(kind, meta, json!({"labels": owner_labels(split), "annotations": annotations}), None)
}

/// Leaves an object behind as it is: no label of ours, and a note of whose it was.
pub(super) fn release(kind: ObjectKind, meta: &Meta, split: &SplitRef<'_>) -> RouteStep {
    let labels = json!({(labels::MANAGED_BY): null, (labels::OWNER_KIND): null, (labels::OWNER_UID): null});
    let annotations = json!({(labels::RELEASED_FROM): format!("{}/{}", split.namespace, split.name)});
    patch(kind, meta, json!({"labels": labels, "annotations": annotations}), None)
}

/// A change of parts of an object's spec, in the version that was read.
pub(super) fn patch_spec(kind: ObjectKind, meta: &Meta, spec: &Value) -> RouteStep {
    patch(kind, meta, json!({}), Some(spec.clone()))
}

/// A change of parts of an object's metadata and spec, in the version that was read.
pub(super) fn patch(kind: ObjectKind, meta: &Meta, mut metadata: Value, spec: Option<Value>) -> RouteStep {
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.insert("resourceVersion".to_owned(), Value::from(&*meta.resource_version));
    }
    let mut patch = Map::from_iter([("metadata".to_owned(), metadata)]);
    patch.extend(spec.map(|spec| ("spec".to_owned(), spec)));
    RouteStep::MergePatch { kind, name: meta.name.to_string(), patch: Value::Object(patch) }
}

/// Removes an object in the version that the decision was made on.
pub(super) fn delete(kind: ObjectKind, meta: &Meta) -> RouteStep {
    RouteStep::Delete {
        kind,
        name: meta.name.to_string(),
        uid: meta.uid.to_string(),
        resource_version: meta.resource_version.to_string(),
    }
}

/// A whole object: created if it is not observed, else replaced in the version observed.
pub(super) fn apply(kind: ObjectKind, name: &str, mut body: Map<String, Value>, observed: Option<&Meta>) -> RouteStep {
    body.insert("apiVersion".to_owned(), kind.api_version().into());
    body.insert("kind".to_owned(), kind.kind().into());
    RouteStep::Apply {
        kind,
        name: name.to_owned(),
        object: Value::Object(body),
        resource_version: observed.map(|meta| meta.resource_version.to_string()),
    }
}

/// A person has to act.
pub(super) fn stalled(reason: &'static str, message: String) -> Problem {
    Problem { reason, message, health: Health::Stalled }
}

/// It may clear by itself.
pub(super) fn waiting(reason: &'static str, message: String) -> Problem {
    Problem { reason, message, health: Health::Reconciling }
}

/// An object of the name that we need is somebody else's.
pub(super) fn exists(kind: ObjectKind, meta: &Meta) -> Problem {
    let reason = if kind.is_route() { reasons::ROUTE_EXISTS } else { reasons::CONFLICTED };
    let attach = if kind.is_route() && !kind.is_accessory() { ", or attach to it" } else { "" };
    stalled(
        reason,
        format!(
            "metadata.name: {} {} exists and is not this split's: delete or rename it, give the split another name{attach}",
            kind.kind(),
            meta.name
        ),
    )
}

/// What a plan says that waits for proxies.
pub(super) fn untold(kind: ObjectKind, name: &str) -> String {
    format!("proxies are given a moment to learn of {} {name} before it is named", kind.kind())
}

/// Why what is there under a name that is needed cannot be what is asked for.
pub(super) fn unusable(kind: ObjectKind, meta: &Meta, split: &SplitRef<'_>) -> Option<Problem> {
    match claim(meta, split) {
        Claim::Foreign => Some(exists(kind, meta)),
        Claim::Ours | Claim::Adoptable if meta.deleting => {
            let message = format!("{} {} is being deleted, and is made again after that", kind.kind(), meta.name);
            Some(waiting(reasons::WAITING, message))
        }
        Claim::Ours | Claim::Adoptable => None,
    }
}

/// Somebody keeps changing what we write.
pub(super) fn contended(kind: ObjectKind, name: &str) -> Problem {
    waiting(
        reasons::CONTENDED,
        format!(
            "{} {name} keeps being changed by somebody else; it is left alone for a while. Find the other writer \
             (`kubectl get {} {name} --show-managed-fields -o yaml`) and have it ignore the fields that Cutover writes",
            kind.kind(),
            kind.kind().to_ascii_lowercase()
        ),
    )
}

/// Kinds of another project that a router needs, as they are called in messages.
pub(super) struct Kinds {
    /// Together, with a verb: `Istio's kinds are`.
    pub(super) subject: &'static str,
    /// As rights name them.
    pub(super) resources: &'static str,
    /// With their version.
    pub(super) objects: &'static str,
    /// Whose definitions they are: `Istio's`.
    pub(super) definitions: &'static str,
}

/// Why kinds of another project cannot be written.
pub(super) enum Lack {
    /// A person has to act.
    Problem(Problem),
    /// It is not known yet whether they can: what is not known.
    Unread(String),
}

impl Kinds {
    /// Whether the router can be planned. If it cannot, the plan says why.
    pub(super) fn are_there(
        &self,
        installed: Known<bool>,
        forbidden: bool,
        router_index: usize,
        plan: &mut RouterPlan,
    ) -> bool {
        let field = format!("spec.routers[{router_index}].{}", plan.read_back.kind.field());
        match self.lack(installed, forbidden, &field, "this router") {
            None => return true,
            Some(Lack::Problem(problem)) => plan.problem = Some(problem),
            Some(Lack::Unread(message)) => plan.read_back.message = Some(message),
        }
        false
    }

    /// Why they cannot be written, if they cannot. `field` of the spec needs them; `what` can be taken out of the spec instead.
    pub(super) fn lack(&self, installed: Known<bool>, forbidden: bool, field: &str, what: &str) -> Option<Lack> {
        let Self { subject, resources, objects, definitions } = self;
        match installed {
            Known::Known(true) => None,
            Known::Unknown if forbidden => {
                let message = format!(
                    "{field}: the operator may not list {resources}, so that {what} is left as it \
                     is: grant its account list and watch on them, as the chart does (the split goes on soon after), or take {what} out"
                );
                Some(Lack::Problem(stalled(reasons::FORBIDDEN, message)))
            }
            Known::Unknown => Some(Lack::Unread(format!("whether {subject} installed is not known yet"))),
            Known::Known(false) => {
                let message = format!(
                    "{field}: the cluster does not serve {objects}: install {definitions} CRDs (the split goes on as soon as \
                     they are there), or take {what} out"
                );
                Some(Lack::Problem(stalled(reasons::ROUTER_NOT_INSTALLED, message)))
            }
        }
    }
}
