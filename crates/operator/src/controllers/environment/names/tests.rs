//! Against a scripted name server, in a time that passes when nothing else does.

use std::collections::VecDeque;

use cutover_api::v1alpha1::{EnvironmentSpec, environment::IpFamily::V4};
use cutover_engine::environment::{
    Identity,
    resolve::{LATEST, Published, SOONEST, next},
    validate,
};
use futures::{FutureExt, StreamExt};
use serde_json::json;
use tokio::time::Instant;

use super::*;

/// The answers in turn, the last one for good, and when each was given.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<(VecDeque<Answer>, Vec<Asked>)>>);

type Asked = (String, IpFamily, Instant);

impl Script {
    fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self(Arc::new(Mutex::new((answers.into_iter().collect(), Vec::new()))))
    }

    fn names(&self) -> (Names, impl Stream<Item = Key> + Send + 'static) {
        let script = self.clone();
        let ask: Ask = Arc::new(move |host, family| {
            let mut script = lock(&script.0);
            script.1.push((host, family, Instant::now()));
            let answer = if script.0.len() > 1 { script.0.pop_front() } else { script.0.front().cloned() };
            async move { answer.unwrap_or(Answer::Failed("nobody is there".into())) }.boxed()
        });
        Names::new(ask, &[])
    }

    /// How long it took from one question to the next.
    fn waits(&self) -> Vec<Duration> {
        let asked = &lock(&self.0).1;
        asked.windows(2).map(|pair| pair[1].2 - pair[0].2).collect()
    }

    fn asked(&self) -> Vec<(String, IpFamily)> {
        lock(&self.0).1.iter().map(|(host, family, _)| (host.clone(), *family)).collect()
    }
}

fn given(last: u8, ttl: u64) -> Answer {
    Answer::Addresses { addresses: vec![[203, 0, 113, last].into()], ttl: Duration::from_secs(ttl) }
}

fn key(name: &str) -> Key {
    Key::new("shop", name)
}

fn spec(hosts: &[&str], families: &[&str]) -> Validated {
    let component = |(index, host): (usize, &&str)| {
        json!({"name": format!("c{index}"), "system": "Legacy",
            "source": {"external": {"host": host, "port": 80, "ipFamilies": families}}})
    };
    let components: Vec<_> = hosts.iter().enumerate().map(component).collect();
    let spec: EnvironmentSpec =
        serde_json::from_value(json!({"tier": "Production", "components": components})).unwrap();
    let identity = Identity { namespace: "shop".into(), name: "production".into(), uid: "1".into() };
    validate(identity, &spec, &[]).unwrap()
}

/// A wait is as long as wanted, or up to a tenth longer.
fn about(wait: Duration, wanted: Duration) -> bool {
    (wanted..=wanted.mul_f64(1.11)).contains(&wait)
}

#[tokio::test(start_paused = true)]
async fn a_host_is_asked_for_when_its_answer_ends_and_told_of_when_it_changes() {
    let script = Script::new([given(7, 60), given(7, 60), given(8, 1), given(8, 86_400), given(9, 60)]);
    let (names, mut news) = script.names();
    names.want(&key("production"), &spec(&["app.example.com"], &["IPv4"]));
    // The first answer, the third and the fifth.
    for _ in 0..3 {
        assert_eq!(news.next().await, Some(key("production")));
    }
    let waits = script.waits();
    let minute = Duration::from_secs(60);
    let wanted = [minute, minute, SOONEST, LATEST];
    assert!(waits.len() == 4 && waits.iter().zip(wanted).all(|(wait, wanted)| about(*wait, wanted)), "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_not_answered_is_asked_for_ever_later() {
    let script = Script::new([Answer::Failed("SERVFAIL".into())]);
    let (names, mut news) = script.names();
    names.want(&key("production"), &spec(&["app.example.com"], &["IPv4"]));
    for _ in 0..7 {
        news.next().await;
    }
    let waits = script.waits();
    let wanted = [5, 10, 20, 40, 80, 160].map(Duration::from_secs);
    assert!(waits.len() == 6 && waits.iter().zip(wanted).all(|(wait, wanted)| about(*wait, wanted)), "{waits:?}");
    assert!(tokio::time::timeout(Duration::from_secs(3_600), news.next()).await.is_err(), "the same again is no news");
    assert!(script.waits().iter().skip(6).all(|wait| about(*wait, LATEST)));
}

#[tokio::test(start_paused = true)]
async fn a_host_is_asked_for_once_for_all_who_name_it_and_no_longer_than_one_does() {
    let script = Script::new([given(7, 60)]);
    let (names, mut news) = script.names();
    let host = ["app.example.com"];
    names.want(&key("production"), &spec(&host, &["IPv4"]));
    names.want(&key("staging"), &spec(&["app.example.com", "app.example.com"], &["IPv4"]));
    let both: BTreeSet<Key> = [news.next().await.unwrap(), news.next().await.unwrap()].into();
    assert_eq!(both, [key("production"), key("staging")].into());
    assert_eq!(script.asked(), [("app.example.com".to_owned(), V4)]);
    names.forget(&key("production"));
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(script.asked().len(), 2, "one still wants to know");
    names.want(&key("staging"), &spec(&["other.example.com"], &["IPv4", "IPv6"]));
    tokio::time::sleep(Duration::from_secs(100)).await;
    let families: BTreeSet<(String, IpFamily)> = script.asked().into_iter().skip(2).collect();
    assert_eq!(families, [V4, IpFamily::V6].map(|family| ("other.example.com".to_owned(), family)).into());
    assert!(names.told("app.example.com", &[V4].into())[&V4] == Told::default(), "it is forgotten");
    names.forget(&key("staging"));
    let asked = script.asked().len();
    tokio::time::sleep(Duration::from_secs(1_000)).await;
    assert_eq!(script.asked().len(), asked, "nobody wants to know");
}

#[tokio::test(start_paused = true)]
async fn an_address_that_may_not_be_used_is_not_told_as_one() {
    let script = Script::new([given(7, 60)]);
    let ask = {
        let (names, _) = script.names();
        names.ask.clone()
    };
    let (names, mut news) = Names::new(ask, &["203.0.113.0/24".parse().unwrap()]);
    names.want(&key("production"), &spec(&["app.example.com"], &["IPv4"]));
    news.next().await;
    let told = names.told("app.example.com", &[V4].into());
    let next = next(&Published::default(), &told, &[]);
    assert!(next.addresses.is_empty() && next.left_out.len() == 1, "{next:?}");
}
