//! The load generator against servers that misbehave on purpose: each fault is counted as what it is.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Result;
use cutover_testkit::{
    load::{Expect, LoadGenerator, LoadOptions, Loss, MAX_FAILURES, Report, Stream},
    node::{System, serve_backend},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const HOST: &str = "shop.example.com";

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

fn options() -> LoadOptions {
    LoadOptions { timeout: Duration::from_millis(400), ..LoadOptions::default() }
}

fn kept_only() -> LoadOptions {
    LoadOptions { fresh_percent: 0, ..options() }
}

/// Sends `n` requests, 200 a second, and reports.
async fn send(n: u64, options: LoadOptions, stream: Stream) -> Result<Report> {
    let options = LoadOptions { max_requests: n, ..options };
    let load = LoadGenerator::start(options, [stream.rate(200)])?;
    load.whole().wait_for(n).await?;
    load.stop().await
}

/// What a scripted server does with a request.
enum Act {
    /// Writes these bytes and keeps the connection.
    Answer(String),
    /// Writes these bytes, if any, and closes.
    Close(String),
    /// Writes these bytes and closes a moment later, without having said so.
    CloseLater(String),
}

/// A server that decides from the number of the request on its connection and the request's head.
async fn scripted(act: impl Fn(usize, &str) -> Act + Send + Sync + 'static) -> Result<SocketAddr> {
    let listener = TcpListener::bind(loopback()).await?;
    let address = listener.local_addr()?;
    let act = Arc::new(act);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(converse(stream, Arc::clone(&act)));
        }
    });
    Ok(address)
}

async fn converse(mut stream: TcpStream, act: Arc<impl Fn(usize, &str) -> Act>) -> Result<()> {
    let mut seen = Vec::new();
    for number in 0.. {
        let head = loop {
            if let Some(end) = seen.windows(4).position(|four| four == b"\r\n\r\n") {
                let head: Vec<u8> = seen.drain(..end + 4).collect();
                break String::from_utf8(head)?;
            }
            if stream.read_buf(&mut seen).await? == 0 {
                return Ok(());
            }
        };
        match act(number, &head) {
            Act::Answer(bytes) => stream.write_all(bytes.as_bytes()).await?,
            Act::Close(bytes) => return Ok(stream.write_all(bytes.as_bytes()).await?),
            Act::CloseLater(bytes) => {
                stream.write_all(bytes.as_bytes()).await?;
                tokio::time::sleep(Duration::from_millis(1)).await;
                return Ok(());
            }
        }
    }
    Ok(())
}

fn id(head: &str) -> &str {
    head.lines().find_map(|line| line.strip_prefix("x-request-id: ")).unwrap_or("none")
}

fn answer(system: &str, id: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-served-by: web\r\nx-system: {system}\r\nx-request-id: {id}\r\n\r\nok"
    )
}

#[tokio::test]
async fn load_answers_with_5xx_are_lost() -> Result<()> {
    let backend = serve_backend(loopback(), System::Legacy, "web").await?;
    backend.script().error_rate(0.1);
    let report = send(200, options(), Stream::new("shop", backend.address(), HOST)).await?;
    assert_eq!(report.counts.by_status[&500], 20, "{report}");
    assert_eq!(report.counts.by_loss[&Loss::ServerError], 20);
    assert_eq!((report.counts.lost, report.counts.good(), report.counts.legacy), (20, 180, 200));
    let error = report.check(200).expect_err("20 are lost").to_string();
    assert!(error.contains("20 lost") && error.contains("status 500"), "{error}");
    Ok(())
}

#[tokio::test]
async fn load_on_a_healthy_backend_loses_nothing() -> Result<()> {
    let backend = serve_backend(loopback(), System::New, "web").await?;
    let stream = Stream::new("shop", backend.address(), HOST).path("/v2/cart?page=2").component("web").post();
    let report = send(300, options(), stream.expect(Expect::New)).await?;
    report.check(300)?;
    assert_eq!((report.counts.new, report.counts.fresh_connections, report.counts.stale_connections), (300, 30, 0));
    assert!(report.check(301).is_err(), "fewer than wanted is a failure too");
    Ok(())
}

#[tokio::test]
async fn load_cut_connections_are_lost() -> Result<()> {
    let entry = scripted(|_, head| {
        let answer = answer("legacy", id(head));
        if id(head).ends_with('7') { Act::Close(String::new()) } else { Act::Answer(answer) }
    })
    .await?;
    let report = send(100, kept_only(), Stream::new("shop", entry, HOST)).await?;
    assert_eq!(report.counts.by_loss.iter().collect::<Vec<_>>(), [(&Loss::Reset, &10)], "{report}");
    Ok(())
}

#[tokio::test]
async fn load_answers_cut_short_are_lost() -> Result<()> {
    let entry = scripted(|_, head| Act::Close(answer("legacy", id(head)).replace("length: 2", "length: 20"))).await?;
    let report = send(20, options(), Stream::new("shop", entry, HOST)).await?;
    assert_eq!(report.counts.by_loss.iter().collect::<Vec<_>>(), [(&Loss::Reset, &20)], "{report}");
    Ok(())
}

#[tokio::test]
async fn load_refused_connections_are_lost() -> Result<()> {
    let backend = serve_backend(loopback(), System::Legacy, "web").await?;
    let stream = Stream::new("shop", backend.address(), HOST);
    let load = LoadGenerator::start(kept_only(), [stream.rate(200)])?;
    load.window().wait_for(20).await?;
    backend.script().refuse_connections(true);
    let refused = load.window();
    let counts = refused.wait_for(40).await?;
    assert_eq!(counts.by_loss.get(&Loss::Refused), Some(&counts.total), "{counts}");
    backend.script().clear();
    let counts = load.window().wait_for(20).await?;
    assert_eq!(counts.lost, 0, "{counts}");
    Ok(())
}

#[tokio::test]
async fn load_late_answers_are_lost_and_do_not_slow_the_arrivals() -> Result<()> {
    let backend = serve_backend(loopback(), System::Legacy, "web").await?;
    backend.script().delay(Duration::from_secs(2));
    let began = Instant::now();
    let report = send(100, options(), Stream::new("shop", backend.address(), HOST)).await?;
    assert_eq!(report.counts.by_loss.iter().collect::<Vec<_>>(), [(&Loss::Timeout, &100)], "{report}");
    // Half a second of arrivals and one time-out; a closed loop takes 40 s.
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    Ok(())
}

#[tokio::test]
async fn load_answers_by_the_wrong_side_are_misrouted() -> Result<()> {
    let backend = serve_backend(loopback(), System::Legacy, "web").await?;
    let stream = Stream::new("shop", backend.address(), HOST);
    let report = send(60, options(), stream.clone().expect(Expect::New)).await?;
    assert_eq!((report.counts.misrouted, report.counts.lost), (60, 0), "{report}");
    assert_eq!(report.failures.len(), MAX_FAILURES, "the first are kept in full, the rest is counted");
    let report = send(20, options(), stream.expect(Expect::Legacy).component("api")).await?;
    assert_eq!((report.counts.misrouted, report.counts.lost), (20, 0), "{report}");
    Ok(())
}

#[tokio::test]
async fn load_a_host_or_path_changed_on_the_way_is_misrouted() -> Result<()> {
    let entry = scripted(|number, head| {
        let header = if number % 2 == 0 { "x-received-host: other.example.com" } else { "x-received-path: /v1" };
        Act::Answer(answer("legacy", id(head)).replace("\r\n\r\n", &format!("\r\n{header}\r\n\r\n")))
    })
    .await?;
    let report = send(20, kept_only(), Stream::new("shop", entry, HOST)).await?;
    assert_eq!((report.counts.misrouted, report.counts.lost), (20, 0), "{report}");
    Ok(())
}

#[tokio::test]
async fn load_another_requests_answer_is_lost() -> Result<()> {
    let entry = scripted(|_, _| Act::Answer(answer("legacy", "shop-1000"))).await?;
    let report = send(20, options(), Stream::new("shop", entry, HOST)).await?;
    assert_eq!(report.counts.by_loss.iter().collect::<Vec<_>>(), [(&Loss::WrongId, &20)], "{report}");
    Ok(())
}

#[tokio::test]
async fn load_the_proxys_own_404_is_lost_unless_nothing_is_routed() -> Result<()> {
    let entry = scripted(|_, _| Act::Answer("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned())).await?;
    let stream = Stream::new("shop", entry, HOST);
    let report = send(20, options(), stream.clone().expect(Expect::Legacy)).await?;
    assert_eq!(report.counts.by_loss.iter().collect::<Vec<_>>(), [(&Loss::NotServed, &20)], "{report}");
    let report = send(20, options(), stream.expect(Expect::NotRouted)).await?;
    report.check(20)?;
    assert_eq!(report.counts.not_routed, 20);

    let backend = serve_backend(loopback(), System::Legacy, "web").await?;
    let report = send(20, options(), Stream::new("shop", backend.address(), HOST).expect(Expect::NotRouted)).await?;
    assert_eq!(report.counts.misrouted, 20, "{report}");
    Ok(())
}

#[tokio::test]
async fn load_a_resting_connection_that_the_server_closed_is_no_loss() -> Result<()> {
    let entry = scripted(|_, head| Act::CloseLater(answer("legacy", id(head)))).await?;
    let stream = Stream::new("shop", entry, HOST).rate(20);
    let load = LoadGenerator::start(kept_only(), [stream])?;
    load.whole().wait_for(30).await?;
    let report = load.stop().await?;
    report.check(30)?;
    // All but the first and the last found the connection of the request before closed.
    let Report { counts, .. } = &report;
    assert!(counts.stale_connections + 2 >= counts.total, "{} stale, {report}", counts.stale_connections);
    Ok(())
}

#[tokio::test]
async fn load_a_kept_connection_that_dies_under_a_request_is_a_loss() -> Result<()> {
    // Every second request on a connection is read and never answered.
    let entry = scripted(|number, head| match number {
        0 => Act::Answer(answer("legacy", id(head))),
        _ => Act::Close(String::new()),
    })
    .await?;
    let stream = Stream::new("shop", entry, HOST).rate(20);
    let load = LoadGenerator::start(LoadOptions { max_requests: 20, ..kept_only() }, [stream])?;
    load.whole().wait_for(20).await?;
    let report = load.stop().await?;
    assert_eq!(report.counts.by_loss.iter().collect::<Vec<_>>(), [(&Loss::Reset, &10)], "{report}");
    Ok(())
}

#[tokio::test]
async fn load_windows_hold_only_what_started_after_their_instant() -> Result<()> {
    let moved = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&moved);
    let entry = scripted(move |_, head| {
        Act::Answer(answer(if seen.load(Ordering::SeqCst) { "new" } else { "legacy" }, id(head)))
    })
    .await?;
    let streams = ["nginx", "gateway"].map(|router| Stream::new(router, entry, HOST).rate(100).router(router));
    let load = LoadGenerator::start(options(), streams)?;
    load.whole().wait_for(100).await?;
    moved.store(true, Ordering::SeqCst);
    let instant = Instant::now();
    let after = load.window_from(instant);
    let nginx = after.clone().router("nginx");
    let counts = nginx.wait_for(100).await?;
    assert_eq!((counts.share_new(), counts.legacy), (Some(1.0), 0), "{counts}");
    assert_eq!(after.by_stream().len(), 2);
    assert!(after.counts().total > nginx.counts().total);
    let before = load.whole().until(instant);
    assert_eq!(before.share_new(), Some(0.0));
    let by_name = load.whole().streams(["gateway"]).counts();
    assert!(by_name.legacy > 0 && by_name.new > 0, "{by_name}");
    Ok(())
}

#[tokio::test]
async fn load_expectations_change_with_a_grace() -> Result<()> {
    let backend = serve_backend(loopback(), System::Legacy, "web").await?;
    let stream = Stream::new("shop", backend.address(), HOST).rate(200).expect(Expect::Legacy);
    let load = LoadGenerator::start(options(), [stream])?;
    load.whole().wait_for(20).await?;
    let grace = Duration::from_millis(500);
    let change = Instant::now();
    load.expect("shop", Expect::New, grace)?;
    let late = load.window_from(change + grace).wait_for(40).await?;
    assert_eq!(late.misrouted, late.total, "legacy is the wrong side once the grace is over: {late}");
    let early = load.whole().until(change + grace).counts();
    assert!(early.total > 80 && early.misrouted == 0, "until then both are right: {early}");
    assert!(load.expect("none", Expect::New, grace).is_err());
    Ok(())
}

#[tokio::test]
async fn load_excluded_spans_are_counted_apart() -> Result<()> {
    let backend = serve_backend(loopback(), System::New, "web").await?;
    let load = LoadGenerator::start(options(), [Stream::new("shop", backend.address(), HOST).rate(200)])?;
    load.whole().wait_for(40).await?;
    let fault = load.exclude("errors");
    backend.script().error_rate(1.0);
    while load.whole().excluded().lost < 60 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    backend.script().clear();
    fault.end();
    load.window().wait_for(40).await?;
    let report = load.stop().await?;
    report.check(80)?;
    assert!(report.excluded.lost >= 60 && report.excluded.by_status[&500] >= 60, "{}", report.excluded);
    assert_eq!(report.spans.len(), 1);
    assert!(report.failures.iter().all(|failure| failure.excluded));
    assert_eq!(report.failures.len(), MAX_FAILURES);
    Ok(())
}

#[tokio::test]
async fn load_is_bounded_and_stays_on_this_machine() -> Result<()> {
    for address in ["198.18.0.1:80", "192.0.2.1:80", "[::1]:80", "0.0.0.0:80"] {
        let error = LoadGenerator::start(options(), [Stream::new("shop", address.parse()?, HOST)]).map(|_| ());
        assert!(error.is_err_and(|error| error.to_string().contains("127.0.0.0/8")), "{address}");
    }
    let backend = serve_backend(loopback(), System::Legacy, "web").await?;
    let stream = Stream::new("shop", backend.address(), HOST).rate(1000);
    let load = LoadGenerator::start(LoadOptions { max_requests: 50, ..options() }, [stream.clone()])?;
    let error = load.whole().wait_for(51).await.map(|_| ()).expect_err("only 50 are sent").to_string();
    assert!(error.contains("50 of 51"), "{error}");
    let short = LoadOptions { max_duration: Duration::from_millis(300), ..options() };
    let load = LoadGenerator::start(short, [stream])?;
    assert!(load.whole().wait_for(1_000_000).await.is_err());
    assert!((200..=310).contains(&load.report().counts.total), "{}", load.report());
    Ok(())
}

#[tokio::test]
async fn load_past_its_limit_of_waiting_requests_says_so() -> Result<()> {
    let backend = serve_backend(loopback(), System::Legacy, "web").await?;
    backend.script().delay(Duration::from_millis(200));
    let few = LoadOptions { max_in_flight: 5, ..options() };
    let report = send(100, few, Stream::new("shop", backend.address(), HOST)).await?;
    assert!(report.counts.by_loss[&Loss::Saturated] >= 60, "{report}");
    assert_eq!(report.counts.lost + report.counts.legacy, 100);
    Ok(())
}

#[tokio::test]
async fn load_reaches_1500_requests_per_second() -> Result<()> {
    let backend = serve_backend(loopback(), System::Legacy, "web").await?;
    let streams = (0..5).map(|n| Stream::new(format!("s{n}"), backend.address(), HOST).rate(300));
    let options = LoadOptions { max_requests: 4_500, ..LoadOptions::default() };
    let began = Instant::now();
    let load = LoadGenerator::start(options, streams)?;
    load.whole().wait_for(4_500).await?;
    let took = began.elapsed();
    let report = load.stop().await?;
    println!("{report}in {took:?}");
    report.check(4_500)
}
