//! The health checks in `deploy/gitops`, run the way Argo CD and Flux run them, on statuses that the engine makes.

use cutover_api::v1alpha1::{
    MigrationPhaseStatus,
    phase_action::{ActionState, PhaseActionStatus},
};
use jiff::Timestamp;
use mlua::{Lua, LuaOptions, LuaSerdeExt, StdLib, Table, serde::SerializeOptions};
use rstest::rstest;
use serde_json::{Value, json};

use crate::{
    conditions::{Health, merge},
    migration_phase::tests::simulator::{Situation, reach},
};

const ARGO_CD: &str = include_str!("../../../deploy/gitops/argocd/argocd-cm.yaml");
const FLUX: &str = include_str!("../../../deploy/gitops/flux/kustomizations.yaml");

/// What Argo CD makes of an object: its health and why.
fn argo_cd(object: &Value) -> (String, String) {
    let config: Value = serde_yaml_ng::from_str(ARGO_CD).unwrap();
    let kind = object["kind"].as_str().unwrap();
    let script = config["data"][format!("resource.customizations.health.cutover.dev_{kind}")].as_str().unwrap();
    // Argo CD runs scripts of its ConfigMap with the base and table libraries only.
    let lua = Lua::new_with(StdLib::TABLE, LuaOptions::default()).unwrap();
    let plain =
        SerializeOptions::new().serialize_none_to_null(false).serialize_unit_to_null(false).set_array_metatable(false);
    lua.globals().set("obj", lua.to_value_with(object, plain).unwrap()).unwrap();
    let health: Table = lua.load(script).eval().unwrap();
    let message: Option<String> = health.get("message").unwrap();
    (health.get("status").unwrap(), message.unwrap_or_default())
}

/// What Flux makes of an object: the generation that was looked at first, then `inProgress`, `failed` and `current`.
fn flux(object: &Value) -> &'static str {
    let checks = serde_yaml_ng::Deserializer::from_str(FLUX)
        .map(|document| <Value as serde::Deserialize>::deserialize(document).unwrap())
        .find_map(|document| document["spec"].get("healthCheckExprs").cloned())
        .unwrap();
    let of_kind = |check: &&Value| check["kind"] == object["kind"] && check["apiVersion"] == object["apiVersion"];
    let check = checks.as_array().unwrap().iter().find(of_kind).unwrap();
    let observed = &object["status"]["observedGeneration"];
    if !observed.is_null() && *observed != object["metadata"]["generation"] {
        return "InProgress";
    }
    let mut context = cel::Context::default();
    for (field, value) in object.as_object().unwrap() {
        context.add_variable(field.as_str(), value).unwrap();
    }
    for (expression, status) in [("inProgress", "InProgress"), ("failed", "Failed"), ("current", "Current")] {
        let Some(text) = check.get(expression).and_then(Value::as_str) else { continue };
        match cel::Program::compile(text).unwrap().execute(&context) {
            Ok(cel::Value::Bool(true)) => return status,
            Ok(cel::Value::Bool(false)) => {}
            // A field that is not there: Flux looks again.
            Err(_) if object.get("status").is_none() => return "InProgress",
            other => panic!("{text}: {other:?}"),
        }
    }
    "InProgress"
}

fn object(kind: &str, generation: i64, status: &Value) -> Value {
    json!({
        "apiVersion": "cutover.dev/v1alpha1", "kind": kind, "metadata": {"name": "it", "generation": generation},
        "spec": {}, "status": status,
    })
}

fn phase(status: &MigrationPhaseStatus) -> Value {
    let generation = status.observed_generation.unwrap();
    object("MigrationPhase", generation, &serde_json::to_value(status).unwrap())
}

#[rstest]
#[case(Situation::Waiting, "Suspended", "InProgress")]
#[case(Situation::Preparing, "Progressing", "InProgress")]
#[case(Situation::Shifting, "Progressing", "InProgress")]
#[case(Situation::Soaking, "Progressing", "InProgress")]
#[case(Situation::AwaitingApproval, "Suspended", "InProgress")]
#[case(Situation::Paused, "Suspended", "InProgress")]
#[case(Situation::RollingBack, "Progressing", "InProgress")]
#[case(Situation::RolledBack, "Degraded", "Failed")]
#[case(Situation::Frozen, "Degraded", "Failed")]
#[case(Situation::Completed, "Healthy", "Current")]
#[case(Situation::Aborted, "Degraded", "Failed")]
fn a_phase_is_as_healthy_as_its_state(#[case] situation: Situation, #[case] argo: &str, #[case] by_flux: &str) {
    let world = reach(situation);
    let mut object = phase(&world.stored);
    let (health, message) = argo_cd(&object);
    assert_eq!((health.as_str(), flux(&object)), (argo, by_flux), "{object:#}");
    assert!(!message.is_empty(), "people are told why");
    // An edit that the operator has not seen yet.
    object["metadata"]["generation"] = json!(object["metadata"]["generation"].as_i64().unwrap() + 1);
    assert_eq!((argo_cd(&object).0.as_str(), flux(&object)), ("Progressing", "InProgress"));
    // Made a moment ago.
    object.as_object_mut().unwrap().remove("status");
    assert_eq!((argo_cd(&object).0.as_str(), flux(&object)), ("Progressing", "InProgress"));
}

#[test]
fn a_gate_that_closes_again_suspends_and_a_wrong_spec_degrades() {
    let mut world = reach(Situation::Waiting);
    world.edit(|spec| spec.fail_health_on_rollback = true);
    assert_eq!(argo_cd(&phase(&world.stored)).0, "Suspended");
    world.edit(|spec| spec.checks[0].min = Some("9".parse().unwrap()));
    world.run(1);
    let (health, message) = argo_cd(&phase(&world.stored));
    assert_eq!(health, "Degraded", "{:#?}", world.stored.conditions);
    assert!(message.contains("spec.checks[0]"), "{message}");
    assert_eq!(flux(&phase(&world.stored)), "Failed");
}

#[rstest]
#[case(Health::Ready, "Healthy")]
#[case(Health::Reconciling, "Progressing")]
#[case(Health::Stalled, "Degraded")]
fn other_kinds_are_as_healthy_as_their_conditions(
    #[values("Environment", "TrafficSplit", "FeatureFlag")] kind: &str,
    #[case] health: Health,
    #[case] argo: &str,
) {
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let conditions = merge(&[], health.conditions("Reason", "why it is so"), Some(3), now);
    let mut it = object(kind, 3, &json!({"observedGeneration": 3, "conditions": conditions}));
    assert_eq!(argo_cd(&it), (argo.to_owned(), "why it is so".to_owned()));
    it["metadata"]["generation"] = 4.into();
    assert_eq!(argo_cd(&it).0, "Progressing");
    it.as_object_mut().unwrap().remove("status");
    assert_eq!(argo_cd(&it).0, "Progressing");
}

#[rstest]
#[case(Some(ActionState::Accepted), "Healthy", "Current")]
#[case(Some(ActionState::Rejected), "Degraded", "Failed")]
#[case(Some(ActionState::Expired), "Degraded", "Failed")]
#[case(None, "Progressing", "InProgress")]
fn an_action_is_healthy_when_it_took_effect(
    #[case] state: Option<ActionState>,
    #[case] argo: &str,
    #[case] by_flux: &str,
) {
    let status = PhaseActionStatus { state, message: Some("why".into()), ..PhaseActionStatus::default() };
    let it = object("PhaseAction", 1, &serde_json::to_value(&status).unwrap());
    assert_eq!((argo_cd(&it).0.as_str(), flux(&it)), (argo, by_flux));
}
