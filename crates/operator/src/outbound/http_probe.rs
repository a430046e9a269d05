//! Requests that are made because of what a user wrote: to addresses that the operator's configuration allows, over a connection of
//! their own, without redirects, within a time, and with an answer that is read as far as a bound.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cutover_api::v1alpha1::{
    migration_phase::{HttpCheck, HttpMethod, WebhookCheck},
    traffic_split::VerifyHttp,
};
use cutover_engine::{
    migration_phase::{Answer, Question, Word},
    traffic_split::verify::Tally,
};
use futures::{StreamExt, stream};
use reqwest::{Method, Request, Response, Url, header};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use serde_json::Value;
use tokio::net::TcpStream;

use super::{client, describe, reach::Reach};

/// Requests of one sample that are under way at once.
const AT_ONCE: usize = 4;
/// As much of an answer as is read for a number in it.
const LONGEST_ANSWER: usize = 1 << 20;

/// Makes requests for users. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Probes {
    reach: Reach,
    /// The authorities that are trusted where none are named.
    roots: Arc<RootCertStore>,
}

/// Nothing is in reach.
impl Default for Probes {
    fn default() -> Self {
        Self::new(Reach::new(&[]), RootCertStore::empty())
    }
}

impl Probes {
    /// Requests that reach so far; `roots` are trusted unless others are named.
    #[must_use]
    pub fn new(reach: Reach, roots: RootCertStore) -> Self {
        Self { reach, roots: Arc::new(roots) }
    }

    /// Asks `url` what the check asks. No answer is one, too.
    ///
    /// # Errors
    /// It was not asked, or the answer cannot be read: nothing is known of who was to answer. Says why.
    pub async fn ask(&self, asked: &HttpCheck, url: &str) -> Result<Answer, String> {
        let limit = asked.timeout.get();
        let (url, client) = self.client(url, limit, asked.ca_bundle.as_deref()).await?;
        let began = Instant::now();
        let pointer = asked.pointer.as_deref();
        let answer = async {
            let response = client.execute(request(asked, url)?).await.map_err(Broken::of)?;
            let status = response.status().as_u16();
            let value = match pointer {
                Some(pointer) if in_range(asked, status) => number(response, pointer).await?,
                _ => None,
            };
            Ok(Answer::Given { status, seconds: began.elapsed().as_secs_f64(), value })
        };
        match tokio::time::timeout(limit, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(Broken::Silence(why))) => Ok(Answer::Silence(why)),
            Ok(Err(Broken::Unreadable(why))) => Err(why),
            Err(_) => Ok(Answer::Silence(format!("no answer within {}", asked.timeout))),
        }
    }
}

impl Probes {
    /// Asks the way in so often, and counts who answers.
    ///
    /// # Errors
    /// It was not asked, and why.
    pub async fn sample(&self, asked: &VerifyHttp) -> Result<Tally, String> {
        let limit = asked.timeout.get();
        let (url, client) = self.client(&asked.url, limit, asked.ca_bundle.as_deref()).await?;
        let count = usize::try_from(asked.samples).unwrap_or_default();
        let answers = stream::repeat_with(|| client.get(url.clone()).send()).take(count).buffer_unordered(AT_ONCE);
        let by = |answer: reqwest::Result<Response>| {
            let answer = answer.ok()?;
            Some(answer.headers().get(asked.header.as_str())?.as_bytes().to_owned())
        };
        let mut tally = Tally::default();
        answers
            .for_each(|answer| {
                match by(answer) {
                    Some(value) if value == asked.new_value.as_bytes() => tally.new += 1,
                    Some(value) if value == asked.legacy_value.as_bytes() => tally.legacy += 1,
                    _ => tally.other += 1,
                }
                std::future::ready(())
            })
            .await;
        Ok(tally)
    }

    /// Whether somebody takes a connection there; otherwise why not.
    ///
    /// # Errors
    /// It was not tried: the name means nothing, or an address that is not allowed. Says why.
    pub async fn connect(&self, host: &str, port: u16, limit: Duration) -> Result<Result<(), String>, String> {
        // However an address is written, a URL holds it in one way.
        let url: Url =
            format!("http://{host}:{port}/").parse().map_err(|error| format!("{host} is no host: {error}"))?;
        let resolved = tokio::time::timeout(limit, self.reach.addresses(&url)).await;
        let addresses = resolved.map_err(|_| "its name was not resolved in time".to_owned())??;
        Ok(match tokio::time::timeout(limit, TcpStream::connect(addresses.as_slice())).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no connection within {} s", limit.as_secs())),
        })
    }

    /// Asks somebody else for a judgement.
    ///
    /// # Errors
    /// There is none, and why: that is nobody's failure.
    pub async fn question(&self, asked: &WebhookCheck, question: &Question) -> Result<Word, String> {
        let limit = asked.timeout.get();
        let (url, client) = self.client(&asked.url, limit, asked.ca_bundle.as_deref()).await?;
        let answer = async {
            let response = client.post(url).json(question).send().await.map_err(Broken::of)?;
            let status = response.status();
            if !status.is_success() {
                return Err(Broken::Unreadable(format!("it answers {}", status.as_u16())));
            }
            let body = content(response).await?;
            serde_json::from_slice(&body).map_err(|error| {
                Broken::Unreadable(format!("the answer has no status of Pass, Fail or NoData: {error}"))
            })
        };
        match tokio::time::timeout(limit, answer).await {
            Ok(Ok(word)) => Ok(word),
            Ok(Err(Broken::Silence(why) | Broken::Unreadable(why))) => Err(why),
            Err(_) => Err(format!("no answer within {}", asked.timeout)),
        }
    }

    /// The URL, and a client that connects to what was judged for it and to nothing else.
    async fn client(&self, url: &str, limit: Duration, ca: Option<&str>) -> Result<(Url, reqwest::Client), String> {
        let url: Url = url.parse().map_err(|error| format!("it is not a URL: {error}"))?;
        let resolved = tokio::time::timeout(limit, self.reach.addresses(&url)).await;
        let addresses = resolved.map_err(|_| "its name was not resolved in time".to_owned())??;
        let roots = match ca {
            Some(bundle) => authorities(bundle)?,
            None => RootCertStore::clone(&self.roots),
        };
        let host = url.host_str().unwrap_or_default().to_owned();
        let builder = client(roots, limit).map_err(|error| error.to_string())?;
        let client = builder.resolve_to_addrs(&host, &addresses).build().map_err(|error| describe(&error))?;
        Ok((url, client))
    }
}

/// Why there is no answer.
enum Broken {
    /// Nobody answers.
    Silence(String),
    /// Something is there, and it cannot be read.
    Unreadable(String),
}

impl Broken {
    fn of(error: reqwest::Error) -> Self {
        let error = error.without_url();
        match describe(&error) {
            // Whether it is the server's certificate that is wrong, or what it is judged by, does not show.
            why if is_tls(&error) => Self::Unreadable(why),
            why => Self::Silence(why),
        }
    }
}

impl From<String> for Broken {
    fn from(why: String) -> Self {
        Self::Unreadable(why)
    }
}

fn request(asked: &HttpCheck, url: Url) -> Result<Request, String> {
    let method = match asked.method {
        HttpMethod::Get => Method::GET,
        HttpMethod::Head => Method::HEAD,
    };
    let mut request = Request::new(method, url);
    for given in &asked.headers {
        let name: header::HeaderName = given.name.parse().map_err(|_| format!("{:?} is no header", given.name))?;
        let value = given.value.parse().map_err(|_| format!("{name}: its value cannot be sent"))?;
        request.headers_mut().append(name, value);
    }
    Ok(request)
}

fn in_range(asked: &HttpCheck, status: u16) -> bool {
    (asked.expect_status.min..=asked.expect_status.max).contains(&i32::from(status))
}

/// The number in an answer of JSON.
async fn number(response: Response, pointer: &str) -> Result<Option<f64>, Broken> {
    let body = content(response).await?;
    let document: Value = serde_json::from_slice(&body).map_err(|error| format!("the answer is not JSON: {error}"))?;
    let number = match document.pointer(pointer) {
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(Value::Bool(yes)) => Some(f64::from(u8::from(*yes))),
        _ => None,
    };
    Ok(number.filter(|number| number.is_finite()))
}

async fn content(mut response: Response) -> Result<Vec<u8>, Broken> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(Broken::of)? {
        if body.len() + chunk.len() > LONGEST_ANSWER {
            return Err(format!("the answer is longer than {LONGEST_ANSWER} bytes").into());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The certificates of a bundle.
fn authorities(bundle: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        let added = certificate
            .map_err(|error| error.to_string())
            .and_then(|certificate| roots.add(certificate).map_err(|error| error.to_string()));
        added.map_err(|error| format!("caBundle cannot be used: {error}"))?;
    }
    if roots.is_empty() { Err("caBundle holds no certificate".to_owned()) } else { Ok(roots) }
}

/// Whether TLS is what failed. An I/O error made of another does not show that one as its source.
fn is_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    let within = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    let within = within.map(|inner| inner as &(dyn std::error::Error + 'static));
    error.is::<rustls::Error>() || within.or_else(|| error.source()).is_some_and(is_tls)
}

#[cfg(test)]
mod tests;
