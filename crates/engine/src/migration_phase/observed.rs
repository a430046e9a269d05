//! What the phase engine is told of the world. No I/O: the controller fills this in, from caches, and says
//! [`Known::Unknown`] of whatever it has not read.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use cutover_api::v1alpha1::{
    Environment, FeatureFlag, MigrationPhase, MigrationPhaseStatus, PhaseAction, PhaseActionSpec, TrafficSplit,
    environment::{ChecklistItem, ChecklistState, ChecklistStatus, System},
    feature_flag::FlagHolder,
    migration_phase::{NotifyOn, PhaseState},
    traffic_split::{Exposure, Holder, Ramp, Safety, VerifiedWeight},
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{
    checks::{compare::Counts, webhook::Word},
    hooks::HookView,
};
use crate::{Known, traffic_split::names_legacy};

/// Everything that one decision about one phase rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// Which phase this is.
    pub phase: PhaseIdentity,
    /// Its status as last read (or as last written and answered by the API server). An old one is harmless: the status write that
    /// follows carries the resource version and is refused.
    pub status: MigrationPhaseStatus,
    /// The splits that the spec's steps, the requests or the baseline name; see [`split_names`](super::split_names). A name that is
    /// missing here counts as [`Known::Unknown`]; `Known(None)` says that there is no such split.
    pub splits: BTreeMap<String, Known<Option<SplitView>>>,
    /// The flags, likewise; see [`flag_names`](super::flag_names).
    pub flags: BTreeMap<String, Known<Option<FlagView>>>,
    /// The environment of the spec; not looked at when the spec names none.
    pub environment: Known<Option<EnvironmentView>>,
    /// Other phases of the namespace: at least those in `spec.after` and what these lead back to, or simply all.
    pub predecessors: BTreeMap<String, Known<Option<PredecessorView>>>,
    /// The phase that `spec.gates.promotedFrom` names; not looked at when the spec names none.
    pub promotion: Known<Option<PromotionView>>,
    /// The newest result of each check, by name. Giving the same result again is harmless: it is recognised by its time.
    pub measurements: BTreeMap<String, Measurement>,
    /// What is known of the Jobs of hooks that the status says were started, by the Job's name. One that is missing has not been looked
    /// for yet.
    pub hooks: BTreeMap<String, HookView>,
    /// Actions of the namespace that name this phase, settled ones too (a lost status learns from them which attempts are over).
    pub actions: Vec<ActionView>,
    /// For how long, by the monotonic clock, this process has led and had read all of its inputs. Time that nobody watched counts for
    /// no failure.
    pub watched_for: Duration,
    /// This machine's clock minus the API server's.
    pub clock_skew: Known<SignedDuration>,
    /// Whether the policies that prove who asked are known to be enforced (or the operator was told to trust without).
    pub policies_enforced: Known<bool>,
    /// The sinks that phases of this namespace may name, and what each is told of every phase here, named or not.
    pub sinks: BTreeMap<String, BTreeSet<NotifyOn>>,
}

/// Which phase a decision is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PhaseIdentity {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// Whether the object is being deleted.
    pub deleting: bool,
}

impl PhaseIdentity {
    /// The identity of an object that the API server returned.
    #[must_use]
    pub fn of(phase: &MigrationPhase) -> Self {
        let meta = &phase.metadata;
        Self {
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
            generation: meta.generation.unwrap_or_default(),
            deleting: meta.deletion_timestamp.is_some(),
        }
    }
}

/// One split, as its status shows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SplitView {
    /// `spec.weightTotal`.
    pub weight_total: i32,
    /// Whether the split has a legacy side.
    pub has_legacy: bool,
    /// The component that the legacy side is, if it is one.
    pub legacy_component: Option<String>,
    /// Whether its legacy side is retired.
    pub retired: bool,
    /// The user's own object that it attaches to and that names legacy at any weight, if there is one: its kind and name.
    pub names_legacy: Option<String>,
    /// What has to be edited by a user before its legacy side is retired.
    pub awaits_edit: Option<String>,
    /// Capacity that the sides must have.
    pub safety: Safety,
    /// How fast its weight may move.
    pub ramp: Option<Ramp>,
    /// What is seen of its weight on the wire.
    pub sight: Sight,
    /// Weight of the new side that is wanted.
    pub desired: Option<i32>,
    /// Weight of the new side that every route carries.
    pub applied: Option<i32>,
    /// Whether it has routes.
    pub exposure: Option<Exposure>,
    /// Who moves it.
    pub holder: Option<Holder>,
    /// Ready endpoints of the legacy side; `None` when not counted yet. Fill this from the endpoint cache where there is one: a count
    /// in an old status is not evidence.
    pub legacy_ready: Option<i32>,
    /// Ready endpoints of the new side, likewise.
    pub new_ready: Option<i32>,
    /// Why it cannot go on without a person (`Stalled=True`), or why a router does not accept its route.
    pub trouble: Option<Trouble>,
    /// Whether the status is about the present spec.
    pub current: bool,
    /// Weight to return to as the route's annotation has it for this very phase: the second copy of the baseline, for when the status
    /// is lost. Read only while the status has no baseline.
    pub route_baseline: Option<i32>,
}

/// What is seen of a split's weight on the wire.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Sight {
    /// Nobody is to look.
    #[default]
    Unasked,
    /// Nobody has looked yet.
    Pending,
    /// This.
    Seen(VerifiedWeight),
}

impl SplitView {
    /// The view of an object that the API server returned, endpoint counts as of its status.
    #[must_use]
    pub fn of(split: &TrafficSplit) -> Self {
        let status = split.status.clone().unwrap_or_default();
        let current = status.observed_generation.is_some() && status.observed_generation == split.metadata.generation;
        let endpoints = status.endpoints.unwrap_or_default();
        let refused = status.routers.iter().find(|r| r.accepted == Some(false)).map(|router| Trouble {
            reason: cutover_api::conditions::reasons::ROUTE_NOT_ACCEPTED.to_owned(),
            message: router.message.clone().unwrap_or_else(|| format!("{} is not accepted", router.object)),
        });
        Self {
            weight_total: split.spec.weight_total,
            has_legacy: split.spec.legacy.is_some() && status.legacy_retired.is_none(),
            legacy_component: split.spec.legacy.as_ref().and_then(|legacy| legacy.component.clone()),
            retired: status.legacy_retired.is_some(),
            names_legacy: names_legacy(&split.spec),
            awaits_edit: status.legacy_retiring.map(|retiring| retiring.message),
            safety: split.spec.safety.clone().unwrap_or_default(),
            ramp: split.spec.ramp,
            sight: match (&split.spec.verify, status.verified_weight) {
                (None, _) => Sight::Unasked,
                (Some(_), None) => Sight::Pending,
                (Some(_), Some(seen)) => Sight::Seen(seen),
            },
            desired: status.desired_weight,
            applied: status.applied_weight,
            exposure: status.exposure,
            holder: status.holder,
            legacy_ready: endpoints.legacy.map(|side| side.ready),
            new_ready: endpoints.new.map(|side| side.ready),
            trouble: Trouble::stalled(&status.conditions).or(refused),
            current,
            route_baseline: None,
        }
    }
}

/// One flag, as its status shows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FlagView {
    /// Percentage in force.
    pub percent: Option<i32>,
    /// Who moves it.
    pub holder: Option<FlagHolder>,
    /// Whether the flag has a percentage rule that a phase could move.
    pub has_percentage: bool,
    /// Why it cannot go on without a person.
    pub trouble: Option<Trouble>,
    /// Whether the status is about the present spec.
    pub current: bool,
}

impl FlagView {
    /// The view of an object that the API server returned.
    #[must_use]
    pub fn of(flag: &FeatureFlag) -> Self {
        let status = flag.status.clone().unwrap_or_default();
        Self {
            percent: status.percent,
            holder: status.held_by,
            has_percentage: flag.spec.rules.iter().any(|rule| rule.percentage.is_some()),
            trouble: Trouble::stalled(&status.conditions),
            current: status.observed_generation.is_some() && status.observed_generation == flag.metadata.generation,
        }
    }
}

/// What keeps an object from going on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Reason, one word such as `Contended`.
    pub reason: String,
    /// For people.
    pub message: String,
}

impl Trouble {
    fn stalled(conditions: &[Condition]) -> Option<Self> {
        conditions
            .iter()
            .find(|c| c.type_ == cutover_api::conditions::types::STALLED && c.status == "True")
            .map(|c| Self { reason: c.reason.clone(), message: c.message.clone() })
    }
}

/// The environment, as far as gates look at it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvironmentView {
    /// Names of the components that are not ready, in the order of the spec. Empty: all are.
    pub not_ready: Vec<String>,
    /// Whether the status is about the present spec: an old one proves nothing.
    pub current: bool,
    /// Images of the new components that the environment runs, by name.
    pub images: BTreeMap<String, String>,
    /// Version of the shared database's schema, or why it is not known; `None` when the spec does not say where it is.
    pub schema: Option<Result<i64, String>>,
    /// Whether it says where it is measured.
    pub monitored: bool,
    /// Items of its checklist that somebody has attested.
    pub attested: BTreeSet<ChecklistItem>,
    /// Its UID.
    pub uid: String,
    /// What it has recorded of migrations of the shared database, by version, and those that are not recorded yet.
    pub migrations: BTreeMap<i64, MigrationView>,
    /// Which component calls which, of those that are not legacy themselves.
    pub calls: BTreeSet<(String, String)>,
}

/// What is known of migrations to one version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MigrationView {
    /// Whether the version is applied.
    pub applied: bool,
    /// The last recorded run.
    pub round: i32,
    /// Its Job.
    pub job: String,
    /// The phase that applied it.
    pub phase_uid: Option<String>,
    /// The Job of a later run, which is under way or of which it is not recorded yet how it ended.
    pub open: Option<String>,
}

impl EnvironmentView {
    /// The view of an object that the API server returned.
    #[must_use]
    pub fn of(environment: &Environment) -> Self {
        let new = environment.spec.components.iter().filter(|component| component.system == System::New);
        let images = new
            .filter_map(|component| Some((component.name.clone(), component.source.workload.as_ref()?.image.clone())));
        let images = images.collect();
        let callers = environment.spec.components.iter().filter(|component| component.system != System::Legacy);
        let calls = callers
            .flat_map(|component| component.calls_to.iter().map(|called| (component.name.clone(), called.clone())));
        let calls = calls.collect();
        let uid = environment.metadata.uid.clone().unwrap_or_default();
        let monitored = environment.spec.monitoring.is_some();
        let Some(status) = &environment.status else {
            return Self { images, monitored, uid, calls, ..Self::default() };
        };
        let migrations = status.migrations.iter().map(|record| {
            let view = MigrationView {
                applied: record.applied,
                round: record.round,
                job: record.job.clone(),
                phase_uid: record.phase_uid.clone(),
                open: None,
            };
            (record.version, view)
        });
        let attested = |standing: &&ChecklistStatus| standing.state == ChecklistState::Attested;
        let schema = status.schema.as_ref().map(|schema| match schema.version {
            Some(version) => Ok(version),
            None => Err(schema.message.clone().unwrap_or_default()),
        });
        Self {
            images,
            uid,
            migrations: migrations.collect(),
            monitored,
            attested: status.checklist.iter().filter(attested).map(|standing| standing.item).collect(),
            calls,
            schema: schema.filter(|_| environment.spec.shared.is_some()),
            not_ready: status.components.iter().filter(|c| !c.ready && !c.retired).map(|c| c.name.clone()).collect(),
            current: status.observed_generation.is_some()
                && status.observed_generation == environment.metadata.generation,
        }
    }
}

/// Another phase, as far as `after` looks at it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PredecessorView {
    /// Its state.
    pub state: Option<PhaseState>,
    /// Its own `spec.after`, to find cycles.
    pub after: Vec<String>,
}

impl PredecessorView {
    /// The view of an object that the API server returned.
    #[must_use]
    pub fn of(phase: &MigrationPhase) -> Self {
        Self { state: phase.status.as_ref().and_then(|s| s.state), after: phase.spec.after.clone() }
    }

    /// Whether it is completed.
    #[must_use]
    pub fn completed(&self) -> bool {
        self.state == Some(PhaseState::Completed)
    }
}

/// The phase that this one is promoted from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PromotionView {
    /// Its state.
    pub state: Option<PhaseState>,
    /// When its last attempt came to rest.
    pub finished_at: Option<Timestamp>,
    /// Images of the new components of its environment when it completed.
    pub images: BTreeMap<String, String>,
    /// Whether it may be seen from the namespace of the phase that asks.
    pub visible: bool,
}

impl PromotionView {
    /// The view that phases of `namespace` have of an object that the API server returned.
    #[must_use]
    pub fn of(phase: &MigrationPhase, namespace: &str) -> Self {
        let status = phase.status.clone().unwrap_or_default();
        let own = phase.metadata.namespace.as_deref() == Some(namespace);
        Self {
            state: status.state,
            finished_at: status.finished_at.map(|at| at.0),
            images: status.images,
            visible: own || phase.spec.visible_to.iter().any(|other| other == namespace),
        }
    }
}

/// One result of one check.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    /// What came out.
    pub result: Measured,
    /// When it was asked, by this machine's clock.
    pub at: Timestamp,
    /// [`ActiveCheck::round`](super::ActiveCheck::round) as it was when it was asked.
    pub round: String,
}

/// What a check's run came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Measured {
    /// A number. NaN counts as no data.
    Value(f64),
    /// The number of the new side and that of legacy, for a condition over both. NaN counts as no data.
    Sides {
        /// Legacy's.
        legacy: f64,
        /// The new side's.
        new: f64,
    },
    /// What both sides did since the step began.
    Counts {
        /// Legacy.
        legacy: Counts,
        /// The new side.
        new: Counts,
    },
    /// What somebody else said.
    Said(Word),
    /// How HTTP servers answered.
    Answers {
        /// Legacy's, for a condition over both.
        legacy: Option<Answer>,
        /// The new side's.
        new: Answer,
    },
    /// A Job has ended.
    Ended {
        /// How it failed, if it did.
        failure: Option<String>,
    },
    /// The source answered, and there was nothing.
    NoData,
    /// The source could not be asked, or answered with something that is not one number.
    Erroring(String),
}

/// How an HTTP server answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// With something.
    Given {
        /// The status code.
        status: u16,
        /// How long it took, in seconds.
        seconds: f64,
        /// The number that the check points at, if there is one.
        value: Option<f64>,
    },
    /// Not, and in what way: nobody listens, the connection broke, or nothing came in time.
    Silence(String),
}

/// One action of a person.
#[derive(Clone, Debug, PartialEq)]
pub struct ActionView {
    /// UID.
    pub uid: String,
    /// Name.
    pub name: String,
    /// When it was made, by the API server's clock.
    pub created: Timestamp,
    /// What is asked.
    pub spec: PhaseActionSpec,
    /// Whether its status already says what became of it.
    pub settled: bool,
}

impl ActionView {
    /// Whether it is about the phase, and nothing has become of it yet.
    pub(super) fn is_open(&self, phase: &PhaseIdentity) -> bool {
        !self.settled && self.spec.phase == phase.name
    }

    /// The view of an object that the API server returned.
    #[must_use]
    pub fn of(action: &PhaseAction) -> Self {
        let meta = &action.metadata;
        Self {
            uid: meta.uid.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
            created: meta.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
            spec: action.spec.clone(),
            settled: action.status.as_ref().is_some_and(|status| status.state.is_some()),
        }
    }
}
