use cutover_api::{
    conditions::{reasons, types},
    v1alpha1::{FeatureFlagSpec, FeatureFlagStatus},
};
use jiff::Timestamp;
use rstest::rstest;

use super::{
    CHECKOUT,
    holding::{claim, held, holder},
    spec,
};
use crate::{
    Known,
    feature_flag::{
        Claim, ConfigMapView, Finalizer, Flag, Observed, Plan, build_config_map, decide,
        decide::Obstacle,
        definition::{build_flag, percent_of},
        document::{Flags, LARGEST, document, published},
        intent, notes, status,
        status::Stopped,
        validate,
    },
};

/// One flag of the test's environment.
#[derive(Clone, Debug)]
struct Made {
    name: &'static str,
    created: i64,
    deleting: bool,
    guarded: bool,
    spec: FeatureFlagSpec,
    status: FeatureFlagStatus,
}

fn made(name: &'static str, created: i64, spec: FeatureFlagSpec) -> Made {
    Made { name, created, deleting: false, guarded: true, spec, status: FeatureFlagStatus::default() }
}

impl Made {
    fn flag(&self) -> Flag<'_> {
        Flag {
            name: self.name,
            created: Timestamp::from_second(self.created).ok(),
            deleting: self.deleting,
            guarded: self.guarded,
            spec: &self.spec,
            status: &self.status,
        }
    }
}

/// Decides the first of these flags.
fn plan(flags: &[Made], claims: Vec<Claim>, config_map: Option<ConfigMapView>) -> Plan {
    decide(&observed(flags, claims, config_map))
}

fn observed(flags: &[Made], claims: Vec<Claim>, config_map: Option<ConfigMapView>) -> Observed<'_> {
    Observed {
        namespace: "shop",
        flag: flags[0].flag(),
        others: flags[1..].iter().map(Made::flag).collect(),
        claims: Known::Known(claims),
        absent: Vec::new(),
        environment: Known::Known(true),
        config_map,
    }
}

fn view(file: &str) -> ConfigMapView {
    let mut config_map = build_config_map("shop", "production", file.to_owned());
    config_map.metadata.resource_version = Some("41".into());
    ConfigMapView::of(&config_map)
}

/// A ConfigMap with these flags at these percentages.
fn carrying(flags: &[(&Made, Option<i32>)]) -> ConfigMapView {
    let forms = flags.iter().map(|(made, percent)| {
        let valid = validate(made.name, &made.spec).unwrap();
        (valid.key.clone(), build_flag(&valid, *percent))
    });
    view(&document("shop", "production", &forms.collect()))
}

fn written(plan: &Plan) -> Flags {
    view(&plan.write.as_ref().unwrap().file).flags()
}

fn keys(flags: &Flags) -> Vec<&str> {
    flags.keys().map(String::as_str).collect()
}

fn tell(made: &Made, plan: &Plan) -> FeatureFlagStatus {
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    status(&made.spec, Some(2), &made.status, &plan.decision, Some("42"), None, now)
}

fn reason(status: &FeatureFlagStatus, type_: &str) -> Option<String> {
    status.conditions.iter().find(|condition| condition.type_ == type_).map(|condition| condition.reason.clone())
}

#[test]
fn a_new_flag_is_guarded_then_published() {
    let flag = Made { guarded: false, ..made("checkout", 1, spec(CHECKOUT)) };
    let plan = plan(std::slice::from_ref(&flag), vec![], None);
    assert_eq!(plan.finalizer, Finalizer::Add);
    assert_eq!(plan.write.as_ref().unwrap().version, None);
    assert_eq!(keys(&written(&plan)), ["checkout"]);
    let told = tell(&flag, &plan);
    assert_eq!((told.percent, told.held_spec_percent), (Some(10), Some(10)));
    insta::assert_yaml_snapshot!("status_published", told);
}

#[test]
fn when_everything_is_as_it_should_be_nothing_is_written() {
    let mut flag = made("checkout", 1, spec(CHECKOUT));
    let config_map = carrying(&[(&flag, Some(10))]);
    flag.status = tell(&flag, &plan(std::slice::from_ref(&flag), vec![], Some(config_map.clone())));
    let again = plan(std::slice::from_ref(&flag), vec![], Some(config_map));
    assert_eq!((again.finalizer, again.write.as_ref()), (Finalizer::Keep, None));
    assert_eq!(tell(&flag, &again), flag.status);
    assert_eq!(intent(&flag.status, &again), None);
    assert!(notes(&flag.status, &flag.status).is_empty());
}

#[test]
fn what_somebody_else_changed_is_put_right() {
    let flag = made("checkout", 1, spec(CHECKOUT));
    let edited = view(&carrying(&[(&flag, Some(10))]).file.unwrap().replace("ENABLED", "DISABLED"));
    let mut flag = flag;
    flag.status.percent = Some(10);
    let plan = plan(std::slice::from_ref(&flag), vec![], Some(edited));
    assert_eq!(plan.write.as_ref().unwrap().version.as_deref(), Some("41"));
    assert_eq!(written(&plan)["checkout"]["state"], "ENABLED");
}

#[test]
fn the_status_has_the_grant_before_the_config_map_has_the_percentage() {
    let mut flag = made("checkout", 1, spec(CHECKOUT));
    flag.status.percent = Some(10);
    let config_map = carrying(&[(&flag, Some(10))]);
    let doubtful =
        plan(std::slice::from_ref(&flag), vec![claim("shift", 1, 4, Some(Some(50)), false)], Some(config_map.clone()));
    assert_eq!((doubtful.doubt.as_deref(), doubtful.write.as_ref()), (Some("shift"), None));
    let plan = plan(std::slice::from_ref(&flag), vec![claim("shift", 1, 4, Some(Some(50)), true)], Some(config_map));
    let granted = intent(&flag.status, &plan).unwrap();
    assert_eq!(granted.held_by, Some(holder("shift", 1, 4, 1)));
    assert_eq!(granted.percent, Some(10), "not yet");
    assert_eq!(percent_of(&written(&plan)["checkout"]), Some(50));
    let told = tell(&flag, &plan);
    assert_eq!((told.percent, told.held_spec_percent), (Some(50), Some(10)));
    assert_eq!(reason(&told, types::SPEC_DIVERGED).as_deref(), Some(reasons::SPEC_DIVERGED));
    assert_eq!(notes(&flag.status, &told).last().map(|note| note.action), Some("Raise"));
}

#[test]
fn with_the_status_lost_the_config_map_is_the_truth() {
    let flag = made("checkout", 1, spec(CHECKOUT));
    let config_map = carrying(&[(&flag, Some(75))]);
    let plan = plan(std::slice::from_ref(&flag), vec![], Some(config_map));
    assert_eq!(plan.write, None);
    let told = tell(&flag, &plan);
    assert_eq!((told.percent, told.held_spec_percent), (Some(75), Some(10)));
}

#[test]
fn an_invalid_flag_keeps_its_form_and_drops_no_other() {
    let other = made("banner", 2, spec("{environment: production, variants: {a: x}, defaultVariant: a}"));
    let good = made("checkout", 1, spec(CHECKOUT));
    let config_map = carrying(&[(&good, Some(30)), (&other, None)]);
    let mut bad = made("checkout", 1, spec(&CHECKOUT.replace("serve: \"on\"", "serve: up")));
    bad.status.percent = Some(30);
    let plan_bad = plan(&[bad.clone(), other.clone()], vec![], Some(config_map.clone()));
    assert_eq!(plan_bad.write, None);
    let told = tell(&bad, &plan_bad);
    assert_eq!(reason(&told, types::STALLED).as_deref(), Some(reasons::INVALID_SPEC));
    assert_eq!(told.percent, Some(30));
    assert!(told.published.is_some());
    assert_eq!(
        plan(&[other.clone(), bad.clone()], vec![], Some(config_map.clone())).write,
        None,
        "nor does another's reconcile"
    );
    // A phase still moves it: the way back does not depend on the spec.
    bad.status.held_by = Some(holder("shift", 1, 4, 1));
    let back = plan(&[bad, other], vec![claim("shift", 1, 5, Some(Some(0)), false)], Some(config_map));
    assert_eq!(percent_of(&written(&back)["checkout"]), Some(0));
    assert_eq!(keys(&written(&back)), ["banner", "checkout"]);
}

#[test]
fn the_older_of_two_has_the_key() {
    let older =
        made("first", 1, spec(&CHECKOUT.replace("environment: production", "environment: production\nkey: checkout")));
    let younger = made("checkout", 2, spec(CHECKOUT));
    let refused = plan(&[younger.clone(), older.clone()], vec![], None);
    assert_eq!(refused.write, None);
    let told = tell(&younger, &refused);
    assert_eq!(reason(&told, types::STALLED).as_deref(), Some(reasons::CONFLICTED));
    assert_eq!(told.published, None);
    let granted = plan(&[older.clone(), younger.clone()], vec![], None);
    assert_eq!(published(&written(&granted), "first").map(|(key, _)| key.as_str()), Some("checkout"));
    // When the older one goes, the key is free once the ConfigMap no longer has it.
    let config_map = carrying(&[(&older, Some(10))]);
    let going = Made { deleting: true, ..older };
    assert_eq!(plan(&[younger.clone(), going.clone()], vec![], Some(config_map.clone())).write, None);
    let removal = plan(&[going, younger.clone()], vec![], Some(config_map));
    assert_eq!((removal.finalizer, keys(&written(&removal)).len()), (Finalizer::Remove, 0));
    assert_eq!(keys(&written(&plan(&[younger], vec![], Some(view(&removal.write.unwrap().file))))), ["checkout"]);
}

#[test]
fn a_lost_config_map_is_made_anew_with_all_flags() {
    let mut one = made("checkout", 1, spec(CHECKOUT));
    let mut two = made("banner", 2, spec(&CHECKOUT.replace("percent: 10", "percent: 60")));
    let all = carrying(&[(&one, Some(35)), (&two, Some(80))]);
    one.status.percent = Some(35);
    two.status.percent = Some(80);
    one.status = tell(&one, &plan(&[one.clone(), two.clone()], vec![], Some(all.clone())));
    two.status = tell(&two, &plan(&[two.clone(), one.clone()], vec![], Some(all.clone())));
    let fresh = made("new", 3, spec(CHECKOUT));
    let plan = plan(&[one, two, fresh], vec![], None);
    assert_eq!(
        Some(&plan.write.as_ref().unwrap().file),
        all.file.as_ref(),
        "and without the one that was never published"
    );
}

#[test]
fn a_flag_that_a_phase_moves_cannot_go() {
    let mut flag = Made { deleting: true, ..made("checkout", 1, spec(CHECKOUT)) };
    flag.status = FeatureFlagStatus { percent: Some(10), ..held(holder("shift", 1, 4, 1)) };
    let config_map = carrying(&[(&flag, Some(10))]);
    let stays =
        plan(std::slice::from_ref(&flag), vec![claim("shift", 1, 5, Some(Some(20)), false)], Some(config_map.clone()));
    assert_eq!(stays.finalizer, Finalizer::Keep);
    assert_eq!(percent_of(&written(&stays)["checkout"]), Some(20), "and is moved on");
    assert_eq!(reason(&tell(&flag, &stays), types::RECONCILING).as_deref(), Some(reasons::HELD_BY_PHASE));
    let goes = plan(std::slice::from_ref(&flag), vec![claim("shift", 1, 6, None, false)], Some(config_map));
    assert_eq!(goes.finalizer, Finalizer::Remove);
    assert_eq!(keys(&written(&goes)).len(), 0);
}

#[test]
fn a_config_map_of_somebody_else_is_left_alone() {
    let mut flag = made("checkout", 1, spec(CHECKOUT));
    flag.status.percent = Some(10);
    let foreign = ConfigMapView { environment: None, ..carrying(&[(&flag, Some(10))]) };
    let stuck = plan(std::slice::from_ref(&flag), vec![], Some(foreign.clone()));
    assert_eq!((stuck.write.as_ref(), stuck.finalizer), (None, Finalizer::Keep));
    let told = tell(&flag, &stuck);
    assert_eq!(
        (reason(&told, types::STALLED).as_deref(), told.percent, told.published),
        (Some(reasons::CONFLICTED), Some(10), None)
    );
    flag.deleting = true;
    assert_eq!(plan(std::slice::from_ref(&flag), vec![], Some(foreign)).finalizer, Finalizer::Remove);
}

#[test]
fn without_its_environment_nothing_new_is_published_and_what_is_stays() {
    let mut flag = made("checkout", 1, spec(CHECKOUT));
    let config_map = carrying(&[(&flag, Some(10))]);
    let without = |flags: &[Made], claims, config_map| {
        decide(&Observed { environment: Known::Known(false), ..observed(flags, claims, config_map) })
    };
    let new = without(std::slice::from_ref(&flag), vec![], None);
    assert_eq!((new.write.as_ref(), new.decision.obstacle.as_ref()), (None, Some(&Obstacle::NoEnvironment)));
    assert_eq!(reason(&tell(&flag, &new), types::READY).as_deref(), Some(reasons::REFERENCE_NOT_FOUND));
    flag.status.percent = Some(10);
    let old = without(std::slice::from_ref(&flag), vec![], Some(config_map.clone()));
    assert_eq!((old.write.as_ref(), old.decision.obstacle.as_ref()), (None, Some(&Obstacle::EnvironmentGone)));
    flag.status.held_by = Some(holder("shift", 1, 4, 1));
    let moved =
        without(std::slice::from_ref(&flag), vec![claim("shift", 1, 5, Some(Some(0)), false)], Some(config_map));
    assert_eq!(percent_of(&written(&moved)["checkout"]), Some(0));
}

#[test]
fn nothing_moves_on_what_is_not_known() {
    let mut flag = made("checkout", 1, spec(CHECKOUT));
    flag.status = FeatureFlagStatus { percent: Some(40), held_spec_percent: Some(5), ..held(holder("shift", 1, 4, 1)) };
    let config_map = carrying(&[(&flag, Some(40))]);
    let plan =
        decide(&Observed { claims: Known::Unknown, ..observed(std::slice::from_ref(&flag), vec![], Some(config_map)) });
    assert_eq!((plan.write.as_ref(), plan.finalizer), (None, Finalizer::Keep));
    let told = tell(&flag, &plan);
    assert_eq!(
        (told.percent, told.held_by.clone(), told.held_spec_percent),
        (Some(40), flag.status.held_by.clone(), Some(5))
    );
    assert_eq!(reason(&told, types::RECONCILING).as_deref(), Some(reasons::UNKNOWN_INPUT));
}

#[test]
fn a_phase_that_asks_for_what_no_rule_has_is_told_so() {
    let flag = made("checkout", 1, spec("{environment: production, variants: {a: x}, defaultVariant: a}"));
    let plan = plan(std::slice::from_ref(&flag), vec![claim("shift", 1, 5, Some(Some(20)), true)], None);
    let told = tell(&flag, &plan);
    assert_eq!((told.percent, reason(&told, types::STALLED).as_deref()), (None, Some(reasons::INVALID_SPEC)));
    assert_eq!(keys(&written(&plan)), ["checkout"]);
}

#[test]
fn what_does_not_fit_leaves_everything_as_it_is() {
    let other = made("banner", 1, spec(CHECKOUT));
    let mut flag = made("checkout", 2, spec(CHECKOUT));
    let config_map = carrying(&[(&other, Some(10)), (&flag, Some(10))]);
    flag.status.percent = Some(10);
    flag.spec.variants.insert("huge".into(), serde_json::json!(true));
    flag.spec.variants = [("on".to_owned(), "x".repeat(LARGEST).into()), ("off".to_owned(), "y".into())].into();
    let plan = plan(&[flag.clone(), other], vec![], Some(config_map));
    assert_eq!(plan.write, None);
    let told = tell(&flag, &plan);
    assert_eq!(reason(&told, types::STALLED).as_deref(), Some(reasons::INVALID_SPEC));
    assert!(told.published.is_some(), "in its former form");
}

#[rstest]
#[case::failed(Stopped::Failed("timeout".into()), reasons::RETRYING)]
#[case::refused(Stopped::Refused { reason: reasons::FORBIDDEN, message: "may not".into() }, reasons::FORBIDDEN)]
fn what_was_not_written_does_not_count_as_done(#[case] stopped: Stopped, #[case] wanted: &str) {
    let mut flag = made("checkout", 1, spec(CHECKOUT));
    flag.status =
        FeatureFlagStatus { percent: Some(10), held_spec_percent: Some(10), ..held(holder("shift", 1, 4, 1)) };
    let plan = plan(std::slice::from_ref(&flag), vec![claim("shift", 1, 5, Some(Some(60)), false)], None);
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let told = status(&flag.spec, Some(1), &flag.status, &plan.decision, None, Some(&stopped), now);
    assert_eq!((told.percent, told.published.as_ref()), (Some(10), None));
    assert_eq!(told.held_by, Some(holder("shift", 1, 5, 1)), "the grant is");
    assert_eq!(reason(&told, types::READY).as_deref(), Some(wanted));
}

#[test]
fn another_flags_change_does_not_touch_this_ones_status() {
    let mut flag = made("checkout", 1, spec(CHECKOUT));
    flag.status = tell(&flag, &plan(std::slice::from_ref(&flag), vec![], None));
    let other = made("banner", 2, spec(CHECKOUT));
    let with_other = carrying(&[(&flag, Some(10)), (&other, Some(10))]);
    let plan = plan(&[flag.clone(), other], vec![], Some(with_other));
    let now = Timestamp::from_second(1_800_000_099).unwrap();
    assert_eq!(status(&flag.spec, Some(2), &flag.status, &plan.decision, Some("99"), None, now), flag.status);
}
