//! A process that is killed between any two requests: the next one brings the phase to the same end.

use serde_json::{Value, json};

use super::world::{Kill, World};

/// Approves the step when it awaits that, once.
fn approve(world: &mut World) -> bool {
    let due = *world.stage() == "AwaitingApproval" && world.actions.is_empty();
    if due {
        world.act("yes", "Approve");
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
        "action": world.action("yes")["status"]["state"],
    })
}

#[tokio::test]
async fn a_process_killed_at_any_request_changes_nothing_but_the_time_it_takes() {
    let mut undisturbed = World::with_approval();
    undisturbed.run(None, approve).await;
    let expected = end(&undisturbed);
    assert_eq!(
        (&expected["state"], &expected["weight"], &expected["action"]),
        (&json!("Completed"), &json!(100), &json!("Accepted"))
    );
    assert!(undisturbed.requests >= 6, "{} requests", undisturbed.requests);
    for at in 0..undisturbed.requests {
        for kill in [Kill::Before(at), Kill::After(at)] {
            let mut world = World::with_approval();
            world.run(Some(kill), approve).await;
            assert_eq!(end(&world), expected, "{kill:?}");
        }
    }
}
