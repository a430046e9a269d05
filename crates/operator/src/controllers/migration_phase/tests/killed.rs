//! A process that is killed between any two requests: the next one brings the phase to the same end.

use cutover_engine::migration_phase::audit::verify::Log;
use serde_json::{Value, json};

use super::{
    audit_log, text,
    world::{Kill, World},
};

/// Approves the step when it awaits that, once.
fn approve(world: &mut World) -> bool {
    let due = *world.stage() == "AwaitingApproval" && world.actions.is_empty();
    if due {
        world.act("yes", "Approve");
    }
    due
}

/// Approves each step when it awaits that, and when all is done asks to go all the way back.
fn approve_each_and_go_back(world: &mut World) -> bool {
    let step = world.phase["status"]["step"]["name"].as_str().unwrap_or_default().to_owned();
    let name = match world.phase["status"]["state"].as_str() {
        Some("Running") if *world.stage() == "AwaitingApproval" => format!("yes-{step}"),
        Some("Completed") => "back".to_owned(),
        _ => return false,
    };
    let due = world.actions.iter().all(|action| action["metadata"]["name"] != *name);
    if due {
        let action = if name == "back" { "Rollback" } else { "Approve" };
        world.act(&name, action);
    }
    due
}

/// What is left when all is done; instants aside.
fn end(world: &World) -> Value {
    let status = &world.phase["status"];
    let told: Vec<_> = status["history"].as_array().unwrap().iter().map(|it| (&it["reason"], &it["by"])).collect();
    json!({
        "state": status["state"], "attempt": status["attempt"], "requests": status["requests"],
        "revision": status["requestRevision"], "approvals": status["approvals"].as_array().map(Vec::len),
        "applied": status["appliedActions"], "history": format!("{told:?}"),
        "weight": world.split["status"]["appliedWeight"], "holder": world.split["status"]["holder"],
        "others": world.other_splits.iter().map(|split| &split["status"]).collect::<Vec<_>>(),
        "flags": world.flags.iter().map(|flag| &flag["status"]).collect::<Vec<_>>(),
        "baseline": status["baseline"],
        "actions": world.actions.iter().map(|action| &action["status"]["state"]).collect::<Vec<_>>(),
    })
}

/// The end that an undisturbed process comes to, which every killed one has come to as well; and how many requests it took.
async fn same_end(start: impl Fn() -> World, person: fn(&mut World) -> bool) -> (Value, usize) {
    let mut undisturbed = start();
    undisturbed.run(None, person).await;
    let expected = end(&undisturbed);
    for at in 0..undisturbed.requests {
        for kill in [Kill::Before(at), Kill::After(at)] {
            let (lines, _guard) = audit_log();
            let mut world = start();
            world.run(Some(kill), person).await;
            assert_eq!(end(&world), expected, "{kill:?}");
            // What was logged by them all has every record, and ends where the status does.
            let phase = serde_json::from_value(world.phase.clone()).unwrap();
            let verified = Log::read(&text(&lines)).verify_phase(&phase);
            assert!(verified.findings.is_empty() && verified.records > 4, "{kill:?}: {verified:#?}");
        }
    }
    (expected, undisturbed.requests)
}

#[tokio::test]
async fn a_process_killed_at_any_request_changes_nothing_but_the_time_it_takes() {
    let (end, requests) = same_end(World::with_approval, approve).await;
    assert_eq!(
        (&end["state"], &end["weight"], &end["actions"]),
        (&json!("Completed"), &json!(100), &json!(["Accepted"]))
    );
    assert!(requests >= 6, "{requests} requests");
}

#[tokio::test]
async fn a_process_killed_at_any_request_of_a_whole_migration_and_its_way_back_comes_to_the_same_end() {
    let (end, requests) = same_end(World::with_two_splits_and_a_flag, approve_each_and_go_back).await;
    let accepted = json!(["Accepted", "Accepted", "Accepted", "Accepted"]);
    assert_eq!(
        (&end["state"], &end["weight"], &end["actions"], &end["attempt"]),
        (&json!("RolledBack"), &json!(0), &accepted, &json!(1))
    );
    let (other, flag) = (&end["others"][0], &end["flags"][0]);
    assert_eq!((&other["appliedWeight"], &flag["percent"]), (&json!(0), &json!(0)));
    assert!(end["holder"].is_null() && other["holder"].is_null() && flag["heldBy"].is_null(), "{end:#}");
    assert!(requests >= 20, "{requests} requests");
    println!("killed before and after each of {requests} requests");
}
