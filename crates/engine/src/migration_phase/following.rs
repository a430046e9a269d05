//! Whether a split or flag has done what was asked, and if not, why.

use cutover_api::{
    conditions::reasons,
    v1alpha1::{
        migration_phase::{Blocker, FlagRequest, PhaseState, SplitRequest, Step},
        traffic_split::{Exposure, Holder},
    },
};

use super::{
    capacity,
    machine::{Machine, blocker, unknown},
    observed::{Sight, SplitView},
};
use crate::Known;

/// How an object stands to this phase.
pub(super) enum Held {
    /// Granted to the present attempt.
    ByUs,
    /// Granted to nobody, or to an attempt of ours that is over: the grant is on its way.
    Free,
    /// Granted to another phase.
    ByOther(String),
}

/// Why a split or flag is not ours, to follow its name.
enum Ungranted {
    Yet(String),
    Busy(String),
}

impl Machine<'_> {
    /// Who holds a split or flag, given the phase, UID and attempt of its holder.
    pub fn held(&self, holder: Option<(&str, &str, i32)>) -> Held {
        match holder {
            Some((_, uid, attempt)) if uid == self.observed.phase.uid => {
                if attempt == self.attempt() {
                    Held::ByUs
                } else {
                    Held::Free
                }
            }
            Some((phase, _, attempt)) => Held::ByOther(format!("phase {phase} (attempt {attempt})")),
            None => Held::Free,
        }
    }

    pub fn split_held(&self, view: &SplitView) -> Held {
        self.held(view.holder.as_ref().map(|h: &Holder| (h.phase.as_str(), h.uid.as_str(), h.attempt)))
    }

    /// Whether the split has done what is asked of it; otherwise why not yet.
    pub fn split_follows(&self, request: &SplitRequest) -> Result<(), Blocker> {
        let name = &request.split;
        let view = match self.split(name) {
            Known::Known(Some(view)) => view,
            Known::Known(None) => return Err(missing(&self.field_of_split(name), &format!("TrafficSplit {name}"))),
            Known::Unknown => return Err(unknown(&format!("TrafficSplit {name}"))),
        };
        self.granted(self.split_held(view)).map_err(|why| match why {
            Ungranted::Yet(until) => blocker(reasons::PREPARING, format!("TrafficSplit {name} {until}")),
            Ungranted::Busy(held) => {
                blocker(reasons::SPLIT_BUSY, format!("{}: TrafficSplit {name} {held}", self.field_of_split(name)))
            }
        })?;
        let seen = view.holder.as_ref().map_or(0, |holder| holder.request_revision);
        let hidden = request.exposure.or(view.exposure) == Some(Exposure::Hidden);
        let exposed = request.exposure.is_none() || request.exposure == view.exposure;
        let weight = request.new_weight.is_none_or(|weight| {
            // Without routes there is nothing to read back: what is wanted is all there is.
            view.applied == Some(weight) || (hidden && view.desired == Some(weight))
        });
        if seen == self.revision() && exposed && (weight || (hidden && request.exposure == Some(Exposure::Hidden))) {
            return Ok(());
        }
        if let Some(trouble) = &view.trouble {
            let message = format!("TrafficSplit {name}: {}: {}", trouble.reason, trouble.message);
            return Err(blocker(reasons::SPLIT_NOT_READY, message));
        }
        if let (Some(from), Some(to)) = (view.applied, request.new_weight)
            && let Some(lacking) = capacity::lacking(view, from, to, request.force)
        {
            return Err(blocker(reasons::INSUFFICIENT_CAPACITY, format!("TrafficSplit {name}: {lacking}")));
        }
        let at = view.applied.map_or_else(|| "no weight yet".to_owned(), |weight| weight.to_string());
        let to = request.new_weight.map_or_else(|| at.clone(), |weight| weight.to_string());
        Err(blocker(reasons::SHIFTING, format!("TrafficSplit {name} is at {at} and goes to {to}")))
    }

    /// Whether the flag has done what is asked of it; otherwise why not yet.
    pub fn flag_follows(&self, request: &FlagRequest) -> Result<(), Blocker> {
        let name = &request.flag;
        let view = match self.flag(name) {
            Known::Known(Some(view)) => view,
            Known::Known(None) => return Err(missing(&self.field_of_flag(name), &format!("FeatureFlag {name}"))),
            Known::Unknown => return Err(unknown(&format!("FeatureFlag {name}"))),
        };
        let holder = view.holder.as_ref();
        let held = self.held(holder.map(|h| (h.phase.as_str(), h.uid.as_str(), h.attempt)));
        self.granted(held).map_err(|why| match why {
            Ungranted::Yet(until) => blocker(reasons::PREPARING, format!("FeatureFlag {name} {until}")),
            Ungranted::Busy(held) => {
                blocker(reasons::FLAG_BUSY, format!("{}: FeatureFlag {name} {held}", self.field_of_flag(name)))
            }
        })?;
        let seen = holder.map_or(0, |holder| holder.request_revision);
        if seen == self.revision() && request.percent.is_none_or(|percent| view.percent == Some(percent)) {
            return Ok(());
        }
        if let Some(trouble) = &view.trouble {
            let message = format!("FeatureFlag {name}: {}: {}", trouble.reason, trouble.message);
            return Err(blocker(reasons::FLAG_NOT_READY, message));
        }
        Err(blocker(reasons::SHIFTING, format!("FeatureFlag {name} is being published")))
    }

    /// Where the spec first names a split; `spec.steps` when it no longer does.
    pub fn field_of_split(&self, name: &str) -> String {
        self.field(|step| step.traffic.iter().position(|target| target.split == name), "traffic", "split")
    }

    /// Where the spec first names a flag; `spec.steps` when it no longer does.
    pub fn field_of_flag(&self, name: &str) -> String {
        self.field(|step| step.flags.iter().position(|target| target.flag == name), "flags", "flag")
    }

    fn field(&self, find: impl Fn(&Step) -> Option<usize>, list: &str, key: &str) -> String {
        let mut steps = self.spec.ok().into_iter().flat_map(|valid| valid.spec().steps.iter().enumerate());
        let found = steps.find_map(|(i, step)| Some((i, find(step)?)));
        found.map_or_else(|| "spec.steps".to_owned(), |(i, j)| format!("spec.steps[{i}].{list}[{j}].{key}"))
    }

    fn granted(&self, held: Held) -> Result<(), Ungranted> {
        match held {
            Held::ByUs => Ok(()),
            Held::Free => Err(Ungranted::Yet(format!("has not been granted to attempt {} yet", self.attempt()))),
            Held::ByOther(holder) => {
                let until = "it is free when that phase is Completed, RolledBack or Aborted";
                Err(Ungranted::Busy(format!("is held by {holder}: {until}")))
            }
        }
    }

    /// Whether the split is where the request wants it, whoever brought it there.
    pub fn split_at(&self, request: &SplitRequest) -> bool {
        self.split_view(&request.split).is_some_and(|view| {
            request.new_weight.is_none_or(|weight| view.applied == Some(weight))
                && request.exposure.is_none_or(|exposure| view.exposure == Some(exposure))
        })
    }

    /// Whether the flag is where the request wants it, whoever brought it there.
    pub fn flag_at(&self, request: &FlagRequest) -> bool {
        self.flag_view(&request.flag).is_some_and(|view| request.percent.is_none_or(|p| view.percent == Some(p)))
    }

    /// What of the present requests has not been done.
    pub fn unfollowed(&self) -> Vec<Blocker> {
        let flags = self.status.requests.iter().flat_map(|requests| &requests.flags);
        let mut unfollowed = self.traffic_unfollowed();
        unfollowed.extend(flags.filter_map(|request| self.flag_follows(request).err()));
        unfollowed
    }

    /// What of the traffic that is asked for now is not in force, or has not been seen to be where the step demands that.
    pub fn traffic_unfollowed(&self) -> Vec<Blocker> {
        let splits = self.status.requests.iter().flat_map(|requests| &requests.splits);
        splits.filter_map(|request| self.split_follows(request).err().or_else(|| self.unverified(request))).collect()
    }

    /// A weight of a step that is to be seen on the wire, and has not been.
    fn unverified(&self, request: &SplitRequest) -> Option<Blocker> {
        let weight = request.new_weight?;
        let (_, step) = self.step().filter(|(_, step)| step.verified && self.state() == PhaseState::Running)?;
        step.traffic.iter().find(|target| target.split == request.split)?;
        let why = match &self.split_view(&request.split)?.sight {
            Sight::Seen(seen) if seen.applied_weight == weight && seen.confirmed => return None,
            Sight::Seen(seen) if seen.applied_weight == weight => seen.message.clone().unwrap_or_default(),
            Sight::Unasked | Sight::Pending | Sight::Seen(_) => "nobody has looked yet".to_owned(),
        };
        let message = format!("TrafficSplit {} carries {weight}, which is not seen on the wire: {why}", request.split);
        Some(blocker(reasons::SHIFTING, message))
    }
}

/// An object that the spec names in `field` and that is not there.
pub(super) fn missing(field: &str, what: &str) -> Blocker {
    blocker(
        reasons::REFERENCE_NOT_FOUND,
        format!("{field}: there is no {what} in this namespace: create it, or name another"),
    )
}
