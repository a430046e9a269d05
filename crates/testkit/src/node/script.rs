//! What a simulated component is told to do wrong, and since when. No I/O.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::watch;

/// How a component behaves. The default is a healthy one.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    /// Part of the requests answered with 500, 0 to 1, spread evenly. Health and metrics are left out.
    pub error_rate: f64,
    /// Time added to every answer; health and metrics are left out.
    pub delay: Duration,
    /// Nothing listens: connections are refused, open ones are cut.
    pub refuse_connections: bool,
    /// `/api/health` answers 503 and pods turn not ready at once, with or without a probe.
    pub not_ready: bool,
    /// From the binding of a pod to the start of its containers.
    pub start_delay: Duration,
    /// How long a terminating pod goes on serving, at most its grace period.
    pub drain: Duration,
    /// How long a pod that runs to an end takes.
    pub run_time: Duration,
    /// Exit code of a pod that runs to an end.
    pub exit_code: i32,
    /// What the containers of a pod have printed.
    pub log: String,
    /// Pods never start; this is the reason shown, such as `ImagePullBackOff`.
    pub stuck: Option<String>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            error_rate: 0.0,
            delay: Duration::ZERO,
            refuse_connections: false,
            not_ready: false,
            start_delay: Duration::from_millis(100),
            drain: Duration::from_secs(5),
            run_time: Duration::from_millis(300),
            exit_code: 0,
            log: String::new(),
            stuck: None,
        }
    }
}

impl Script {
    /// Whether requests to running pods suffer.
    #[must_use]
    pub fn is_fault(&self) -> bool {
        self.error_rate > 0.0 || !self.delay.is_zero() || self.refuse_connections || self.not_ready
    }

    /// Overlays what pod annotations say: `sim.cutover.dev/<field>`, durations in milliseconds or with
    /// a unit (`250ms`, `3s`), switches as `true` or `false`. What cannot be read is returned and left out.
    #[must_use]
    pub fn with_annotations(&self, annotations: &BTreeMap<String, String>) -> (Self, Vec<String>) {
        let mut script = self.clone();
        let mut unreadable = Vec::new();
        for (key, value) in annotations {
            let Some(field) = key.strip_prefix(ANNOTATION_PREFIX) else { continue };
            if script.set(field, value).is_none() {
                unreadable.push(format!("{key}: {value}"));
            }
        }
        (script, unreadable)
    }

    fn set(&mut self, field: &str, value: &str) -> Option<()> {
        match field {
            "error-rate" => self.error_rate = value.parse().ok().filter(|rate| (0.0..=1.0).contains(rate))?,
            "delay" => self.delay = duration(value)?,
            "refuse-connections" => self.refuse_connections = value.parse().ok()?,
            "not-ready" => self.not_ready = value.parse().ok()?,
            "start-delay" => self.start_delay = duration(value)?,
            "drain" => self.drain = duration(value)?,
            "run-time" => self.run_time = duration(value)?,
            "exit-code" => self.exit_code = value.parse().ok()?,
            "log" => value.clone_into(&mut self.log),
            "stuck" => self.stuck = (!value.is_empty()).then(|| value.to_owned()),
            // Says who the pod is, not how it behaves.
            "system" => {}
            _ => return None,
        }
        Some(())
    }
}

/// Prefix of the annotations that script one pod.
pub const ANNOTATION_PREFIX: &str = "sim.cutover.dev/";

fn duration(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().ok()?;
    match text.get(digits.len()..)? {
        "" | "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number.checked_mul(60)?)),
        _ => None,
    }
}

/// A time during which a component was told to fail.
#[derive(Clone, Debug)]
pub struct FaultSpan {
    /// Namespace of the component; empty for one outside the cluster.
    pub namespace: String,
    /// Name of the component.
    pub component: String,
    /// Begin, as the instant at which the script changed.
    pub from: Instant,
    /// End; none while it lasts.
    pub to: Option<Instant>,
}

/// The scripts of all components of a simulator.
#[derive(Clone, Debug, Default)]
pub(super) struct Scripts(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    components: HashMap<(String, String), watch::Sender<Script>>,
    spans: Vec<FaultSpan>,
}

impl Scripts {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn component(&self, namespace: &str, component: &str) -> ComponentScript {
        let key = (namespace.to_owned(), component.to_owned());
        let sender = self.lock().components.entry(key).or_insert_with(|| watch::Sender::new(Script::default())).clone();
        ComponentScript {
            scripts: self.clone(),
            namespace: namespace.to_owned(),
            component: component.to_owned(),
            sender,
        }
    }

    pub(super) fn spans(&self) -> Vec<FaultSpan> {
        self.lock().spans.clone()
    }
}

/// Handle on the script of one component, for its running pods and those to come.
#[derive(Clone, Debug)]
pub struct ComponentScript {
    scripts: Scripts,
    namespace: String,
    component: String,
    sender: watch::Sender<Script>,
}

#[expect(clippy::must_use_candidate, reason = "the scripts return themselves to be chained")]
impl ComponentScript {
    /// Changes the script; takes effect at once.
    pub fn update(&self, change: impl FnOnce(&mut Script)) -> &Self {
        // The lock keeps the spans in the order of the changes.
        let mut inner = self.scripts.lock();
        // Before the change, so that no request fails before the span begins.
        let now = Instant::now();
        let (mut was, mut is) = (false, false);
        self.sender.send_modify(|script| {
            was = script.is_fault();
            change(script);
            is = script.is_fault();
        });
        let open = inner
            .spans
            .iter_mut()
            .rev()
            .find(|span| span.to.is_none() && span.namespace == self.namespace && span.component == self.component);
        match (was, is, open) {
            (false, true, None) => inner.spans.push(FaultSpan {
                namespace: self.namespace.clone(),
                component: self.component.clone(),
                from: now,
                to: None,
            }),
            (true, false, Some(span)) => span.to = Some(Instant::now()),
            _ => {}
        }
        self
    }

    /// See [`Script::error_rate`].
    pub fn error_rate(&self, rate: f64) -> &Self {
        self.update(|script| script.error_rate = rate.clamp(0.0, 1.0))
    }

    /// See [`Script::delay`].
    pub fn delay(&self, delay: Duration) -> &Self {
        self.update(|script| script.delay = delay)
    }

    /// See [`Script::refuse_connections`].
    pub fn refuse_connections(&self, refuse: bool) -> &Self {
        self.update(|script| script.refuse_connections = refuse)
    }

    /// See [`Script::not_ready`].
    pub fn not_ready(&self, not_ready: bool) -> &Self {
        self.update(|script| script.not_ready = not_ready)
    }

    /// See [`Script::start_delay`].
    pub fn start_delay(&self, delay: Duration) -> &Self {
        self.update(|script| script.start_delay = delay)
    }

    /// See [`Script::drain`].
    pub fn drain(&self, drain: Duration) -> &Self {
        self.update(|script| script.drain = drain)
    }

    /// See [`Script::run_time`].
    pub fn run_time(&self, run_time: Duration) -> &Self {
        self.update(|script| script.run_time = run_time)
    }

    /// See [`Script::exit_code`].
    pub fn exit_code(&self, exit_code: i32) -> &Self {
        self.update(|script| script.exit_code = exit_code)
    }

    /// See [`Script::stuck`].
    pub fn stuck(&self, reason: &str) -> &Self {
        self.update(|script| script.stuck = Some(reason.to_owned()))
    }

    /// Healthy again.
    pub fn clear(&self) -> &Self {
        self.update(|script| *script = Script::default())
    }

    /// Since when the component has been failing, if it is.
    #[must_use]
    pub fn failing_since(&self) -> Option<Instant> {
        let inner = self.scripts.lock();
        let mine = |span: &&FaultSpan| {
            span.to.is_none() && span.namespace == self.namespace && span.component == self.component
        };
        inner.spans.iter().find(mine).map(|span| span.from)
    }

    /// The script without annotations.
    pub(super) fn told(&self) -> Told {
        self.told_with(watch::Sender::new(BTreeMap::new()).subscribe())
    }

    /// The script and what a pod's own annotations say.
    pub(super) fn told_with(&self, annotations: watch::Receiver<BTreeMap<String, String>>) -> Told {
        Told { script: self.sender.subscribe(), annotations }
    }
}

/// What one pod has been told, read at the moment it matters: a change counts for the next request.
#[derive(Clone, Debug)]
pub(super) struct Told {
    script: watch::Receiver<Script>,
    /// Those of ours only.
    annotations: watch::Receiver<BTreeMap<String, String>>,
}

impl Told {
    pub(super) fn now(&self) -> Script {
        self.script.borrow().with_annotations(&self.annotations.borrow()).0
    }

    /// The next change since the last call. None once nobody can change anything.
    pub(super) async fn changed(&mut self) -> Option<()> {
        tokio::select! {
            Ok(()) = self.script.changed() => Some(()),
            Ok(()) = self.annotations.changed() => Some(()),
            else => None,
        }
    }
}
