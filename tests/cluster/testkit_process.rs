//! Child processes of the test bed end with their owner, whatever happens to either.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Result, bail};
use cutover_testkit::{bed, eventually, process::Process};

const SOON: Duration = Duration::from_secs(10);

fn shell(name: &str, script: &str) -> Result<Process> {
    // A log is appended to, and process ids repeat from one namespace to the next.
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    Process::spawn(name, command, &bed::log_root().join(format!("{name}-{now}")))
}

fn runs(id: u32) -> bool {
    Path::new(&format!("/proc/{id}")).exists()
}

#[tokio::test]
async fn process_ends_when_dropped_while_a_panic_unwinds() -> Result<()> {
    let child = shell("panic", "exec sleep 600")?;
    let id = child.id();
    let panicked = tokio::spawn(async move {
        let _owned = child;
        panic!("as a failing assertion would");
    });
    assert!(panicked.await.is_err());
    assert!(!runs(id));
    Ok(())
}

#[tokio::test]
async fn process_that_will_not_listen_is_made_to_end() -> Result<()> {
    let child = shell("deaf", "trap '' TERM; echo ready; while :; do sleep 0.05; done")?;
    let child = child.with_grace(Duration::from_millis(300));
    eventually("the trap is set", SOON, || async {
        anyhow::ensure!(child.log_tail() == "ready", "{}", child.log_tail());
        Ok(())
    })
    .await?;
    let (start, id) = (Instant::now(), child.id());
    drop(child);
    assert!(start.elapsed() >= Duration::from_millis(300), "it had its grace");
    assert!(!runs(id));
    Ok(())
}

#[tokio::test]
async fn process_that_is_frozen_still_ends_in_order() -> Result<()> {
    let child = shell("frozen", "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.05; done")?;
    eventually("the trap is set", SOON, || async {
        anyhow::ensure!(child.log_tail() == "ready", "{}", child.log_tail());
        Ok(())
    })
    .await?;
    child.pause()?;
    assert!(child.stop()?.success());
    assert_eq!(child.log_tail(), "ready\nbye");
    Ok(())
}

#[tokio::test]
async fn process_that_fails_to_start_shows_the_end_of_its_log() -> Result<()> {
    let child = shell("failing", "echo no such flag: --colour >&2; exit 3")?;
    let never = || async { bail!("connection refused") };
    let error = child.wait_ready::<(), _, _>(SOON, never).await.expect_err("it has ended").to_string();
    assert!(error.contains("exit status: 3"), "{error}");
    assert!(error.ends_with("no such flag: --colour"), "{error}");
    Ok(())
}

#[tokio::test]
async fn process_that_never_gets_ready_is_given_up_with_the_probes_last_word() -> Result<()> {
    let child = shell("idle", "exec sleep 600")?;
    let never = || async { bail!("connection refused") };
    let wait = child.wait_ready::<(), _, _>(Duration::from_millis(200), never);
    let error = wait.await.expect_err("it is not ready").to_string();
    assert!(error.contains("not ready after 200ms: connection refused"), "{error}");
    Ok(())
}

#[tokio::test]
async fn conditions_that_do_not_come_say_what_was_last_seen() {
    let mut attempts = 0;
    let error = eventually::<(), _, _>("the moon turns green", Duration::from_millis(200), || {
        attempts += 1;
        let seen = format!("white, {attempts} times");
        async move { bail!(seen) }
    })
    .await
    .expect_err("it stays white");
    let error = format!("{error:#}");
    assert!(error.starts_with("not within 1s: the moon turns green: white, "), "{error}");
    let hanging = eventually::<(), _, _>("an answer", Duration::from_millis(50), std::future::pending);
    assert!(format!("{:#}", hanging.await.expect_err("none comes")).ends_with("no answer"));
}
