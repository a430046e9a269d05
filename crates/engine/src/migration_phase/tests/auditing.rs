//! The audit log: what is in it, and what is noticed when it was changed.

use cutover_api::v1alpha1::{MigrationPhase, MigrationPhaseStatus, phase_action::ActionKind};
use rstest::rstest;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::simulator::{Cut, Situation, World, reach};
use crate::migration_phase::{
    PhaseIdentity,
    audit::{
        Line, audit_lines,
        verify::{Log, Verified},
    },
};

/// A phase that people decide about, and its log.
fn story() -> (World, Vec<String>) {
    let mut world = reach(Situation::Soaking);
    for kind in [ActionKind::Pause, ActionKind::Resume, ActionKind::Promote, ActionKind::Rollback, ActionKind::Retry] {
        world.ask(kind, "carol");
        world.run(12);
    }
    let log = world.log.iter().map(|line| written(line)).collect();
    (world, log)
}

fn identity(world: &World) -> PhaseIdentity {
    world.observe(&world.stored).phase
}

fn written(line: &Line) -> String {
    let mut value = serde_json::to_value(line).unwrap();
    value["target"] = json!("audit");
    value["level"] = json!("INFO");
    value.to_string()
}

fn phase(world: &World) -> MigrationPhase {
    let identity = identity(world);
    let mut phase: MigrationPhase = serde_json::from_value(json!({
        "apiVersion": "cutover.dev/v1alpha1", "kind": "MigrationPhase",
        "metadata": {"namespace": identity.namespace, "name": identity.name, "uid": identity.uid}, "spec": {"steps": []},
    }))
    .unwrap();
    phase.status = Some(world.stored.clone());
    phase
}

fn verified(log: &[String], world: &World) -> Verified {
    Log::read(&log.join("\n")).verify_phase(&phase(world))
}

#[test]
fn a_record_is_the_hash_of_what_it_says_and_of_the_one_before_it() {
    let (_, log) = story();
    let lines: Vec<Value> = log.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() > 8, "{log:#?}");
    for pair in lines.windows(2) {
        assert_eq!(pair[1]["previous"], pair[0]["hash"]);
    }
    for line in &lines {
        let fields = "previous namespace phase uid generation attempt sequence at who what why before after";
        let values: Vec<String> = fields.split(' ').map(|field| line[field].to_string()).collect();
        assert_eq!(line["hash"], format!("{:x}", Sha256::digest(format!("[{}]", values.join(",")))));
    }
}

#[test]
fn who_is_turned_down_is_in_the_log() {
    let mut world = reach(Situation::Soaking);
    world.ask(ActionKind::Resume, "mallory");
    let plan = world.plan(&world.observe(&world.stored));
    let line = audit_lines(&identity(&world), &plan.status).pop().unwrap();
    assert_eq!(
        (line.record.who.as_str(), line.record.what.as_str(), &line.record.before),
        ("mallory", "TurnDown", &line.record.after)
    );
    assert!(
        line.record.why.contains("Resume by mallory") && line.record.why.ends_with("Asked because: a reason"),
        "{}",
        line.record.why
    );
}

#[test]
fn many_decisions_at_once_are_made_one_after_the_other() {
    let mut world = reach(Situation::Soaking);
    for _ in 0..40 {
        world.ask(ActionKind::Resume, "mallory");
    }
    let (mut rounds, mut turned_down) = (0, 0);
    while turned_down < 40 {
        let plan = world.plan(&world.observe(&world.stored));
        let records = &plan.status.audit.as_ref().unwrap().records;
        assert!(records.len() <= 24 && rounds < 9, "{}", records.len());
        turned_down += records.iter().filter(|record| record.what == "TurnDown").count();
        let settled = |uid: &String| plan.settle.iter().any(|settlement| settlement.uid == *uid);
        world.actions.iter_mut().for_each(|action| action.settled |= settled(&action.uid));
        world.stored = plan.status;
        rounds += 1;
    }
    assert!(rounds > 1);
}

#[test]
fn a_log_is_whole_in_any_order_and_with_lines_twice() {
    let (world, mut log) = story();
    assert_eq!(verified(&log, &world).findings, [] as [&str; 0]);
    let count = log.len();
    log.reverse();
    log.push(log[2].clone());
    log.insert(1, r#"{"level":"INFO","target":"cutover_operator","message":"not \"target\":\"audit\""}"#.to_owned());
    log.insert(3, "[pod/cutover-0] starting {".to_owned());
    let found = verified(&log, &world);
    assert_eq!((found.records, found.repeated), (count, 1));
    assert_eq!(found.last, world.stored.audit.as_ref().unwrap().sequence);
    assert_eq!(verified(&log, &world).findings, [] as [&str; 0]);
}

#[rstest]
#[case::changed(|log: &mut Vec<String>| log[3] = log[3].replace("carol", "carla").replace("cutover", "nobody"), "was changed")]
#[case::taken_out(|log: &mut Vec<String>| drop(log.remove(4)), "are missing")]
#[case::cut_off(|log: &mut Vec<String>| drop(log.pop()), "the last records are missing")]
#[case::all_gone(Vec::clear, "the last records are missing")]
#[case::put_in(|log: &mut Vec<String>| log.push(forged(&log[3])), "is followed by more than one")]
#[case::made_up(|log: &mut Vec<String>| log.push(first(&log[3])), "begins more than once")]
#[case::gone_on(|log: &mut Vec<String>| log.push(next(log)), "the log goes on after record")]
fn what_was_done_to_a_log_is_found(#[case] done: fn(&mut Vec<String>), #[case] finding: &str) {
    let (world, mut log) = story();
    done(&mut log);
    let found = verified(&log, &world).findings;
    assert!(found.iter().any(|text| text.contains(finding)), "{found:#?}");
}

#[test]
fn a_record_is_logged_also_when_the_operator_ended_right_after_it_was_stored() {
    let mut world = reach(Situation::Soaking);
    world.ask(ActionKind::Pause, "carol");
    let before = world.log.len();
    world.reconcile(Cut::AfterWrite);
    assert_eq!(world.log.len(), before, "it has not ended in time");
    world.restart();
    world.reconcile(Cut::Never);
    assert_eq!(world.log[before].record.what, "Pause");
    // Whoever takes over logs it once more, and it can be told that it is the same.
    world.restart();
    world.reconcile(Cut::Never);
    assert_eq!(world.log.last(), Some(&world.log[before]));
    let log: Vec<String> = world.log.iter().map(|line| written(line)).collect();
    let found = verified(&log, &world);
    assert_eq!((found.findings.as_slice(), found.repeated), (&[][..], 1));
}

#[test]
fn after_a_lost_status_the_chain_begins_anew() {
    let mut world = reach(Situation::Soaking);
    world.stored = MigrationPhaseStatus::default();
    world.run(3);
    assert_eq!(world.stored.audit.as_ref().unwrap().sequence, 1);
    let log: Vec<String> = world.log.iter().map(|line| written(line)).collect();
    let found = verified(&log, &world).findings;
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].contains("the phase's status was lost in between"), "{found:#?}");
}

/// A record with another text and a hash that fits.
fn forged(line: &str) -> String {
    rehashed(line, |line| line.record.why.push_str(" (really)"))
}

fn first(line: &str) -> String {
    rehashed(line, |line| (line.record.previous, line.record.sequence) = (String::new(), 1))
}

fn next(log: &[String]) -> String {
    rehashed(&log[log.len() - 1], |line| {
        (line.record.previous, line.record.sequence) = (line.record.hash.clone(), line.record.sequence + 1);
    })
}

fn rehashed(line: &str, change: impl FnOnce(&mut Line)) -> String {
    let mut line: Line = serde_json::from_str(line).unwrap();
    change(&mut line);
    line.record.hash = line.expected_hash();
    written(&line)
}

#[test]
fn half_a_line_is_found() {
    let (_, log) = story();
    let half = &log[0][..log[0].len() / 2];
    let log =
        Log::read(&format!("{}\n{{\"target\":\"audit\",\"who\":\"x\"}}\nx {{\"target\":\"audit\",{half}\n", log[1]));
    assert_eq!(log.unreadable(), [2, 3]);
}
