//! The checklist of an environment, as its status tells it.

use cutover_api::v1alpha1::environment::{Attestation, ChecklistItem, ChecklistState, ChecklistStatus};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::conditions::whole_seconds;

/// Where each item stands; nothing while nobody has attested anything.
pub(super) fn checklist(given: &[Attestation], previous: &[ChecklistStatus], now: Timestamp) -> Vec<ChecklistStatus> {
    if given.is_empty() {
        return Vec::new();
    }
    let standing = ChecklistItem::ALL.into_iter().map(|item| {
        let attested = given.iter().find(|attestation| attestation.item == item);
        let evidence = attested.map(|Attestation { by, reference, .. }| format!("{by}: {reference}"));
        let state = if attested.is_some() { ChecklistState::Attested } else { ChecklistState::Open };
        let same = |last: &&ChecklistStatus| last.item == item && last.state == state && last.evidence == evidence;
        let since = previous.iter().find(same).map(|last| last.at.clone());
        ChecklistStatus { item, state, evidence, at: since.unwrap_or_else(|| Time(whole_seconds(now))) }
    });
    standing.collect()
}
