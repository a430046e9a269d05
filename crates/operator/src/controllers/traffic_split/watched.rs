//! Asks the sides of splits whether they are there, beside the reconciles: one task for each side that is to be asked, for as long as
//! its split says so. A change of the answer triggers a reconcile; nothing else does.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use cutover_api::v1alpha1::{
    TrafficSplitSpec,
    migration_phase::{HttpCheck, HttpMethod},
    traffic_split::{HttpProbe, Side, SideProbe},
};
use cutover_engine::{
    migration_phase::Answer,
    traffic_split::{Answers, Probed},
};
use futures::Stream;
use tokio_util::task::AbortOnDropHandle;

use crate::{cluster::stores::Key, controllers::news::News, outbound::http_probe::Probes};

/// The sides that are watched.
pub(super) struct Watched {
    sides: Mutex<HashMap<(Key, Side), Watch>>,
    news: News,
    probes: Probes,
}

struct Watch {
    probe: SideProbe,
    answers: Arc<Mutex<Answers>>,
    _task: AbortOnDropHandle<()>,
}

impl Watched {
    /// Nothing is watched yet, and the stream of splits of which a side answers otherwise than before.
    pub(super) fn new(probes: Probes) -> (Self, impl Stream<Item = Key> + Send + 'static) {
        let (news, told) = News::new();
        (Self { sides: Mutex::default(), news, probes }, told)
    }

    /// What the sides say, legacy first. Asks them from now on, as the spec says.
    pub(super) fn ask(&self, split: &Key, spec: &TrafficSplitSpec) -> [Probed; 2] {
        let safety = spec.safety.as_ref();
        let legacy = safety.and_then(|safety| safety.legacy.as_ref()).filter(|_| spec.legacy.is_some());
        let new = safety.and_then(|safety| safety.new.as_ref());
        [(Side::Legacy, legacy), (Side::New, new)]
            .map(|(side, capacity)| self.side(split, side, capacity.and_then(|capacity| capacity.probe.as_ref())))
    }

    fn side(&self, split: &Key, side: Side, probe: Option<&SideProbe>) -> Probed {
        let mut sides = self.sides.lock().unwrap_or_else(PoisonError::into_inner);
        let at = (split.clone(), side);
        let Some(probe) = probe else {
            sides.remove(&at);
            return Probed::Unasked;
        };
        let watch = match sides.remove(&at) {
            Some(known) if known.probe == *probe => known,
            _ => self.start(split.clone(), probe.clone()),
        };
        let now = watch.answers.lock().unwrap_or_else(PoisonError::into_inner).now();
        sides.insert(at, watch);
        now
    }

    /// Forgets a split.
    pub(super) fn forget(&self, split: &Key) {
        let mut sides = self.sides.lock().unwrap_or_else(PoisonError::into_inner);
        sides.retain(|(known, _), _| known != split);
    }

    fn start(&self, split: Key, probe: SideProbe) -> Watch {
        let answers = Arc::new(Mutex::new(Answers::default()));
        let (probes, news) = (self.probes.clone(), self.news.clone());
        let (asked, taken) = (probe.clone(), Arc::clone(&answers));
        let task = tokio::spawn(async move {
            let mut tick = tokio::time::interval(asked.interval.get().max(Duration::from_secs(1)));
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tick.tick().await;
                let answer = ask(&probes, &asked).await;
                let changed = taken.lock().unwrap_or_else(PoisonError::into_inner).take(answer, asked.fail_after);
                if changed {
                    news.tell(split.clone());
                }
            }
        });
        Watch { probe, answers, _task: AbortOnDropHandle::new(task) }
    }
}

/// Yes, or no and why; or that it could not be asked, and why.
async fn ask(probes: &Probes, probe: &SideProbe) -> Result<Result<(), String>, String> {
    if let Some(tcp) = &probe.tcp {
        let port = u16::try_from(tcp.port).map_err(|_| format!("{} is no port", tcp.port))?;
        return probes.connect(&tcp.host, port, probe.timeout.get()).await;
    }
    let Some(http) = &probe.http else { return Err("it says neither http nor tcp".to_owned()) };
    let HttpProbe { url, expect_status, ca_bundle } = http;
    let asked = HttpCheck {
        url: url.clone(),
        legacy_url: None,
        method: HttpMethod::Get,
        headers: Vec::new(),
        expect_status: *expect_status,
        pointer: None,
        timeout: probe.timeout,
        ca_bundle: ca_bundle.clone(),
    };
    Ok(match probes.ask(&asked, url).await? {
        Answer::Given { status, .. } if (expect_status.min..=expect_status.max).contains(&i32::from(status)) => Ok(()),
        Answer::Given { status, .. } => Err(format!("it answers {status}")),
        Answer::Silence(why) => Err(why),
    })
}
