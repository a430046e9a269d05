//! The figures, as a table and as JSON.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use anyhow::Result;
use cutover_testkit::{
    control_plane::AuditEntry,
    operator::{NAMESPACE, SERVICE_ACCOUNT},
};
use serde_json::{Value, json};

/// Everything that was measured.
#[derive(Default)]
pub(super) struct Report {
    pub(super) rest: Vec<Rest>,
    pub(super) floor: Latency,
    /// By number of splits.
    pub(super) latency: Vec<(usize, Latency)>,
    pub(super) cost: Cost,
    pub(super) long_run: Run,
    pub(super) cuts: u64,
    pub(super) burst: Duration,
    /// Resident memory after all changes, in bytes.
    pub(super) memory_after: u64,
    pub(super) restarts: Vec<(&'static str, Duration)>,
}

/// At rest.
pub(super) struct Rest {
    pub(super) splits: usize,
    /// In bytes.
    pub(super) memory: u64,
    pub(super) requests_per_minute: BTreeMap<String, f64>,
}

/// The distribution of a time.
#[derive(Clone, Copy, Default)]
pub(super) struct Latency {
    pub(super) p50: Duration,
    pub(super) p99: Duration,
}

impl Latency {
    pub(super) fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |percent: usize| times.get((times.len() * percent / 100).min(times.len().saturating_sub(1))).copied();
        Self { p50: at(50).unwrap_or_default(), p99: at(99).unwrap_or_default() }
    }
}

/// A series of changes.
#[derive(Clone, Copy, Default)]
pub(super) struct Run {
    pub(super) seen: usize,
    pub(super) missed: usize,
    pub(super) took: Duration,
}

/// What a series of changes cost the API server and the machine.
#[derive(Clone, Default)]
pub(super) struct Cost {
    pub(super) changes: usize,
    /// By verb, kind and status of the answer.
    pub(super) requests: BTreeMap<String, usize>,
    pub(super) cpu: Duration,
}

/// The operator in the audit log.
fn operator() -> String {
    format!("system:serviceaccount:{NAMESPACE}:{SERVICE_ACCOUNT}")
}

/// The operator's requests, the Lease aside, each counted once; watches count when they end, since they last.
pub(super) fn requests(entries: &[AuditEntry]) -> BTreeMap<String, usize> {
    let user = operator();
    let mut counts = BTreeMap::new();
    for entry in
        entries.iter().filter(|e| e.user == user && e.is_complete() && e.verb != "watch" && e.resource != "leases")
    {
        let AuditEntry { verb, resource, subresource, code, .. } = entry;
        let of = if subresource.is_empty() { resource.clone() } else { format!("{resource}/{subresource}") };
        *counts.entry(format!("{verb} {of} {code}")).or_default() += 1;
    }
    counts
}

/// Requests per minute by user and kind, of the operator in detail and of all others in sum.
pub(super) fn by_user(entries: &[AuditEntry], over: Duration) -> BTreeMap<String, f64> {
    let mut counts: BTreeMap<String, f64> = BTreeMap::new();
    let user = operator();
    for entry in entries.iter().filter(|entry| entry.is_complete()) {
        let name = if entry.user == user {
            format!("operator {} {}", entry.verb, entry.resource)
        } else {
            "others".to_owned()
        };
        *counts.entry(name).or_default() += 60.0 / over.as_secs_f64();
    }
    counts
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

impl Report {
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    fn per_change(&self) -> (f64, f64) {
        let changes = self.cost.changes.max(1) as f64;
        (self.cost.requests.values().sum::<usize>() as f64 / changes, millis(self.cost.cpu) / changes)
    }

    /// One line per figure, with what the design must allow.
    pub(super) fn table(&self) -> String {
        let mut rows: Vec<(String, String, &str)> = Vec::new();
        for Rest { splits, memory, requests_per_minute } in &self.rest {
            let target = if *splits >= 1_000 { "<= 30 MiB" } else { "" };
            rows.push((format!("resident memory, {splits} splits"), format!("{:.1} MiB", mebibytes(*memory)), target));
            for (what, rate) in requests_per_minute.iter().filter(|(what, _)| *what != "others") {
                rows.push((
                    format!("at rest, {splits} splits: {what}"),
                    format!("{rate:.1} / min"),
                    "lease and watches only",
                ));
            }
        }
        rows.push((
            "resident memory after all changes".to_owned(),
            format!("{:.1} MiB", mebibytes(self.memory_after)),
            "",
        ));
        let times = |latency: &Latency| format!("{:.2} / {:.2} ms", millis(latency.p50), millis(latency.p99));
        rows.push(("floor, p50 / p99".to_owned(), times(&self.floor), ""));
        for (splits, latency) in &self.latency {
            let ratio = latency.p50.as_secs_f64() / self.floor.p50.as_secs_f64().max(f64::EPSILON);
            rows.push((
                format!("patch to route, {splits} splits, p50 / p99"),
                format!("{} ({ratio:.1} x floor)", times(latency)),
                "p50 <= 2 x floor",
            ));
        }
        let (requests, cpu) = self.per_change();
        rows.push(("API requests per change (2 routes)".to_owned(), format!("{requests:.2}"), "<= 4"));
        for (what, count) in &self.cost.requests {
            rows.push((format!("  of these {what}"), count.to_string(), ""));
        }
        rows.push(("CPU per change".to_owned(), format!("{cpu:.2} ms"), "<= 2 ms"));
        let Run { seen, missed, took } = self.long_run;
        rows.push((
            format!("{} changes, {} cuts", seen + missed, self.cuts),
            format!("{missed} missed, {:.0} s", took.as_secs_f64()),
            "0 missed",
        ));
        rows.push(("500 changes at once".to_owned(), format!("{:.2} s", self.burst.as_secs_f64()), ""));
        for (how, took) in &self.restarts {
            let target = if *how == "SIGTERM" { "<= 2 s" } else { "" };
            rows.push((format!("restart after {how} until routed"), format!("{:.2} s", took.as_secs_f64()), target));
        }
        let mut text = String::new();
        for (what, figure, target) in rows {
            // Writing to a String cannot fail.
            let _never = writeln!(text, "{what:<48} {figure:<34} {target}");
        }
        text
    }

    pub(super) fn json(&self) -> Result<String> {
        let latency = |latency: &Latency| json!({"p50Ms": millis(latency.p50), "p99Ms": millis(latency.p99)});
        let (requests, cpu) = self.per_change();
        let rest: Vec<Value> = self
            .rest
            .iter()
            .map(|rest| {
                json!({
                    "splits": rest.splits, "residentBytes": rest.memory, "requestsPerMinute": rest.requests_per_minute,
                })
            })
            .collect();
        let by_splits: Vec<Value> = self
            .latency
            .iter()
            .map(|(splits, times)| json!({"splits": splits, "patchToRoute": latency(times)}))
            .collect();
        let restarts: BTreeMap<&str, f64> =
            self.restarts.iter().map(|(how, took)| (*how, took.as_secs_f64())).collect();
        Ok(serde_json::to_string_pretty(&json!({
            "rest": rest,
            "residentBytesAfterChanges": self.memory_after,
            "floor": latency(&self.floor),
            "latency": by_splits,
            "requestsPerChange": requests, "requests": self.cost.requests,
            "cpuMsPerChange": cpu,
            "longRun": {"seen": self.long_run.seen, "missed": self.long_run.missed, "seconds": self.long_run.took.as_secs_f64(), "cuts": self.cuts},
            "burst500Seconds": self.burst.as_secs_f64(),
            "restartSeconds": restarts,
        }))?)
    }
}
