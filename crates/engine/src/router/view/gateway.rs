//! Gateway API: HTTPRoute and GRPCRoute, Gateway, GatewayClass. Views of our own, because a crate for it would bring a second kube.

use serde::Deserialize;

use super::{Json, Meta};

/// An HTTPRoute or a GRPCRoute. Its spec is kept whole, since a rule that we attach to must be given back as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "RouteWire")]
pub struct RouteView {
    /// Identity and our marks.
    pub meta: Meta,
    /// `spec`.
    pub spec: Json,
    /// `status.parents`.
    pub parents: Box<[ParentStatusView]>,
}

/// What a parentRef says.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentRefView {
    /// Name of the Gateway.
    #[serde(default)]
    pub name: Box<str>,
    /// Its namespace; absent means the route's.
    #[serde(default)]
    pub namespace: Option<Box<str>>,
    /// One listener.
    #[serde(default)]
    pub section_name: Option<Box<str>>,
    /// `Gateway` unless said otherwise.
    #[serde(default)]
    pub kind: Option<Box<str>>,
}

/// What one controller says about one parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParentStatusView {
    /// The parent.
    pub parent_ref: ParentRefView,
    /// The controller that speaks.
    pub controller_name: Box<str>,
    /// Condition `Accepted`.
    pub accepted: Option<ConditionView>,
    /// Condition `ResolvedRefs`.
    pub resolved_refs: Option<ConditionView>,
}

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "ConditionWire")]
pub struct ConditionView {
    /// Its type.
    pub type_: Box<str>,
    /// Whether its status is `True`.
    pub holds: bool,
    /// The generation that it is about.
    pub observed_generation: Option<i64>,
    /// `reason`.
    pub reason: Box<str>,
    /// `message`, without which a refusal cannot be explained. Kept only while the condition does not hold.
    pub message: Option<Box<str>>,
}

/// A Gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "GatewayWire")]
pub struct GatewayView {
    /// Identity.
    pub meta: Meta,
    /// `spec.gatewayClassName`.
    pub class_name: Box<str>,
    /// Condition `Programmed`.
    pub programmed: Option<ConditionView>,
}

/// A GatewayClass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "ClassWire")]
pub struct GatewayClassView {
    /// Identity.
    pub meta: Meta,
    /// `spec.controllerName`.
    pub controller_name: Box<str>,
    /// `status.supportedFeatures`; `None` while the controller has not said.
    pub supported_features: Option<Box<[Box<str>]>>,
}

#[derive(Deserialize)]
struct RouteWire {
    metadata: Meta,
    #[serde(default)]
    spec: Json,
    #[serde(default)]
    status: Option<RouteStatusWire>,
}

#[derive(Deserialize, Default)]
struct RouteStatusWire {
    #[serde(default)]
    parents: Vec<ParentWire>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ParentWire {
    #[serde(default)]
    parent_ref: ParentRefView,
    #[serde(default)]
    controller_name: Box<str>,
    #[serde(default)]
    conditions: Vec<ConditionView>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConditionWire {
    #[serde(rename = "type", default)]
    type_: Box<str>,
    #[serde(default)]
    status: Box<str>,
    #[serde(default)]
    observed_generation: Option<i64>,
    #[serde(default)]
    reason: Box<str>,
    #[serde(default)]
    message: Box<str>,
}

#[derive(Deserialize)]
struct GatewayWire {
    metadata: Meta,
    #[serde(default)]
    spec: GatewaySpecWire,
    #[serde(default)]
    status: ConditionsWire,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct GatewaySpecWire {
    #[serde(default)]
    gateway_class_name: Box<str>,
}

#[derive(Deserialize, Default)]
struct ConditionsWire {
    #[serde(default)]
    conditions: Vec<ConditionView>,
}

#[derive(Deserialize)]
struct ClassWire {
    metadata: Meta,
    #[serde(default)]
    spec: ClassSpecWire,
    #[serde(default)]
    status: ClassStatusWire,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct ClassSpecWire {
    #[serde(default)]
    controller_name: Box<str>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct ClassStatusWire {
    #[serde(default)]
    supported_features: Option<Vec<FeatureWire>>,
}

/// Releases before 1.3 of the API list plain names.
#[derive(Deserialize)]
#[serde(untagged)]
enum FeatureWire {
    Object { name: Box<str> },
    Name(Box<str>),
}

fn take(conditions: &mut Vec<ConditionView>, type_: &str) -> Option<ConditionView> {
    let at = conditions.iter().position(|condition| &*condition.type_ == type_)?;
    Some(conditions.swap_remove(at))
}

impl From<ConditionWire> for ConditionView {
    fn from(wire: ConditionWire) -> Self {
        let holds = &*wire.status == "True";
        Self {
            type_: wire.type_,
            holds,
            observed_generation: wire.observed_generation,
            reason: wire.reason,
            message: (!holds && !wire.message.is_empty()).then_some(wire.message),
        }
    }
}

impl From<RouteWire> for RouteView {
    fn from(wire: RouteWire) -> Self {
        let parents = wire.status.unwrap_or_default().parents;
        Self {
            meta: wire.metadata,
            spec: wire.spec,
            parents: parents
                .into_iter()
                .map(|mut parent| ParentStatusView {
                    accepted: take(&mut parent.conditions, "Accepted"),
                    resolved_refs: take(&mut parent.conditions, "ResolvedRefs"),
                    parent_ref: parent.parent_ref,
                    controller_name: parent.controller_name,
                })
                .collect(),
        }
    }
}

impl From<GatewayWire> for GatewayView {
    fn from(mut wire: GatewayWire) -> Self {
        Self {
            programmed: take(&mut wire.status.conditions, "Programmed"),
            meta: wire.metadata,
            class_name: wire.spec.gateway_class_name,
        }
    }
}

impl From<ClassWire> for GatewayClassView {
    fn from(wire: ClassWire) -> Self {
        let name = |feature| match feature {
            FeatureWire::Object { name } | FeatureWire::Name(name) => name,
        };
        Self {
            meta: wire.metadata,
            controller_name: wire.spec.controller_name,
            supported_features: wire.status.supported_features.map(|list| list.into_iter().map(name).collect()),
        }
    }
}
