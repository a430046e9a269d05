//! Hooks against a scripted API server: the intent comes first, its Job is asked for once, and whatever the answer is, it is not asked
//! for again.

use std::time::Duration;

use cutover_api::labels::MANAGER_MIGRATION_PHASE;
use cutover_engine::migration_phase::Measured;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{
    super::Hooks,
    world::{STATUS, World},
};
use crate::{
    cluster::{
        scripted::{Exchange, Scripted, server},
        stores::Key,
    },
    controllers::{driver::Reconciler, jobs::Jobs, scripted::Shown},
};

const JOBS: &str = "/apis/batch/v1/namespaces/shop/jobs";

/// A phase whose split is held and whose first hook is due.
async fn due() -> World {
    let job = json!({"template": {"spec": {"containers": [{"name": "run", "image": "smoke:1"}]}}});
    let all = json!({"name": "all", "traffic": [{"split": "storefront", "newWeight": 100}]});
    let mut world = World::new(&json!({"steps": [all], "hooks": {"before": [{"name": "backup", "job": job}]}}));
    assert!(world.reconcile(None).await && world.follow());
    world
}

/// The write that records the intent, carried out; the request that follows it.
async fn intend(world: &mut World, api: &mut Scripted) -> Exchange {
    let write = api.expect(Method::PATCH, STATUS).await;
    assert_eq!(write.body["status"]["hooks"][0]["state"], "Started");
    let stored = world.carry_out(&write).unwrap();
    write.ok(&stored);
    api.expect(Method::POST, JOBS).await
}

fn state(world: &World) -> &Value {
    &world.phase["status"]["hooks"][0]["state"]
}

/// The controller's next write of the phase's status, once what it looks for beside is answered by `answer`.
async fn next_status(world: &mut World, answer: impl Fn(Exchange)) {
    let (context, mut api, _events) = world.start();
    let reconcile = async |context: &super::super::Context, world: &World| context.reconcile(world.cached()).await;
    // It starts to look, and decides nothing.
    reconcile(&context, world).await.unwrap();
    answer(api.next().await);
    let mut served = false;
    for _ in 0..200 {
        let cached = world.cached();
        let work = context.reconcile(cached);
        tokio::pin!(work);
        tokio::select! {
            biased;
            request = api.next() => {
                assert_eq!((&request.method, request.path.as_str()), (&Method::PATCH, STATUS));
                let stored = world.carry_out(&request).unwrap();
                request.ok(&stored);
                work.await.unwrap();
                served = true;
            }
            result = &mut work => drop(result.unwrap()),
        }
        if served {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("nothing comes of it: {:#}", world.phase["status"]["hooks"]);
}

#[tokio::test]
async fn a_job_is_made_after_its_intent_and_only_once() {
    let mut world = due().await;
    let (context, mut api, _events) = world.start();
    let cached = world.cached();
    let served = async {
        let post = intend(&mut world, &mut api).await;
        let job = &post.body;
        let name = world.phase["status"]["hooks"][0]["job"].clone();
        assert_eq!((&job["metadata"]["name"], &job["spec"]["backoffLimit"]), (&name, &json!(0)));
        assert_eq!(post.parameter("fieldManager").as_deref(), Some("cutover.dev/migration-phase"));
        let mut made = job.clone();
        made["metadata"]["uid"] = "j1".into();
        post.answer(StatusCode::CREATED, &made);
        made
    };
    let (result, made) = tokio::join!(context.reconcile(cached), served);
    result.unwrap();
    // The cache does not show it yet; the same process knows.
    context.reconcile(world.cached()).await.unwrap();
    drop(context);
    api.no_more().await;
    // Another process finds it in its cache, and waits.
    world.jobs = vec![made];
    assert!(!world.reconcile(None).await);
    world.jobs[0]["status"] = json!({"conditions": [{"type": "Complete", "status": "True"}]});
    assert!(world.reconcile(None).await);
    assert_eq!((state(&world), world.stage()), (&json!("Succeeded"), &json!("Shifting")));
}

#[tokio::test]
async fn a_process_that_dies_before_the_job_is_made_leaves_it_unknown() {
    let mut world = due().await;
    let (context, mut api, _events) = world.start();
    let cached = world.cached();
    tokio::select! {
        post = intend(&mut world, &mut api) => drop(post),
        _ = context.reconcile(cached) => panic!("it does not wait for the Job"),
    }
    drop((context, api));
    assert_eq!(state(&world), "Started");
    next_status(&mut world, |look| {
        assert_eq!((&look.method, look.path.as_str()), (&Method::GET, JOBS));
        assert!(
            look.parameter("fieldSelector").is_some_and(|selector| selector.starts_with("metadata.name=30-shift-"))
        );
        look.ok(&json!({"apiVersion": "batch/v1", "kind": "JobList", "metadata": {}, "items": []}));
    })
    .await;
    assert_eq!(state(&world), "Unknown");
    let blocked = world.phase["status"]["blockedBy"].as_array().unwrap();
    assert!(blocked.iter().any(|blocker| blocker["reason"] == "HookUnknown"), "{blocked:?}");
    assert_eq!(world.split["status"]["appliedWeight"], 0);
}

#[tokio::test]
async fn a_refused_job_is_a_failed_hook() {
    let mut world = due().await;
    let (context, mut api, _events) = world.start();
    let cached = world.cached();
    let served = async { intend(&mut world, &mut api).await.refuse(StatusCode::FORBIDDEN, "exceeded quota") };
    let (result, ()) = tokio::join!(context.reconcile(cached), served);
    result.unwrap();
    let cached = world.cached();
    let served = async {
        let write = api.expect(Method::PATCH, STATUS).await;
        let stored = world.carry_out(&write).unwrap();
        write.ok(&stored);
    };
    let (result, ()) = tokio::join!(context.reconcile(cached), served);
    result.unwrap();
    assert_eq!((state(&world), &world.phase["status"]["state"]), (&json!("Failed"), &json!("Frozen")));
    let message = world.phase["status"]["failure"]["message"].as_str().unwrap();
    assert!(message.contains("exceeded quota"), "{message}");
}

#[tokio::test]
async fn an_answer_that_is_lost_makes_it_look_and_not_try_again() {
    let mut world = due().await;
    let (context, mut api, _events) = world.start();
    let cached = world.cached();
    let served = async { intend(&mut world, &mut api).await.lose() };
    let (result, ()) = tokio::join!(context.reconcile(cached), served);
    result.unwrap();
    let look = api.next().await;
    assert_eq!((&look.method, look.path.as_str()), (&Method::GET, JOBS));
}

#[tokio::test]
async fn the_last_words_of_a_failed_job_are_kept() {
    let mut world = due().await;
    let (context, mut api, _events) = world.start();
    let cached = world.cached();
    let served = async {
        let post = intend(&mut world, &mut api).await;
        let made = post.body.clone();
        post.answer(StatusCode::CREATED, &made);
        made
    };
    let (result, mut made) = tokio::join!(context.reconcile(cached), served);
    result.unwrap();
    drop((context, api));
    let failed = json!({"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "once"});
    made["status"] = json!({"conditions": [failed]});
    world.jobs = vec![made];
    next_status(&mut world, |request| {
        assert_eq!(request.path, "/api/v1/namespaces/shop/pods");
        request.refuse(StatusCode::FORBIDDEN, "no pods");
    })
    .await;
    let hook = &world.phase["status"]["hooks"][0];
    assert_eq!(hook["state"], "Failed");
    assert!(hook["message"].as_str().unwrap().starts_with("BackoffLimitExceeded: once; its pod could not be read"));
}

/// What a check's Job comes to, when the API server is served by `serve` and its cache shows `shown` afterwards.
async fn checked(shown: &[Value], serve: impl AsyncFnOnce(&mut Scripted)) -> Measured {
    let (client, mut api) = server();
    let caches = Shown { jobs: shown.to_vec(), ..Shown::default() }.caches();
    let hooks = Hooks::new(Jobs::new(client, caches.jobs, MANAGER_MIGRATION_PHASE)).0;
    let body = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"generateName": "shift-1-"},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "run", "image": "smoke:1"}]}}},
    });
    let phase = Key::new("shop", "30-shift");
    let check = hooks.check(&phase, &body, Duration::from_millis(1));
    tokio::join!(check, serve(&mut api)).0
}

/// The Job is made under a name of the API server's; the same with its end.
async fn made(api: &mut Scripted) {
    let post = api.expect(Method::POST, JOBS).await;
    assert_eq!(post.parameter("fieldManager").as_deref(), Some("cutover.dev/migration-phase"));
    let mut made = post.body.clone();
    made["metadata"]["name"] = "shift-1-abc".into();
    post.answer(StatusCode::CREATED, &made);
}

fn ended(condition: &Value) -> Value {
    let labels = json!({"cutover.dev/owner-kind": "MigrationPhase"});
    let metadata = json!({"name": "shift-1-abc", "namespace": "shop", "labels": labels});
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "status": {"conditions": [condition]}})
}

#[tokio::test]
async fn a_check_passes_by_the_end_of_its_job_and_fails_by_what_it_said() {
    let well = [ended(&json!({"type": "Complete", "status": "True"}))];
    assert_eq!(checked(&well, made).await, Measured::Ended { failure: None });
    let badly = [ended(&json!({"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}))];
    let failed = checked(&badly, async |api: &mut Scripted| {
        made(api).await;
        let terminated = json!({"terminated": {"exitCode": 3}});
        let status = json!({"containerStatuses": [{
            "name": "run", "state": terminated, "ready": false, "restartCount": 0, "image": "smoke:1", "imageID": "",
        }]});
        let pod = json!({"metadata": {"name": "shift-1-abc-x"}, "status": status});
        let pods = api.expect(Method::GET, "/api/v1/namespaces/shop/pods").await;
        pods.ok(&json!({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": [pod]}));
        let log = api.expect(Method::GET, "/api/v1/namespaces/shop/pods/shift-1-abc-x/log").await;
        log.refuse(StatusCode::INTERNAL_SERVER_ERROR, "the node is gone");
    });
    let Measured::Ended { failure: Some(why) } = failed.await else { panic!("it passed") };
    assert!(why.starts_with("Job shift-1-abc failed with exit code 3: BackoffLimitExceeded"), "{why}");
}

#[tokio::test]
async fn a_check_whose_job_is_refused_or_lost_says_nothing_of_the_new_side() {
    let refused = checked(&[], async |api: &mut Scripted| {
        api.expect(Method::POST, JOBS).await.refuse(StatusCode::FORBIDDEN, "exceeded quota");
    });
    let Measured::Erroring(why) = refused.await else { panic!("it was judged") };
    assert!(why.contains("exceeded quota"), "{why}");
    tokio::time::pause();
    let Measured::Erroring(why) = checked(&[], made).await else { panic!("it was judged") };
    assert_eq!(why, "nothing is known of the end of Job shift-1-abc");
}
