//! What is wrong with a spec, by field.

use cutover_api::v1alpha1::{
    MigrationPhaseSpec,
    migration_phase::{Check, CompareCheck, Gates},
    traffic_split::Exposure,
};
use rstest::rstest;

use super::fixture::{check, http_check, job_check, pointing, secs, spec, step, webhook_check};
use crate::migration_phase::{PhaseIdentity, validate};

fn sound() -> MigrationPhaseSpec {
    let mut spec = spec(vec![
        step("some", &[("api", 5), ("web", 5)], &[("basket", 5)], 0),
        step("all", &[("api", 100)], &[("basket", 100)], 0),
    ]);
    spec.checks = vec![check("errors")];
    spec
}

/// Makes the check a comparison.
fn compare(spec: &mut MigrationPhaseSpec) -> &mut Check {
    let query = "sum(increase(x{s=\"$system\"}[$window]))".to_owned();
    let check = &mut spec.checks[0];
    (check.prometheus, check.max) = (None, None);
    check.compare = Some(CompareCheck { errors: query.clone(), requests: query, margin: None });
    check
}

#[test]
fn a_comparison_and_a_condition_are_valid() {
    let mut spec = sound();
    compare(&mut spec).significance = Some("0.05".parse().unwrap());
    spec.checks.push(Check { max: None, condition: Some("new <= 1.5 * legacy".into()), ..check("ratio") });
    let identity = PhaseIdentity { namespace: "shop".into(), name: "p".into(), ..Default::default() };
    assert!(validate(&identity, &spec).is_ok());
}

#[test]
fn a_sound_spec_is_valid() {
    let valid = validate(&PhaseIdentity { namespace: "shop".into(), name: "p".into(), ..Default::default() }, &sound());
    assert_eq!(valid.unwrap().splits().into_iter().collect::<Vec<_>>(), ["api", "web"]);
}

#[rstest]
#[case(|s: &mut MigrationPhaseSpec| s.steps.clear(), "spec.steps")]
#[case(|s: &mut MigrationPhaseSpec| s.steps[1].name = "some".into(), "spec.steps")]
#[case(|s: &mut MigrationPhaseSpec| (s.steps[1].traffic, s.steps[1].flags) = (vec![], vec![]), "spec.steps[1]")]
#[case(|s: &mut MigrationPhaseSpec| s.steps[1].traffic[0].new_weight = 4, "spec.steps[1].traffic[0].newWeight")]
#[case(|s: &mut MigrationPhaseSpec| s.steps[0].traffic[1].new_weight = -1, "spec.steps[0].traffic[1].newWeight")]
#[case(|s: &mut MigrationPhaseSpec| s.steps[1].flags[0].percent = 4, "spec.steps[1].flags[0].percent")]
#[case(|s: &mut MigrationPhaseSpec| s.steps[1].flags[0].percent = 101, "spec.steps[1].flags[0].percent")]
#[case(|s: &mut MigrationPhaseSpec| s.steps[0].traffic[1].split = "api".into(), "spec.steps[0].traffic")]
#[case(|s: &mut MigrationPhaseSpec| s.steps[0].traffic[0].exposure = Some(Exposure::Hidden), "spec.steps[0].traffic[0].exposure")]
#[case(|s: &mut MigrationPhaseSpec| s.checks.push(check("errors")), "spec.checks")]
#[case(|s: &mut MigrationPhaseSpec| s.checks[0].max = None, "spec.checks[0]")]
#[case(|s: &mut MigrationPhaseSpec| s.checks[0].min = Some("0.2".parse().unwrap()), "spec.checks[0].min")]
#[case(|s: &mut MigrationPhaseSpec| s.checks[0].interval = secs(0), "spec.checks[0].interval")]
#[case(|s: &mut MigrationPhaseSpec| s.checks[0].http = http_check("both").http, "spec.checks[0]")]
#[case(|s: &mut MigrationPhaseSpec| s.checks = vec![Check { max: Some("1".parse().unwrap()), ..webhook_check("bounded") }], "spec.checks[0]")]
#[case(|s: &mut MigrationPhaseSpec| s.checks[0] = { let mut c = webhook_check("x"); c.webhook.as_mut().unwrap().url = "judge".into(); c }, "spec.checks[0].webhook.url")]
#[case(|s: &mut MigrationPhaseSpec| s.checks[0] = { let mut c = webhook_check("x"); c.webhook.as_mut().unwrap().timeout = secs(31); c }, "spec.checks[0].webhook.timeout")]
#[case(|s: &mut MigrationPhaseSpec| s.checks = vec![Check { max: Some("1".parse().unwrap()), ..job_check("bounded") }], "spec.checks[0]")]
#[case(|s: &mut MigrationPhaseSpec| { s.checks = vec![job_check("long")]; s.checks[0].job.as_mut().unwrap().timeout = secs(3); }, "spec.checks[0].job.timeout")]
#[case(|s: &mut MigrationPhaseSpec| { s.checks = vec![job_check("twice")]; s.checks[0].job.as_mut().unwrap().spec["completions"] = 2.into(); }, "spec.checks[0].job.spec.parallelism")]
#[case(|s: &mut MigrationPhaseSpec| s.checks = vec![Check { max: None, ..pointing("nothing said") }], "spec.checks[0].http.pointer")]
#[case(|s: &mut MigrationPhaseSpec| s.checks[0].prometheus.as_mut().unwrap().query = "up{a=\"$job\"}".into(), "spec.checks[0].prometheus.query")]
#[case(|s: &mut MigrationPhaseSpec| s.checks[0].prometheus.as_mut().unwrap().query = "up{a=\"$split\"}".into(), "spec.checks[0].prometheus.query")]
#[case(|s: &mut MigrationPhaseSpec| (s.checks[0].max, s.checks[0].condition) = (None, Some("value < x".into())), "spec.checks[0].condition")]
#[case(|s: &mut MigrationPhaseSpec| s.checks[0].condition = Some("value < 1".into()), "spec.checks[0]")]
#[case(
    |s: &mut MigrationPhaseSpec| {
        s.checks[0].prometheus.as_mut().unwrap().query = "up".into();
        (s.checks[0].max, s.checks[0].condition) = (None, Some("new < legacy".into()));
    },
    "spec.checks[0].prometheus.query"
)]
#[case(|s: &mut MigrationPhaseSpec| s.checks[0].min_samples = Some(1), "spec.checks[0]")]
#[case(|s: &mut MigrationPhaseSpec| (s.checks[0].prometheus, s.checks[0].max) = (None, None), "spec.checks[0]")]
#[case(|s: &mut MigrationPhaseSpec| compare(s).max = Some("1".parse().unwrap()), "spec.checks[0]")]
#[case(|s: &mut MigrationPhaseSpec| compare(s).significance = Some("0.51".parse().unwrap()), "spec.checks[0].significance")]
#[case(|s: &mut MigrationPhaseSpec| compare(s).compare.as_mut().unwrap().margin = Some("1".parse().unwrap()), "spec.checks[0].compare.margin")]
#[case(|s: &mut MigrationPhaseSpec| compare(s).compare.as_mut().unwrap().errors = "e[$window]".into(), "spec.checks[0].compare.errors")]
#[case(|s: &mut MigrationPhaseSpec| compare(s).compare.as_mut().unwrap().requests = "r{s=\"$system\"}[5m]".into(), "spec.checks[0].compare.requests")]
#[case(|s: &mut MigrationPhaseSpec| s.environment = None, "spec.environment")]
#[case(|s: &mut MigrationPhaseSpec| s.shift_timeout = secs(0), "spec.shiftTimeout")]
#[case(|s: &mut MigrationPhaseSpec| s.rollback.timeout = secs(0), "spec.rollback.timeout")]
#[case(
    |s: &mut MigrationPhaseSpec| {
        s.checks.clear();
        s.environment = None;
        s.gates = Some(Gates { components_ready: true, ..Gates::default() });
    },
    "spec.gates.componentsReady"
)]
#[case(
    |s: &mut MigrationPhaseSpec| for i in 0..65 {
        let name = format!("split-{i:02}");
        s.steps.push(step(&format!("step-{i:02}"), &[(&name, 1)], &[], 0));
    },
    "spec.steps"
)]
fn what_is_wrong_is_named_by_its_field(#[case] change: fn(&mut MigrationPhaseSpec), #[case] field: &str) {
    let mut spec = sound();
    change(&mut spec);
    let identity = PhaseIdentity { namespace: "shop".into(), name: "p".into(), ..Default::default() };
    let problems = validate(&identity, &spec).unwrap_err().problems;
    assert_eq!(problems.iter().map(|problem| problem.field.as_str()).collect::<Vec<_>>(), [field], "{problems:?}");
}
