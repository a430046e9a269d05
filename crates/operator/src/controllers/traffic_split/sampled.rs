//! Looks at the weights in force on the wire, beside the reconciles: one sample for each weight, again after a pause while it does not
//! confirm the weight. Its result triggers a reconcile, which puts it into the status.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use cutover_api::v1alpha1::{
    TrafficSplit,
    traffic_split::{Exposure, VerifiedWeight, VerifyHttp},
};
use cutover_engine::traffic_split::verify::verified;
use futures::Stream;
use jiff::Timestamp;
use tokio_util::task::AbortOnDropHandle;

use crate::{cluster::stores::Key, controllers::news::News, outbound::http_probe::Probes};

/// From a sample that does not confirm a weight to the next.
const PAUSE: Duration = Duration::from_secs(10);

/// The samples that are taken.
pub(super) struct Sampled {
    samples: Mutex<HashMap<Key, Sample>>,
    news: News,
    probes: Probes,
}

/// What is looked at: a change of any of it begins anew.
#[derive(Clone, Debug, PartialEq)]
struct About {
    asked: VerifyHttp,
    weight: i32,
    total: i32,
}

struct Sample {
    about: About,
    seen: Arc<Mutex<Option<VerifiedWeight>>>,
    _task: AbortOnDropHandle<()>,
}

impl Sampled {
    /// Nothing is looked at yet, and the stream of splits of which something was seen.
    pub(super) fn new(probes: Probes) -> (Self, impl Stream<Item = Key> + Send + 'static) {
        let (news, told) = News::new();
        (Self { samples: Mutex::default(), news, probes }, told)
    }

    /// What was seen of the weight in force. Looks from now on, unless the status says already that it was confirmed.
    pub(super) fn look(&self, key: &Key, split: &TrafficSplit) -> Option<VerifiedWeight> {
        let about = about(split);
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(about) = about else {
            samples.remove(key);
            return None;
        };
        if let Some(sample) = samples.get(key).filter(|sample| sample.about == about) {
            return sample.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        }
        let known = split.status.as_ref().and_then(|status| status.verified_weight.as_ref());
        // After a start of the operator, or once and for all: a new question is a new generation, whose status is not written yet.
        let is_known = !samples.contains_key(key)
            && split.status.as_ref().and_then(|status| status.observed_generation) == split.metadata.generation
            && known.is_some_and(|known| known.confirmed && known.applied_weight == about.weight);
        samples.remove(key);
        if !is_known {
            samples.insert(key.clone(), self.start(key.clone(), about));
        }
        None
    }

    /// Forgets a split.
    pub(super) fn forget(&self, key: &Key) {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    fn start(&self, key: Key, about: About) -> Sample {
        let seen: Arc<Mutex<Option<VerifiedWeight>>> = Arc::default();
        let (probes, news) = (self.probes.clone(), self.news.clone());
        let (asked, taken) = (about.clone(), Arc::clone(&seen));
        let task = tokio::spawn(async move {
            loop {
                let sample = probes.sample(&asked.asked).await;
                let newest = verified(&sample, asked.weight, asked.total, Timestamp::now());
                let confirmed = newest.confirmed;
                *taken.lock().unwrap_or_else(PoisonError::into_inner) = Some(newest);
                news.tell(key.clone());
                if confirmed {
                    return;
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        Sample { about, seen, _task: AbortOnDropHandle::new(task) }
    }
}

/// What is to be looked at: a weight that is in force, and stays.
fn about(split: &TrafficSplit) -> Option<About> {
    let (asked, status) = (&split.spec.verify.as_ref()?.http, split.status.as_ref()?);
    let weight = status.applied_weight.filter(|weight| status.desired_weight == Some(*weight))?;
    let exposed = status.exposure == Some(Exposure::Exposed) && split.spec.legacy.is_some();
    exposed.then(|| About { asked: asked.clone(), weight, total: split.spec.weight_total })
}
