//! Specs to test with.

use cutover_api::{
    HumanDuration,
    v1alpha1::{
        MigrationPhaseSpec,
        migration_phase::{
            Check, FlagTarget, Hook, HttpCheck, HttpMethod, JobCheck, Migration, PrometheusCheck, StatusRange, Step,
            StepApproval, TrafficTarget, WebhookCheck,
        },
    },
};

pub fn secs(seconds: u64) -> HumanDuration {
    HumanDuration::from_secs(seconds)
}

/// A phase as CEL's defaults make it, with these steps.
pub fn spec(steps: Vec<Step>) -> MigrationPhaseSpec {
    let mut spec: MigrationPhaseSpec = serde_json::from_value(serde_json::json!({ "steps": [] })).unwrap();
    spec.steps = steps;
    spec.environment = Some("production".into());
    spec
}

pub fn step(name: &str, traffic: &[(&str, i32)], flags: &[(&str, i32)], soak: u64) -> Step {
    let traffic = traffic.iter().map(|(split, new_weight)| TrafficTarget {
        split: (*split).to_owned(),
        new_weight: *new_weight,
        exposure: None,
    });
    let flags = flags.iter().map(|(flag, percent)| FlagTarget { flag: (*flag).to_owned(), percent: *percent });
    Step {
        name: name.into(),
        traffic: traffic.collect(),
        flags: flags.collect(),
        soak: secs(soak),
        hooks: Vec::new(),
        verified: false,
        approval: None,
    }
}

/// May take 30 s.
pub fn hook(name: &str) -> Hook {
    let job = serde_json::json!({"template": {"spec": {"containers": [{"name": "run", "image": "smoke:1"}]}}});
    Hook { name: name.into(), job, timeout: secs(30), migration: None }
}

/// Leads the schema to this version, and back if `undone`.
pub fn migration(name: &str, version: i64, undone: bool) -> Hook {
    let hook = hook(name);
    let down = undone.then(|| hook.job.clone());
    Hook { migration: Some(Migration { version, down }), ..hook }
}

pub fn approved(mut step: Step, required: i32, groups: &[&str]) -> Step {
    let groups = groups.iter().map(|group| (*group).to_owned()).collect();
    step.approval = Some(StepApproval { required, groups });
    step
}

/// Fails above 0.1; every 2 s, three in a row, no warm-up.
pub fn check(name: &str) -> Check {
    Check {
        name: name.into(),
        prometheus: Some(PrometheusCheck { query: "errors{system=\"$system\"}".into() }),
        compare: None,
        http: None,
        webhook: None,
        job: None,
        min: None,
        max: Some("0.1".parse().unwrap()),
        condition: None,
        dry_run: false,
        significance: None,
        min_samples: None,
        interval: secs(2),
        fail_after: 3,
        no_data: cutover_api::v1alpha1::migration_phase::NoDataPolicy::default(),
        no_data_timeout: secs(8),
        warmup: None,
    }
}

/// Fails above 0.1 s, and when it is not answered with 200 to 299; every 2 s, three in a row.
pub fn http_check(name: &str) -> Check {
    let asked = HttpCheck {
        url: "http://api.shop.svc:8080/health".into(),
        legacy_url: None,
        method: HttpMethod::Get,
        headers: vec![],
        expect_status: StatusRange::default(),
        pointer: None,
        timeout: secs(1),
        ca_bundle: None,
    };
    Check { prometheus: None, http: Some(asked), ..check(name) }
}

/// A Job, every 2 s, three failures in a row.
pub fn job_check(name: &str) -> Check {
    let asked = JobCheck { spec: hook("").job, timeout: secs(1) };
    Check { prometheus: None, max: None, job: Some(asked), ..check(name) }
}

/// An HTTP check about a number of the answer: fails above 0.1.
pub fn pointing(name: &str) -> Check {
    let mut check = http_check(name);
    check.http.iter_mut().for_each(|asked| asked.pointer = Some("/errors".into()));
    check
}

/// Fails when somebody else says so; every 2 s, three in a row.
pub fn webhook_check(name: &str) -> Check {
    let asked = WebhookCheck { url: "https://judge.shop.svc/phase".into(), timeout: secs(1), ca_bundle: None };
    Check { prometheus: None, max: None, webhook: Some(asked), ..check(name) }
}
