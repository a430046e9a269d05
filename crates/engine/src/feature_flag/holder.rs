//! Who holds a flag: the same protocol as for splits. A phase asks in its own status, the flag grants in its; at most one
//! phase holds it, epochs only grow, and a request older than the one last carried out is never effective again.
//!
//! Caches may be old, so what would make a difference is confirmed by a read of the phase itself: a new grant, and the
//! disappearance or an older state of the holder. [`Ruling::doubt`] names the phase to read.

use cutover_api::v1alpha1::{
    FeatureFlagStatus,
    feature_flag::FlagHolder,
    migration_phase::{FlagRequest, MigrationPhase, PhaseState},
};

/// What a phase has to say about a flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Name of the phase.
    pub phase: String,
    /// Its UID.
    pub uid: String,
    /// Its attempt.
    pub attempt: i32,
    /// Its `status.requestRevision`.
    pub revision: i64,
    /// What it asks of the flag; `None` when its state holds nothing, or it does not list the flag.
    pub request: Option<FlagRequest>,
    /// Whether this was read from the API server itself, for this decision.
    pub confirmed: bool,
}

impl Claim {
    /// What a phase says about the flag of this name.
    #[must_use]
    pub fn of(phase: &MigrationPhase, flag: &str, confirmed: bool) -> Self {
        let status = phase.status.as_ref();
        let holds = status.and_then(|status| status.state).is_some_and(PhaseState::holds);
        let requests = status.filter(|_| holds).and_then(|status| status.requests.as_ref());
        Self {
            phase: phase.metadata.name.clone().unwrap_or_default(),
            uid: phase.metadata.uid.clone().unwrap_or_default(),
            attempt: status.and_then(|status| status.attempt).unwrap_or(0),
            revision: status.and_then(|status| status.request_revision).unwrap_or(0),
            request: requests.and_then(|requests| requests.flags.iter().find(|request| request.flag == flag)).cloned(),
            confirmed,
        }
    }
}

/// Who holds the flag from now on, and what is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruling {
    /// The holder from now on.
    pub holder: Option<FlagHolder>,
    /// Count of grants so far.
    pub epoch: Option<i64>,
    /// The holder's present request. `None` without a holder, and when the holder is known by an older state only: then
    /// everything stays as it is.
    pub order: Option<Order>,
    /// A phase to be read from the API server before anything is decided. Until then everything stays.
    pub doubt: Option<String>,
}

/// A request that is effective.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Percentage of the growing variant; `None`: hold what is.
    pub percent: Option<i32>,
}

/// Rules on the claims of all phases. `absent`: names of phases that the API server was asked for and does not have.
#[must_use]
pub fn arbitrate(status: &FeatureFlagStatus, claims: &[Claim], absent: &[String]) -> Ruling {
    let Some(holder) = &status.held_by else { return grant(status, claims) };
    let stays = |doubt: Option<&str>| Ruling {
        holder: Some(holder.clone()),
        epoch: status.epoch,
        order: None,
        doubt: doubt.map(str::to_owned),
    };
    let Some(claim) = claims.iter().find(|claim| claim.uid == holder.uid) else {
        let gone =
            absent.contains(&holder.phase) || claims.iter().any(|claim| claim.phase == holder.phase && claim.confirmed);
        return if gone { grant(status, claims) } else { stays(Some(&holder.phase)) };
    };
    let older = claim.revision < holder.request_revision || claim.attempt < holder.attempt;
    match (&claim.request, older, claim.confirmed) {
        (Some(request), false, _) => Ruling {
            holder: Some(FlagHolder { attempt: claim.attempt, request_revision: claim.revision, ..holder.clone() }),
            epoch: status.epoch,
            order: Some(Order { percent: request.percent }),
            doubt: None,
        },
        // It let go; or its status was lost and it began anew, and what it asks now is a new claim.
        (None, false, _) | (_, true, true) => grant(status, claims),
        (_, true, false) => stays(Some(&claim.phase)),
    }
}

/// Grants the free flag to the first of those who ask, by name.
fn grant(status: &FeatureFlagStatus, claims: &[Claim]) -> Ruling {
    let free = Ruling { holder: None, epoch: status.epoch, order: None, doubt: None };
    let asking = claims.iter().filter_map(|claim| Some((claim, claim.request.as_ref()?)));
    let Some((claim, request)) = asking.min_by_key(|(claim, _)| (&claim.phase, &claim.uid)) else { return free };
    if !claim.confirmed {
        return Ruling { holder: status.held_by.clone(), doubt: Some(claim.phase.clone()), ..free };
    }
    let last = status.held_by.as_ref().map_or(0, |holder| holder.epoch).max(status.epoch.unwrap_or(0));
    let epoch = last + 1;
    Ruling {
        holder: Some(FlagHolder {
            phase: claim.phase.clone(),
            uid: claim.uid.clone(),
            attempt: claim.attempt,
            epoch,
            request_revision: claim.revision,
        }),
        epoch: Some(epoch),
        order: Some(Order { percent: request.percent }),
        doubt: None,
    }
}
