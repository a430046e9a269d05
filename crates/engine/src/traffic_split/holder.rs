//! Who holds a split. The split is the only arbiter: a phase asks in its own status, the split grants here.
//!
//! ```text
//!            a phase asks (confirmed)                 asks again, newer revision
//!   free ───────────────────────────────▶ held by it ───────────────┐
//!    ▲                                      │  ▲                     │
//!    │  it lets go, or is deleted           │  └─────────────────────┘
//!    └──────────────────────────────────────┘   older revision or attempt: never effective
//! ```
//!
//! Caches of phases and of splits are not in step with each other, and right after a start they may be old. What would
//! make a difference is therefore *confirmed* by a read of the phase itself before it counts: a new grant, and the
//! disappearance or an older state of the holder. [`Ruling::doubt`] names the phase to read.

use cutover_api::v1alpha1::{
    migration_phase::SplitRequest,
    traffic_split::{Exposure, Holder, TrafficSplitStatus},
};

/// What a phase has to say about a split.
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
    /// What it asks of the split; `None` when its state holds nothing, or it does not list the split.
    pub request: Option<SplitRequest>,
    /// What the split was before the phase, for the routes' annotation: a [`RouteBaseline`](super::RouteBaseline) as JSON.
    pub baseline: Option<String>,
    /// Whether this was read from the API server itself, for this decision.
    pub confirmed: bool,
}

/// Why a split is no longer held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// The phase let go: it came to rest, or no longer lists the split.
    LetGo,
    /// The phase is gone.
    Deleted,
}

/// Who holds the split from now on, and what is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// The holder from now on.
    pub holder: Option<Holder>,
    /// Count of grants so far.
    pub epoch: Option<i64>,
    /// The holder's present request. `None` without a holder, and when the holder is known by an older state only: then
    /// everything stays as it is.
    pub order: Option<Order>,
    /// The former holder no longer holds.
    pub released: Option<Release>,
    /// A phase to be read from the API server before anything is decided. Until then everything stays.
    pub doubt: Option<String>,
}

/// A request that is effective.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Weight of the new side; `None`: hold what is.
    pub new_weight: Option<i32>,
    /// Exposure; `None`: as it is.
    pub exposure: Option<Exposure>,
    /// Go back whatever the legacy side can carry.
    pub force: bool,
}

impl From<&SplitRequest> for Order {
    fn from(request: &SplitRequest) -> Self {
        Self { new_weight: request.new_weight, exposure: request.exposure, force: request.force }
    }
}

/// Rules on the claims of all phases. `absent` names phases that the API server was asked for and that it does not have.
#[must_use]
pub fn arbitrate(status: &TrafficSplitStatus, claims: &[Claim], absent: &[String]) -> Ruling {
    let Some(holder) = &status.holder else { return grant(status, claims, None) };
    let stays = |doubt: Option<&str>| Ruling {
        holder: Some(holder.clone()),
        epoch: status.epoch,
        order: None,
        released: None,
        doubt: doubt.map(str::to_owned),
    };
    let Some(claim) = claims.iter().find(|claim| claim.uid == holder.uid) else {
        return if absent.contains(&holder.phase) || claims.iter().any(|c| c.phase == holder.phase && c.confirmed) {
            grant(status, claims, Some(Release::Deleted))
        } else {
            stays(Some(&holder.phase))
        };
    };
    let older = claim.revision < holder.request_revision || claim.attempt < holder.attempt;
    match (&claim.request, older, claim.confirmed) {
        (Some(request), false, _) => Ruling {
            holder: Some(Holder {
                attempt: claim.attempt,
                request_revision: claim.revision,
                new_weight: request.new_weight,
                ..holder.clone()
            }),
            epoch: status.epoch,
            order: Some(request.into()),
            released: None,
            doubt: None,
        },
        // That includes a phase whose status was lost and which began anew: what it asks now is a new claim.
        (None, false, _) | (_, true, true) => grant(status, claims, Some(Release::LetGo)),
        (_, true, false) => stays(Some(&claim.phase)),
    }
}

/// Grants the free split to the first of those who ask, by name.
fn grant(status: &TrafficSplitStatus, claims: &[Claim], released: Option<Release>) -> Ruling {
    let free = Ruling { holder: None, epoch: status.epoch, order: None, released, doubt: None };
    let asking = claims.iter().filter_map(|claim| Some((claim, claim.request.as_ref()?)));
    let Some((claim, request)) = asking.min_by_key(|(claim, _)| (&claim.phase, &claim.uid)) else { return free };
    if !claim.confirmed {
        // Not even the release: one write makes both known.
        return Ruling {
            holder: status.holder.clone(),
            epoch: status.epoch,
            order: None,
            released: None,
            doubt: Some(claim.phase.clone()),
        };
    }
    let last = status.holder.as_ref().map_or(0, |holder| holder.epoch).max(status.epoch.unwrap_or(0));
    let epoch = last + 1;
    Ruling {
        holder: Some(Holder {
            phase: claim.phase.clone(),
            uid: claim.uid.clone(),
            attempt: claim.attempt,
            epoch,
            request_revision: claim.revision,
            new_weight: request.new_weight,
        }),
        epoch: Some(epoch),
        order: Some(request.into()),
        released,
        doubt: None,
    }
}
