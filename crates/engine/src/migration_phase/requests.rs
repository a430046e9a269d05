//! Requests as the status lists them: ordered by name, at most one per split and per flag.

use std::{collections::BTreeSet, fmt::Write};

use cutover_api::v1alpha1::{
    MigrationPhaseSpec, MigrationPhaseStatus,
    migration_phase::{FlagRequest, Requests, SplitRequest, Step},
};

/// Every split that a phase has to do with: named by a step, requested, or to be gone back on.
#[must_use]
pub fn split_names(spec: &MigrationPhaseSpec, status: &MigrationPhaseStatus) -> BTreeSet<String> {
    splits_of(&spec.steps, status)
}

/// Every flag that a phase has to do with.
#[must_use]
pub fn flag_names(spec: &MigrationPhaseSpec, status: &MigrationPhaseStatus) -> BTreeSet<String> {
    flags_of(&spec.steps, status)
}

pub(super) fn splits_of(steps: &[Step], status: &MigrationPhaseStatus) -> BTreeSet<String> {
    let wanted = steps.iter().flat_map(|step| &step.traffic).map(|target| target.split.clone());
    wanted.chain(kept(status).flat_map(|r| &r.splits).map(|r| r.split.clone())).collect()
}

pub(super) fn flags_of(steps: &[Step], status: &MigrationPhaseStatus) -> BTreeSet<String> {
    let wanted = steps.iter().flat_map(|step| &step.flags).map(|target| target.flag.clone());
    wanted.chain(kept(status).flat_map(|r| &r.flags).map(|r| r.flag.clone())).collect()
}

fn kept(status: &MigrationPhaseStatus) -> impl Iterator<Item = &Requests> {
    let target = status.way_back.as_ref().map(|way| &way.target);
    [status.baseline.as_ref(), status.previous.as_ref(), status.requests.as_ref(), target].into_iter().flatten()
}

pub(super) fn split<'a>(requests: &'a Requests, name: &str) -> Option<&'a SplitRequest> {
    requests.splits.iter().find(|r| r.split == name)
}

pub(super) fn flag<'a>(requests: &'a Requests, name: &str) -> Option<&'a FlagRequest> {
    requests.flags.iter().find(|r| r.flag == name)
}

pub(super) fn put_split(requests: &mut Requests, request: SplitRequest) {
    requests.splits.retain(|r| r.split != request.split);
    let at = requests.splits.partition_point(|r| r.split < request.split);
    requests.splits.insert(at, request);
}

pub(super) fn put_flag(requests: &mut Requests, request: FlagRequest) {
    requests.flags.retain(|r| r.flag != request.flag);
    let at = requests.flags.partition_point(|r| r.flag < request.flag);
    requests.flags.insert(at, request);
}

/// A request that only holds.
pub(super) fn hold_split(name: &str) -> SplitRequest {
    SplitRequest { split: name.to_owned(), new_weight: None, exposure: None, force: false }
}

/// A request that only holds.
pub(super) fn hold_flag(name: &str) -> FlagRequest {
    FlagRequest { flag: name.to_owned(), percent: None }
}

/// The requests with the step's traffic in them.
pub(super) fn with_traffic(mut requests: Requests, step: &Step) -> Requests {
    for target in &step.traffic {
        // A split that was exposed for an earlier step stays so.
        let exposure = target.exposure.or_else(|| split(&requests, &target.split).and_then(|r| r.exposure));
        let request =
            SplitRequest { split: target.split.clone(), new_weight: Some(target.new_weight), exposure, force: false };
        put_split(&mut requests, request);
    }
    requests
}

/// The requests with the step's flags in them.
pub(super) fn with_flags(mut requests: Requests, step: &Step) -> Requests {
    for target in &step.flags {
        put_flag(&mut requests, FlagRequest { flag: target.flag.clone(), percent: Some(target.percent) });
    }
    requests
}

/// Whether the step's traffic is what is asked for.
pub(super) fn asks_traffic(requests: &Requests, step: &Step) -> bool {
    step.traffic.iter().all(|target| {
        split(requests, &target.split).is_some_and(|request| {
            let exposed = target.exposure.is_none() || request.exposure == target.exposure;
            request.new_weight == Some(target.new_weight) && exposed && !request.force
        })
    })
}

/// Whether the step's flags are what is asked for.
pub(super) fn asks_flags(requests: &Requests, step: &Step) -> bool {
    step.flags.iter().all(|target| flag(requests, &target.flag).is_some_and(|r| r.percent == Some(target.percent)))
}

/// The requests for people: `storefront=25 api=hold new-checkout=25%`.
pub(super) fn summary(requests: Option<&Requests>) -> String {
    let mut text = String::new();
    for request in requests.iter().flat_map(|r| &r.splits) {
        let _ = match request.new_weight {
            Some(weight) => write!(text, " {}={weight}", request.split),
            None => write!(text, " {}=hold", request.split),
        };
    }
    for request in requests.iter().flat_map(|r| &r.flags) {
        let _ = match request.percent {
            Some(percent) => write!(text, " {}={percent}%", request.flag),
            None => write!(text, " {}=hold", request.flag),
        };
    }
    text
}
