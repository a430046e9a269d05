//! Instant queries to the Prometheus servers of the operator's configuration.
//!
//! An answer is a value, no data, or an error, and never one taken for another: `NaN` and an empty result are no data; a
//! server that is down, a query that is wrong and a result that is not one number are errors.

use std::{collections::BTreeMap, sync::Arc};

use reqwest::Url;
use serde::Deserialize;

use super::describe;
use crate::args::PrometheusEndpoint;

/// What a query measured.
#[derive(Debug, Clone, PartialEq)]
pub enum Measured {
    /// One number; it may be infinite.
    Value(f64),
    /// Nothing: no series, or `NaN`.
    NoData,
    /// It could not be measured; says why, for people.
    Erroring(String),
}

/// Enough for any single number, and for the error of any query.
const LONGEST_ANSWER: usize = 1 << 20;

/// One Prometheus. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Prometheus {
    http: reqwest::Client,
    query: Arc<Url>,
}

/// The Prometheus servers that Environments may name.
pub type Servers = BTreeMap<String, Prometheus>;

/// Clients for the configured servers, which share `http`.
#[must_use]
pub fn servers(http: &reqwest::Client, endpoints: &[PrometheusEndpoint]) -> Servers {
    endpoints.iter().map(|endpoint| (endpoint.name.clone(), Prometheus::new(http.clone(), &endpoint.url))).collect()
}

impl Prometheus {
    /// The server at `base`, which may have a path.
    #[must_use]
    pub fn new(http: reqwest::Client, base: &Url) -> Self {
        let mut query = base.clone();
        query.set_path(&format!("{}/api/v1/query", base.path().trim_end_matches('/')));
        Self { http, query: Arc::new(query) }
    }

    /// Evaluates `expression` now. Takes at most the client's timeout.
    pub async fn query(&self, expression: &str) -> Measured {
        match self.answer(expression).await {
            Ok(answer) => measured(answer),
            Err(error) => Measured::Erroring(error),
        }
    }

    async fn answer(&self, expression: &str) -> Result<Answer, String> {
        let unreachable = |error: reqwest::Error| describe(&error.without_url());
        let request = self.http.get((*self.query).clone()).query(&[("query", expression)]);
        let mut response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > LONGEST_ANSWER {
                return Err("the answer is too long: aggregate the query to one number".to_owned());
            }
            body.extend_from_slice(&chunk);
        }
        // Wrong queries come with a 4xx and a JSON body that says more.
        match serde_json::from_slice(&body) {
            Ok(answer) => Ok(answer),
            Err(_) if !status.is_success() => Err(format!("the server answered {status}")),
            Err(error) => Err(format!("the answer is not Prometheus's: {error}")),
        }
    }
}

#[derive(Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
enum Answer {
    Success {
        data: Data,
    },
    Error {
        #[serde(rename = "errorType")]
        kind: String,
        error: String,
    },
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Scalar((f64, String)),
    Vector(Vec<Sample>),
    Matrix(serde::de::IgnoredAny),
    String(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
struct Sample {
    #[serde(default)]
    metric: BTreeMap<String, String>,
    value: Option<(f64, String)>,
}

fn measured(answer: Answer) -> Measured {
    let data = match answer {
        Answer::Success { data } => data,
        Answer::Error { kind, error } => return Measured::Erroring(format!("{kind}: {error}")),
    };
    match data {
        Data::Scalar((_, value)) => number(&value),
        Data::Vector(samples) => match samples.as_slice() {
            [] => Measured::NoData,
            [Sample { value: Some((_, value)), .. }] => number(value),
            [_] => Measured::Erroring("the query returns a histogram: it must return one number".to_owned()),
            [first, ..] => Measured::Erroring(format!(
                "the query returns {} series, such as {:?}: aggregate it to one, with sum() for example",
                samples.len(),
                first.metric
            )),
        },
        Data::Matrix(_) => Measured::Erroring("the query returns a range: it must return one number".to_owned()),
        Data::String(_) => Measured::Erroring("the query returns a text: it must return one number".to_owned()),
    }
}

fn number(text: &str) -> Measured {
    match text.parse::<f64>() {
        Ok(value) if value.is_nan() => Measured::NoData,
        Ok(value) => Measured::Value(value),
        Err(_) => Measured::Erroring(format!("{text:?} is not a number")),
    }
}

#[cfg(test)]
mod tests;
