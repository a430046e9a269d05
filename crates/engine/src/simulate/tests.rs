//! Forecasts and findings, from manifests as people write them.

use cutover_api::v1alpha1::migration_phase::PhaseState;
use jiff::{SignedDuration, Timestamp};
use rstest::rstest;
use serde::{Deserialize, de::DeserializeOwned};
use serde_yaml_ng::Value;

use super::{
    Assumptions, Forecast, Manifests, PhaseForecast, Sourced, StepForecast,
    lint::{Finding, Level, lint},
    render, simulate,
};
use crate::show::Paint;

const ENVIRONMENT: &str = "
kind: Environment
metadata: {name: production, namespace: shop}
spec:
  tier: Production
  components:
  - {name: monolith, system: Legacy, source: {external: {addresses: [192.0.2.10], port: 80}}}
  - {name: storefront, system: New, source: {external: {addresses: [192.0.2.20], port: 80}}}
---
";

const SPLIT: &str = "
kind: TrafficSplit
metadata: {name: shop, namespace: shop}
spec:
  environment: production
  hosts: [shop.example.com]
  legacy: {component: monolith}
  new: {component: storefront}
  routers: [{ingressNginx: {className: nginx}}]
---
";

const FLAG: &str = "
kind: FeatureFlag
metadata: {name: checkout, namespace: shop}
spec:
  environment: production
  variants: {'on': true, 'off': false}
  defaultVariant: 'off'
  rules: [{name: rollout, percentage: {growing: 'on', rest: 'off', percent: 0}}]
---
";

const CHECKS: &str =
    "[{name: errors, prometheus: {query: 'rate(errors[5m])'}, max: '0.05', interval: 30s, failAfter: 3}]";

/// A phase of the namespace, whose spec is written in one line.
fn phase(name: &str, spec: &str) -> String {
    format!(
        "kind: MigrationPhase\nmetadata: {{name: {name}, namespace: shop}}\nspec: {{environment: production, {spec}}}\n---\n"
    )
}

fn usual() -> String {
    let steps = "steps: [
        {name: few, traffic: [{split: shop, newWeight: 5}], flags: [{flag: checkout, percent: 10}], soak: 30m},
        {name: half, traffic: [{split: shop, newWeight: 50}], soak: 2h, approval: {required: 2, groups: [owners]}},
        {name: all, traffic: [{split: shop, newWeight: 100}], soak: 1d}]";
    phase("30-shift", &format!("{steps}, checks: {CHECKS}"))
}

fn read(text: &str) -> Manifests {
    let mut manifests = Manifests::default();
    for (i, document) in serde_yaml_ng::Deserializer::from_str(text).enumerate() {
        let value = Value::deserialize(document).unwrap();
        let origin = format!("shop.yaml, document {}", i + 1);
        match value.get("kind").and_then(Value::as_str) {
            Some("Environment") => manifests.environments.push(object(origin, value)),
            Some("TrafficSplit") => manifests.splits.push(object(origin, value)),
            Some("FeatureFlag") => manifests.flags.push(object(origin, value)),
            Some("MigrationPhase") => manifests.phases.push(object(origin, value)),
            _ => {}
        }
    }
    manifests
}

fn object<T: DeserializeOwned>(origin: String, mut value: Value) -> Sourced<T> {
    value["apiVersion"] = "cutover.dev/v1alpha1".into();
    Sourced { origin, object: serde_yaml_ng::from_value(value).unwrap() }
}

fn start() -> Timestamp {
    "2026-12-01T09:00:00Z".parse().unwrap()
}

fn forecast(text: &str) -> Forecast {
    let forecasts = simulate(&read(text), &Assumptions::from(start()));
    forecasts.into_iter().next().unwrap()
}

fn found(text: &str) -> Vec<Finding> {
    let (manifests, assumptions) = (read(text), Assumptions::from(start()));
    lint(&manifests, &simulate(&manifests, &assumptions), &assumptions)
}

fn world(phases: &str) -> String {
    format!("{ENVIRONMENT}{SPLIT}{FLAG}{phases}")
}

fn one(phases: &str) -> PhaseForecast {
    forecast(&world(phases)).phases.remove(0)
}

fn offset(instant: Option<Timestamp>) -> Option<i64> {
    instant.map(|instant| instant.duration_since(start()).as_secs())
}

fn course(step: &StepForecast) -> [Option<i64>; 4] {
    [step.asked, step.in_force, step.soaked, step.done].map(offset)
}

#[test]
fn a_phase_takes_its_soaks_its_propagations_and_its_approvals() {
    let phase = one(&usual());
    assert_eq!((phase.state, offset(phase.started)), (PhaseState::Completed, Some(0)));
    let [few, half, all] = phase.steps.as_slice() else { panic!("{:?}", phase.steps) };
    assert_eq!(course(few), [Some(0), Some(2), Some(1_802), Some(1_802)]);
    // Two hours of soak, and one until people have approved.
    assert_eq!(course(half), [Some(1_802), Some(1_804), Some(9_004), Some(12_604)]);
    assert_eq!(course(all), [Some(12_604), Some(12_606), Some(99_006), Some(99_006)]);
    assert_eq!(offset(phase.completed), Some(99_006));
    let changes: Vec<_> = few.changes.iter().map(|c| (c.kind, c.name.as_str(), c.from, c.to)).collect();
    assert_eq!(changes, [("TrafficSplit", "shop", 0, 5), ("FeatureFlag", "checkout", 0, 10)]);
    assert_eq!(all.changes.iter().map(|c| (c.from, c.to)).collect::<Vec<_>>(), [(50, 100)]);
}

#[test]
fn the_way_back_from_each_step_is_followed_to_its_end() {
    let phase = one(&usual());
    // The checks of the first step run since its flag was asked for, those of the others since the split was: two seconds before.
    for (step, (noticed, undone)) in phase.steps.iter().zip([(360, (5, 0)), (388, (50, 0)), (388, (100, 0))]) {
        let way = step.way_back.as_ref().unwrap();
        assert_eq!((way.harm, way.automatic, way.state), ("a check fails", true, PhaseState::RolledBack));
        // Five minutes of look-back, then the first three runs that count.
        assert_eq!(way.noticed_after_seconds, Some(noticed), "{}", step.name);
        assert_eq!(way.back_after_seconds, Some(2));
        // The shift's ten minutes are more than the six until a failure is seen; then the way back's ten.
        assert_eq!(way.at_worst_seconds, Some(1_200));
        let split = way.undoes.iter().find(|change| change.name == "shop").unwrap();
        assert_eq!((split.from, split.to), undone);
        let flag = way.undoes.iter().find(|change| change.name == "checkout").unwrap();
        assert_eq!((flag.from, flag.to), (10, 0));
    }
}

#[test]
fn to_the_previous_step_undoes_only_the_last() {
    let steps = "steps: [{name: few, traffic: [{split: shop, newWeight: 5}], soak: 1h}, {name: half, traffic: [{split: shop, newWeight: 50}], soak: 1h}]";
    let phase = one(&phase("p", &format!("{steps}, checks: {CHECKS}, rollback: {{to: PreviousStep}}")));
    let undone: Vec<_> = phase.steps.iter().map(|step| &step.way_back.as_ref().unwrap().undoes[0]).collect();
    assert_eq!(undone.iter().map(|change| (change.from, change.to)).collect::<Vec<_>>(), [(5, 0), (50, 5)]);
}

#[rstest]
#[case::frozen("onFailure: Freeze", [false, false])]
#[case::irreversible("reversible: false", [false, false])]
#[case::usual("reversible: true", [true, true])]
fn what_does_not_go_back_by_itself_goes_back_when_a_person_asks(#[case] policy: &str, #[case] automatic: [bool; 2]) {
    let steps = "steps: [{name: few, traffic: [{split: shop, newWeight: 5}], soak: 1h}, {name: all, traffic: [{split: shop, newWeight: 100}], soak: 1h}]";
    let phase = one(&phase("p", &format!("{steps}, checks: {CHECKS}, {policy}")));
    let ways: Vec<_> = phase.steps.iter().map(|step| step.way_back.as_ref().unwrap()).collect();
    assert_eq!(ways.iter().map(|way| way.automatic).collect::<Vec<_>>(), automatic);
    for way in ways {
        assert_eq!((way.state, way.noticed_after_seconds), (PhaseState::RolledBack, Some(388)));
        assert_eq!(way.at_worst_seconds.is_some(), way.automatic);
        assert_eq!(way.undoes[0].to, 0);
    }
}

#[test]
fn without_checks_only_a_dead_side_is_noticed_and_of_flags_nothing() {
    let steps = "steps: [{name: flag, flags: [{flag: checkout, percent: 10}], soak: 1h}, {name: all, traffic: [{split: shop, newWeight: 100}], soak: 1h}]";
    let phase = one(&phase("p", steps));
    let ways: Vec<_> = phase.steps.iter().map(|step| step.way_back.as_ref().unwrap()).collect();
    assert_eq!(
        (ways[0].noticed_after_seconds, ways[0].automatic, ways[0].state),
        (None, false, PhaseState::RolledBack)
    );
    assert_eq!(ways[1].harm, "the new side has no ready endpoint");
    assert_eq!((ways[1].noticed_after_seconds, ways[1].automatic), (Some(10), true));
}

#[test]
fn a_measured_environment_has_the_default_checks_for_phases_without_any() {
    let measured = world(&phase("p", "steps: [{name: all, traffic: [{split: shop, newWeight: 100}], soak: 1h}]"))
        .replace("  tier: Production\n", "  tier: Production\n  monitoring: {}\n");
    let forecast = forecast(&measured).phases.remove(0);
    let way = forecast.steps[0].way_back.as_ref().unwrap();
    assert_eq!((way.harm, way.automatic), ("a check fails", true));
    assert_eq!(found(&measured), []);
    let only = |text: &str| {
        let found = found(text);
        assert_eq!(found.len(), 1, "{found:?}");
        (found[0].rule, found[0].field.clone())
    };
    assert_eq!(only(&measured.replace("soak: 1h", "soak: 4m")), ("SoakTooShort", "spec.defaultChecks".to_owned()));
    let without = measured.replace("soak: 1h}", "soak: 1h}], defaultChecks: false, visibleTo: [");
    assert_eq!(only(&without), ("NoChecks", "spec.checks".to_owned()));
}

#[test]
fn a_step_without_soak_waits_for_its_checks_all_the_same() {
    let steps = "steps: [{name: few, traffic: [{split: shop, newWeight: 5}]}, {name: all, traffic: [{split: shop, newWeight: 100}]}]";
    let with = one(&phase("p", &format!("{steps}, checks: {CHECKS}")));
    let without = one(&phase("p", steps));
    assert_eq!(course(&with.steps[0]), [Some(0), Some(2), Some(30), Some(30)]);
    assert_eq!(course(&without.steps[0]), [Some(0), Some(2), Some(2), Some(2)]);
}

#[test]
fn a_phase_waits_for_those_before_it_and_says_so() {
    let steps =
        |weight: i32| format!("steps: [{{name: s, traffic: [{{split: shop, newWeight: {weight}}}], soak: 1h}}]");
    let phases = phase("b-second", &format!("{}, after: [z-first]", steps(100))) + &phase("z-first", &steps(50));
    let forecast = forecast(&world(&phases));
    let order: Vec<_> = forecast.phases.iter().map(|phase| (phase.name.as_str(), offset(phase.started))).collect();
    assert_eq!(order, [("z-first", Some(0)), ("b-second", Some(3_602))]);
    assert_eq!(forecast.phases[1].steps[0].changes[0].from, 50);
    assert_eq!(forecast.phases[1].waits[0].reason, "PredecessorNotCompleted");
    assert_eq!(offset(Some(forecast.phases[1].waits[0].until)), Some(3_602));
}

#[test]
fn two_phases_at_one_split_take_turns() {
    let steps =
        |weight: i32| format!("steps: [{{name: s, traffic: [{{split: shop, newWeight: {weight}}}], soak: 1h}}]");
    let forecast = forecast(&world(&(phase("a", &steps(50)) + &phase("b", &steps(100)))));
    let [a, b] = forecast.phases.as_slice() else { panic!("{forecast:?}") };
    assert_eq!((offset(a.completed), offset(b.steps[0].asked)), (Some(3_602), Some(3_602)));
    assert_eq!(b.steps[0].waits[0].reason, "SplitBusy");
}

#[test]
fn windows_freezes_and_the_approval_of_the_start_are_waited_for() {
    let steps = "steps: [{name: few, traffic: [{split: shop, newWeight: 5}], soak: 8h}, {name: all, traffic: [{split: shop, newWeight: 100}], soak: 1h}]";
    let window = "windows: [{days: [Mon, Tue, Wed, Thu], from: '09:00', to: '16:00', timeZone: UTC}]";
    let freeze = "freezes: [{from: '2026-12-02', to: '2026-12-06'}]";
    let gates = format!("gates: {{approvals: {{required: 2, groups: [owners]}}, {window}, {freeze}}}");
    let phase = one(&phase("p", &format!("{gates}, {steps}")));
    assert_eq!(phase.state, PhaseState::Completed, "{phase:?}");
    // It is Tuesday, nine in the morning: two people need an hour; then there is no going on before Monday.
    assert_eq!(offset(phase.started), Some(3_600));
    assert_eq!(phase.waits.iter().map(|wait| wait.reason.as_str()).collect::<Vec<_>>(), ["AwaitingApproval"]);
    let monday: Timestamp = "2026-12-07T09:00:00Z".parse().unwrap();
    assert_eq!(phase.steps[1].asked, Some(monday));
    let waits: Vec<_> = phase.steps[1].waits.iter().map(|wait| (wait.reason.as_str(), wait.until)).collect();
    assert_eq!(waits, [("OutsideWindow", monday)]);
}

/// An environment whose new component has an image, and whose database says where its schema's version is.
fn deployed() -> String {
    let storefront = "{name: storefront, system: New, source: {workload: {image: 'registry.example/storefront:2', ports: [{name: http, containerPort: 8080}]}}}";
    let shared = "  shared: {database: {schema: {from: {configMap: {name: schema, key: version}}}}}\n---\n";
    ENVIRONMENT
        .replace("{name: storefront, system: New, source: {external: {addresses: [192.0.2.20], port: 80}}}", storefront)
        .replace("---\n", shared)
}

const GATED: &str = "gates: {promotedFrom: {namespace: shop-staging, phase: 30-shift}, schema: {min: 42, max: 45}}, \
    steps: [{name: all, traffic: [{split: shop, newWeight: 100}], soak: 1h}]";

#[test]
fn gates_on_what_the_files_cannot_show_are_taken_as_open_and_the_forecast_says_so() {
    let forecast = forecast(&(deployed() + SPLIT + &phase("p", GATED)));
    assert_eq!(offset(forecast.phases[0].completed), Some(3_602), "{forecast:?}");
    let assumed = [
        "shop-staging/30-shift completed in time, with the images of p",
        "the schema of production has a version that p works with (42 to 45)",
    ];
    assert_eq!(forecast.assumed, assumed);
    let text = render::forecast(&forecast, Paint::Plain);
    assert!(assumed.iter().all(|line| text.contains(&format!("also assumed: {line}\n"))), "{text}");
}

#[rstest]
#[case::no_image(ENVIRONMENT, "NotPromoted", "no new component of Environment production has an image")]
#[case::no_schema(ENVIRONMENT, "SchemaOutOfRange", "set spec.shared.database.schema")]
#[case::hidden(&deployed(), "ReferenceNotFound", "can see no MigrationPhase shop-staging/30-shift")]
fn gates_that_the_files_show_to_be_closed_are_errors(
    #[case] environment: &str,
    #[case] reason: &str,
    #[case] message: &str,
) {
    let staging =
        phase("30-shift", "steps: [{name: s, flags: [{flag: f, percent: 1}]}]").replace("shop}", "shop-staging}");
    let staging = if reason == "ReferenceNotFound" { staging } else { String::new() };
    let text = environment.to_owned() + SPLIT + &phase("p", GATED) + &staging;
    let forecast = forecast(&text);
    let holds = &forecast.phases[0].blocked_by;
    assert!(holds.iter().any(|hold| hold.reason == reason && hold.message.contains(message)), "{holds:?}");
    assert!(found(&text).iter().any(|finding| finding.rule == "UnreachableStep"));
}

#[test]
fn a_phase_that_is_promoted_from_one_of_its_own_namespace_follows_its_course() {
    let steps =
        |weight: i32| format!("steps: [{{name: s, traffic: [{{split: shop, newWeight: {weight}}}], soak: 1h}}]");
    let second = format!("gates: {{promotedFrom: {{phase: a}}}}, {}", steps(100));
    let forecast = forecast(&(deployed() + SPLIT + &phase("a", &steps(50)) + &phase("b", &second)));
    assert_eq!(offset(forecast.phases[1].started), Some(3_602));
    assert_eq!(forecast.assumed, Vec::<String>::new());
    assert_eq!(forecast.phases[1].state, PhaseState::Completed);
}

#[test]
fn what_can_never_happen_is_told_and_not_waited_for() {
    let phase = one(&phase("p", "steps: [{name: s, traffic: [{split: shop, newWeight: 500}]}]"));
    assert_eq!((phase.state, phase.completed, phase.steps[0].asked), (PhaseState::Running, None, None));
    assert!(phase.blocked_by.iter().any(|hold| hold.message.contains("weightTotal")), "{:?}", phase.blocked_by);
}

#[test]
fn a_hidden_split_is_exposed_by_its_step() {
    let split = SPLIT.replace("routers:", "newWeight: 100\n  exposure: Hidden\n  routers:");
    let steps = "steps: [{name: open, traffic: [{split: shop, newWeight: 100, exposure: Exposed}], soak: 1m}]";
    let forecast = forecast(&format!("{ENVIRONMENT}{split}{}", phase("p", steps)));
    let phase = &forecast.phases[0];
    let change = &phase.steps[0].changes[0];
    assert_eq!((change.exposed, change.from, change.to), (true, 0, 100));
    let undone = &phase.steps[0].way_back.as_ref().unwrap().undoes[0];
    assert!(undone.hidden, "{undone:?}");
    assert_eq!(course(&phase.steps[0]), [Some(0), Some(2), Some(62), Some(62)]);
}

#[test]
fn the_same_manifests_give_the_same_forecast_whatever_is_assumed_of_people() {
    let (manifests, quick) = (read(&world(&usual())), Assumptions::from(start()));
    let slow = Assumptions { approval: SignedDuration::from_hours(10), ..quick };
    assert_eq!(simulate(&manifests, &quick), simulate(&manifests, &quick));
    let later = simulate(&manifests, &slow)[0].phases[0].completed.unwrap();
    let sooner = simulate(&manifests, &quick)[0].phases[0].completed.unwrap();
    assert_eq!(later.duration_since(sooner), SignedDuration::from_hours(9));
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    assert_eq!(found(&world(&usual())), []);
}

#[rstest]
#[case::bad_spec(
    "InvalidSpec",
    Level::Error,
    "spec.steps[1].traffic[0].newWeight",
    phase(
        "p",
        "steps: [{name: a, traffic: [{split: shop, newWeight: 50}], soak: 1h}, {name: b, traffic: [{split: shop, newWeight: 5}], soak: 1h}]"
    )
)]
#[case::no_such_split(
    "ReferenceNotFound",
    Level::Warning,
    "spec.steps[0].traffic[0].split",
    phase("p", "steps: [{name: a, traffic: [{split: shops, newWeight: 5}], soak: 1h}]")
)]
#[case::no_such_flag(
    "ReferenceNotFound",
    Level::Warning,
    "spec.steps[0].flags[0].flag",
    phase("p", "steps: [{name: a, flags: [{flag: chekout, percent: 5}], soak: 1h}]")
)]
#[case::no_such_phase(
    "ReferenceNotFound",
    Level::Warning,
    "spec.after[0]",
    phase("p", "after: [q], steps: [{name: a, traffic: [{split: shop, newWeight: 5}], soak: 1h}]")
)]
#[case::too_high(
    "WeightTooHigh",
    Level::Error,
    "spec.steps[0].traffic[0].newWeight",
    phase("p", "steps: [{name: a, traffic: [{split: shop, newWeight: 500}], soak: 1h}]")
)]
#[case::unreachable(
    "UnreachableStep",
    Level::Error,
    "spec.steps[1]",
    phase(
        "p",
        "steps: [{name: a, traffic: [{split: shop, newWeight: 5}], soak: 1h}, {name: b, traffic: [{split: shop, newWeight: 500}], soak: 1h}]"
    )
)]
#[case::idle(
    "StepChangesNothing",
    Level::Warning,
    "spec.steps[1]",
    phase(
        "p",
        "steps: [{name: a, traffic: [{split: shop, newWeight: 5}], soak: 1h}, {name: b, traffic: [{split: shop, newWeight: 5}], soak: 1h}]"
    )
)]
#[case::unchecked(
    "NoChecks",
    Level::Warning,
    "spec.checks",
    phase("p", "steps: [{name: a, traffic: [{split: shop, newWeight: 5}], soak: 1h}]")
)]
#[case::too_short_a_soak("SoakTooShort", Level::Warning, "spec.checks[0]", phase("p", &format!("steps: [{{name: a, traffic: [{{split: shop, newWeight: 5}}], soak: 4m}}], checks: {CHECKS}")))]
#[case::too_short(
    "TimeoutTooShort",
    Level::Error,
    "spec.shiftTimeout",
    phase("p", "shiftTimeout: 2s, steps: [{name: a, traffic: [{split: shop, newWeight: 5}], soak: 1h}]")
)]
#[case::ramp_longer_than_its_time(
    "TimeoutTooShort",
    Level::Error,
    "spec.rollback.timeout",
    SPLIT.replace("name: shop,", "name: other,").replace("shop.example", "b.example").replace("spec:", "spec:\n  ramp: {maxStep: 1, interval: 30s}")
        + &phase("p", "shiftTimeout: 2h, rollback: {timeout: 20m}, steps: [{name: a, traffic: [{split: other, newWeight: 50}], soak: 1h}]")
)]
#[case::cycle("DependencyCycle", Level::Error, "spec.after", phase("p", "after: [q], steps: [{name: a, traffic: [{split: shop, newWeight: 5}], soak: 1h}]") + &phase("q", "after: [p], steps: [{name: a, traffic: [{split: shop, newWeight: 5}], soak: 1h}]"))]
#[case::no_order("NoOrder", Level::Warning, "spec.after", phase("p", "steps: [{name: a, traffic: [{split: shop, newWeight: 5}], soak: 1h}]") + &phase("q", "steps: [{name: a, traffic: [{split: shop, newWeight: 50}], soak: 1h}]"))]
#[case::twice("Duplicate", Level::Error, "metadata.name", phase("p", "steps: [{name: a, traffic: [{split: shop, newWeight: 5}], soak: 1h}]").repeat(2))]
#[case::overlap("OverlappingPaths", Level::Error, "spec.routers", SPLIT.replace("name: shop,", "name: shop-b,"))]
#[case::no_component("ReferenceNotFound", Level::Error, "spec.new.component", SPLIT.replace("name: shop,", "name: other,").replace("shop.example", "b.example").replace("storefront", "shopfront"))]
#[case::swapped("SidesSwapped", Level::Warning, "spec.new.component", SPLIT.replace("name: shop,", "name: other,").replace("shop.example", "b.example").replace("storefront", "monolith"))]
#[case::no_environment("ReferenceNotFound", Level::Warning, "spec.environment", SPLIT.replace("name: shop,", "name: other,").replace("shop.example", "b.example").replace("environment: production", "environment: staging"))]
#[case::nobody_to_share("NobodyToShareWith", Level::Error, "spec.steps[0].traffic[0].newWeight", SPLIT.replace("name: shop,", "name: other,").replace("shop.example", "b.example").replace("  legacy: {component: monolith}\n", "") + &phase("p", "steps: [{name: a, traffic: [{split: other, newWeight: 5}], soak: 1h}]"))]
#[case::nothing_to_move("NothingToMove", Level::Error, "spec.steps[0].flags[0].flag", FLAG.replace("checkout", "fixed").replace("percentage: {growing: 'on', rest: 'off', percent: 0}", "serve: 'on'") + &phase("p", "steps: [{name: a, flags: [{flag: fixed, percent: 5}], soak: 1h}]"))]
#[case::bad_flag("InvalidSpec", Level::Error, "spec.defaultVariant", FLAG.replace("checkout", "fixed").replace("defaultVariant: 'off'", "defaultVariant: 'none'"))]
fn each_rule_finds_what_it_is_for(#[case] rule: &str, #[case] level: Level, #[case] field: &str, #[case] more: String) {
    let findings = found(&world(&more));
    let hit = findings.iter().find(|finding| finding.rule == rule && finding.field == field);
    let hit = hit.unwrap_or_else(|| panic!("{findings:#?}"));
    assert_eq!(hit.level, level);
    assert!(hit.origin.starts_with("shop.yaml, document "));
}

#[test]
fn a_phase_behind_a_stuck_one_is_not_blamed() {
    let phases = phase("p", "steps: [{name: a, traffic: [{split: shop, newWeight: 500}]}]")
        + &phase("q", "after: [p], steps: [{name: a, flags: [{flag: checkout, percent: 5}]}]");
    let findings = found(&world(&phases));
    let blamed: Vec<_> = findings.iter().filter(|f| f.rule == "UnreachableStep").map(|f| f.object.as_str()).collect();
    assert_eq!(blamed, ["MigrationPhase shop/p"]);
}

#[test]
fn the_timeline_reads_like_this() {
    let steps = "steps: [{name: few, traffic: [{split: shop, newWeight: 5}], soak: 30m}, {name: all, traffic: [{split: shop, newWeight: 100}], soak: 1d, approval: {required: 1}}]";
    let phases = phase("10-shift", &format!("{steps}, checks: {CHECKS}"))
        + &phase(
            "20-flag",
            "after: [10-shift], onFailure: Freeze, steps: [{name: on, flags: [{flag: checkout, percent: 100}], soak: 1h}]",
        )
        + &phase("30-never", "after: [20-flag], steps: [{name: too-much, traffic: [{split: shop, newWeight: 500}]}]");
    let text = render::forecast(&forecast(&world(&phases)), Paint::Plain);
    insta::assert_snapshot!(text);
    let colours = render::forecast(&forecast(&world(&phases)), Paint::Coloured);
    assert!(colours.contains('\u{1b}') && !text.contains('\u{1b}'));
    insta::assert_snapshot!(render::findings(&found(&world(&phases)), Paint::Plain));
}
