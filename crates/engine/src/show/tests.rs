//! What people see.

use jiff::{SignedDuration, Timestamp};
use rstest::rstest;
use serde_json::{Value, json};

use super::{
    Objects, Paint,
    history::{history, text},
    ink::Ink,
    length, overview, table,
    tree::tree,
};

fn objects() -> Objects {
    let of = |kind: &str, name: &str, spec: Value, status: Value| {
        json!({"apiVersion": "cutover.dev/v1alpha1", "kind": kind,
            "metadata": {"name": name, "namespace": "shop", "uid": format!("uid-{name}"), "generation": 2}, "spec": spec, "status": status})
    };
    let read = |value: Value| serde_json::from_value(value);
    let ready = json!([{"type": "Ready", "status": "True", "reason": "AsDeclared", "message": "", "lastTransitionTime": "2026-12-01T09:00:00Z"}]);
    let environment =
        of("Environment", "production", json!({"tier": "Production", "components": []}), json!({"conditions": ready}));
    let split = of(
        "TrafficSplit",
        "shop",
        json!({"hosts": ["shop.example.com"], "new": {"service": {"name": "new", "port": 80}}, "routers": []}),
        json!({"appliedWeight": 20, "desiredWeight": 50, "endpoints": {"legacy": {"ready": 3}, "new": {"ready": 8}}}),
    );
    let steps = json!([
        {"name": "few", "traffic": [{"split": "shop", "newWeight": 5}]},
        {"name": "half", "traffic": [{"split": "shop", "newWeight": 50}], "flags": [{"flag": "checkout", "percent": 50}], "approval": {"required": 2}},
        {"name": "all", "traffic": [{"split": "shop", "newWeight": 100}]},
    ]);
    let running = json!({
        "observedGeneration": 2, "state": "Running", "attempt": 2,
        "step": {"index": 1, "name": "half", "stage": "Shifting", "moved": true, "startedAt": "2026-12-01T09:59:00Z"},
        "checks": [{"name": "errors", "state": "Failing", "value": "0.2", "consecutiveFailures": 2, "message": "0.2 is above max 0.05"}],
        "approvals": [{"step": "half", "by": "alice", "at": "2026-12-01T09:59:30Z", "action": "a"}],
        "blockedBy": [{"reason": "Shifting", "message": "TrafficSplit shop is at 20 and goes to 50"},
            {"reason": "Soaking", "message": "step half soaks for 2h", "until": "2026-12-01T11:30:00Z"}],
        "history": [{"at": "2026-12-01T09:00:00Z", "attempt": 1, "reason": "RollingBack", "step": "few", "message": "back to Baseline: shop 0"},
            {"at": "2026-12-01T09:30:00Z", "attempt": 2, "reason": "Retried", "message": "attempt 2 begins", "by": "alice"}],
    });
    let phase = |name: &str, after: Value, status: Value| {
        of("MigrationPhase", name, json!({"environment": "production", "after": after, "steps": steps}), status)
    };
    let done =
        json!({"observedGeneration": 2, "state": "Completed", "attempt": 1, "finishedAt": "2026-12-01T08:00:00Z"});
    let waiting = json!({"observedGeneration": 1, "state": "Waiting",
        "blockedBy": [{"reason": "PredecessorNotCompleted", "message": "phase z-shift is Running: it has to be Completed first"}]});
    let back = json!({"observedGeneration": 2, "state": "RolledBack", "attempt": 1, "finishedAt": "2026-12-01T09:00:00Z",
        "failure": {"reason": "CheckFailed", "message": "check errors failed 3 times in a row", "step": "few", "at": "2026-12-01T08:59:00Z"}});
    let mut alone: Value = phase("alone", json!([]), back);
    alone["spec"]["environment"].take();
    let phases = [
        phase("a-last", json!(["z-shift"]), waiting),
        phase("z-shift", json!(["m-first"]), running),
        phase("m-first", json!([]), done),
        alone,
    ];
    Objects {
        environments: vec![serde_json::from_value(environment).unwrap()],
        phases: phases.into_iter().map(|value| read(value).unwrap()).collect(),
        splits: vec![serde_json::from_value(split).unwrap()],
        flags: vec![],
    }
}

fn now() -> Timestamp {
    "2026-12-01T10:00:00Z".parse().unwrap()
}

#[test]
fn the_tree_reads_like_this() {
    insta::assert_snapshot!(tree(&overview(&objects(), None), now(), false, Paint::Plain));
}

#[test]
fn one_phase_is_shown_alone() {
    let text = tree(&overview(&objects(), Some("z-shift")), now(), true, Paint::Plain);
    assert!(text.starts_with("shop/production  Ready\n└─ z-shift"), "{text}");
    assert!(!text.contains("m-first"));
}

#[test]
fn the_state_as_data_keeps_its_names() {
    insta::assert_json_snapshot!(overview(&objects(), Some("z-shift")));
}

#[test]
fn history_is_what_happened_and_what_was_asked_of_this_very_phase() {
    let objects = objects();
    let phase = objects.phases.iter().find(|phase| phase.metadata.name.as_deref() == Some("z-shift")).unwrap();
    let action = |uid: &str, at: &str, status: Value| {
        let spec = json!({"phase": "z-shift", "phaseUID": uid, "attempt": 1, "action": "Retry", "requestedBy": "bob", "reason": "mended"});
        let meta = json!({"name": "retry-1", "namespace": "shop", "creationTimestamp": at});
        let value = json!({"apiVersion": "cutover.dev/v1alpha1", "kind": "PhaseAction", "metadata": meta, "spec": spec, "status": status});
        serde_json::from_value(value).unwrap()
    };
    let rejected = json!({"state": "Rejected", "reason": "NotApplicable", "message": "the phase is Running"});
    let actions = [
        action("uid-z-shift", "2026-12-01T09:10:00Z", rejected),
        action("uid-of-one-before", "2026-12-01T09:11:00Z", json!({})),
    ];
    let happened = history(phase, &actions);
    assert_eq!(
        happened.iter().map(|one| one.what.as_str()).collect::<Vec<_>>(),
        ["RollingBack", "Retry asked", "Retried"]
    );
    assert!(happened[1].rejected);
    insta::assert_snapshot!(text(&happened, Paint::Plain));
}

#[rstest]
#[case(0, "0s")]
#[case(59, "59s")]
#[case(3_600, "1h")]
#[case(3_601, "1h")]
#[case(5_430, "1h30m")]
#[case(90_061, "1d1h")]
#[case(1_802, "30m2s")]
fn lengths_are_read_at_a_glance(#[case] seconds: i64, #[case] text: &str) {
    assert_eq!(length(SignedDuration::from_secs(seconds)), text);
}

#[test]
fn colours_take_no_room_in_a_table() {
    let rows = |paint: Paint| table([vec![paint.ink(Ink::Bad, "a"), "b".into()], vec!["long".into(), "c".into()]]);
    assert_eq!(rows(Paint::Plain), ["a     b", "long  c"]);
    let coloured = rows(Paint::Coloured)[0].clone();
    assert_eq!(coloured, "\u{1b}[31ma\u{1b}[0m     b");
}
