//! What two kinds of system count: each scrape finds as many more requests on either side, and the new side of the kind `bad` fails ten
//! times as often as legacy, that of the kind `good` as often.

use std::{
    fmt::Write,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Result;
use axum::{Router, extract::State, routing::get};
use tokio::net::TcpListener;

/// Where the counters are served.
pub(super) async fn start() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let routes = Router::new().route("/metrics", get(page)).with_state(Arc::new(AtomicU64::new(0)));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Ok(address)
}

async fn page(State(scrapes): State<Arc<AtomicU64>>) -> String {
    let scrape = scrapes.fetch_add(1, Ordering::Relaxed) + 1;
    let rows = [("legacy", "good", 5), ("new", "good", 5), ("legacy", "bad", 5), ("new", "bad", 50)];
    let mut page = String::new();
    for (name, errors_only) in [("test_requests_total", false), ("test_errors_total", true)] {
        let _ = writeln!(page, "# TYPE {name} counter");
        for (system, kind, errors) in rows {
            let each = if errors_only { errors } else { 500 };
            let _ = writeln!(page, "{name}{{system=\"{system}\",kind=\"{kind}\"}} {}", each * scrape);
        }
    }
    default_series(&mut page, scrape);
    page
}

/// What the default checks ask for, in the namespace `counted`: of the new side nothing fails and everything takes 50 ms, of legacy a tenth
/// fails and everything takes 3 s.
fn default_series(page: &mut String, scrape: u64) {
    let _ = writeln!(page, "# TYPE http_requests_total counter");
    for (system, status, each) in [("new", 200, 500), ("legacy", 200, 450), ("legacy", 503, 50)] {
        let labels = format!("namespace=\"counted\",system=\"{system}\",status=\"{status}\"");
        let _ = writeln!(page, "http_requests_total{{{labels}}} {}", each * scrape);
    }
    let _ = writeln!(page, "# TYPE http_request_duration_seconds histogram");
    for (system, fast, seconds) in [("new", 500, 25), ("legacy", 0, 1_500)] {
        let labels = format!("namespace=\"counted\",system=\"{system}\"");
        for (le, each) in [("0.1", fast), ("2", fast), ("4", 500), ("+Inf", 500)] {
            let _ = writeln!(page, "http_request_duration_seconds_bucket{{{labels},le=\"{le}\"}} {}", each * scrape);
        }
        let _ = writeln!(page, "http_request_duration_seconds_sum{{{labels}}} {}", seconds * scrape);
        let _ = writeln!(page, "http_request_duration_seconds_count{{{labels}}} {}", 500 * scrape);
    }
}
