//! Prometheus, scraping every second what tests tell it to.

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::json;
use tempfile::TempDir;

use crate::{bed, http, namespace, ports, process::Process, tools};

const TIMEOUT: Duration = Duration::from_secs(180);

/// What is scraped.
#[derive(Debug, Clone, Default)]
pub struct Targets {
    /// A file in Prometheus's `file_sd` format (JSON), re-read when it changes. It need not exist yet.
    pub file: Option<PathBuf>,
    /// Job name → addresses that serve `/metrics`.
    pub fixed: BTreeMap<String, Vec<SocketAddr>>,
}

/// One element of an instant vector.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Its labels, `__name__` included if the expression keeps it.
    pub labels: BTreeMap<String, String>,
    /// Its value; may be NaN.
    pub value: f64,
}

/// A running Prometheus.
#[derive(Debug)]
pub struct Prometheus {
    process: Process,
    address: SocketAddr,
    _data: TempDir,
}

impl Prometheus {
    /// Starts one; logs go to `<logs>/prometheus.log`.
    ///
    /// # Errors
    /// Outside of the namespace it ends the process; an error when it does not come up (with its log's end).
    pub async fn start(targets: &Targets, logs: &Path) -> Result<Self> {
        namespace::require();
        let data = bed::data_folder("prometheus")?;
        let config = data.path().join("prometheus.yaml");
        fs::write(&config, serde_yaml_ng::to_string(&configuration(targets))?)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()?));
        let mut command = Command::new(tools::find("prometheus")?);
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", data.path().join("tsdb").display()))
            .arg("--storage.tsdb.retention.time=2h")
            .arg("--storage.tsdb.no-lockfile")
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=warn");
        let process = Process::spawn("prometheus", command, logs)?;
        process.wait_ready(TIMEOUT, || http::text(address, "/-/ready")).await?;
        Ok(Self { process, address, _data: data })
    }

    /// Its address, as in `http://{}`.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process: its log, and pausing it (a Prometheus that does not answer).
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The value of an expression now, as a vector; a scalar is one sample without labels.
    ///
    /// # Errors
    /// When there is no answer, or Prometheus refuses the expression.
    pub async fn query(&self, expression: &str) -> Result<Vec<Sample>> {
        let answer = http::client()?
            .get(format!("http://{}/api/v1/query", self.address))
            .query(&[("query", expression)])
            .send()
            .await?
            .json::<Answer>()
            .await?;
        ensure!(answer.status == "success", "{expression}: {}", answer.error.unwrap_or_default());
        match answer.data.context("no data")? {
            Data::Vector(elements) => elements
                .into_iter()
                .map(|Element { metric, value }| Ok(Sample { labels: metric, value: value.1.parse()? }))
                .collect(),
            Data::Scalar(value) => Ok(vec![Sample { labels: BTreeMap::new(), value: value.1.parse()? }]),
        }
    }
}

fn configuration(targets: &Targets) -> serde_json::Value {
    let fixed = targets.fixed.iter().map(|(job, addresses)| {
        let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        json!({"job_name": job, "static_configs": [{"targets": addresses}]})
    });
    let file = targets
        .file
        .iter()
        .map(|file| json!({"job_name": "pods", "file_sd_configs": [{"files": [file], "refresh_interval": "1s"}]}));
    json!({
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "scrape_configs": fixed.chain(file).collect::<Vec<_>>(),
    })
}

#[derive(Deserialize)]
struct Answer {
    status: String,
    error: Option<String>,
    data: Option<Data>,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Vector(Vec<Element>),
    Scalar((f64, String)),
}

#[derive(Deserialize)]
struct Element {
    metric: BTreeMap<String, String>,
    value: (f64, String),
}
