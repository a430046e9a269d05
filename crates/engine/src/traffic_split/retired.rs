//! A split whose legacy side is retired: what it says of that side counts no more. Pure.

use cutover_api::v1alpha1::{
    TrafficSplitSpec,
    migration_phase::{FinishStatus, PhaseState},
    traffic_split::{LegacyRetired, Router, TrafficSplitStatus},
};

/// How far the end of a legacy side has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Retirement {
    /// A person has agreed, and the split attaches to a user's own Ingress: legacy counts until that is seen to lead to the new side
    /// alone. It is never edited by us.
    Agreed(LegacyRetired),
    /// Legacy counts no more.
    Done(LegacyRetired),
}

impl Retirement {
    /// What is on record, or will be.
    #[must_use]
    pub const fn record(&self) -> &LegacyRetired {
        match self {
            Self::Agreed(record) | Self::Done(record) => record,
        }
    }

    /// Whether legacy counts no more.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self, Self::Done(_))
    }
}

/// Whether the legacy side is retired, or to be. Once it is, it stays so, whatever becomes of the phase; and it begins only where legacy
/// has no traffic and nobody holds the split.
#[must_use]
pub fn retirement<'a>(
    split: &str,
    spec: &TrafficSplitSpec,
    status: &TrafficSplitStatus,
    phases: impl IntoIterator<Item = (&'a str, Option<PhaseState>, &'a FinishStatus)>,
) -> Option<Retirement> {
    if let Some(retired) = &status.legacy_retired {
        return Some(Retirement::Done(retired.clone()));
    }
    // What a user's own object names at any weight is the user's to say: the phase waits for it.
    if names_legacy(spec).is_some() {
        return None;
    }
    let all = Some(spec.weight_total);
    if status.applied_weight != all || status.desired_weight != all || status.holder.is_some() {
        return None;
    }
    let completed = phases.into_iter().filter(|(_, state, _)| *state == Some(PhaseState::Completed));
    let mut retired = completed.filter_map(|(phase, _, finish)| Some((phase, finish.retired.as_ref()?)));
    let (phase, retired) = retired.find(|(_, retired)| retired.splits.iter().any(|name| name == split))?;
    let record = LegacyRetired { phase: phase.to_owned(), at: retired.at.clone() };
    let attached = |router: &Router| router.ingress_nginx.as_ref().is_some_and(|it| it.attach.is_some());
    let users = spec.routers.iter().any(attached);
    Some(if users { Retirement::Agreed(record) } else { Retirement::Done(record) })
}

/// The user's object that a split attaches to and that goes on naming legacy at any weight, if there is one: its kind and name. Only the
/// user can take legacy out of it.
#[must_use]
pub fn names_legacy(spec: &TrafficSplitSpec) -> Option<String> {
    spec.routers.iter().find_map(|router| {
        let service = router.traefik.as_ref().and_then(|it| it.attach.as_ref());
        let entry = router.istio.as_ref().and_then(|it| it.attach.as_ref());
        service
            .map(|it| format!("TraefikService {}", it.service))
            .or_else(|| entry.map(|it| format!("VirtualService {}", it.virtual_service)))
    })
}

/// The spec without its legacy side. A `newWeight` that changes now would lead to it, or to no route at all: it is not looked at.
#[must_use]
pub fn without_legacy(spec: &TrafficSplitSpec, status: &TrafficSplitStatus) -> TrafficSplitSpec {
    let new_weight = status.held_spec_weight.unwrap_or(spec.new_weight);
    TrafficSplitSpec { legacy: None, new_weight, ..spec.clone() }
}

#[cfg(test)]
mod tests {
    use cutover_api::v1alpha1::{
        migration_phase::{CheckState, Retired},
        traffic_split::Holder,
    };
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::json;

    use super::{super::tests::spec, *};

    fn finish(split: &str) -> FinishStatus {
        let at = Time(Timestamp::UNIX_EPOCH);
        FinishStatus {
            state: CheckState::Passing,
            value: None,
            last_run: at.clone(),
            quiet_since: None,
            quiet_until: None,
            message: None,
            retired: Some(Retired { at, by: "ana".into(), splits: vec![split.into()] }),
        }
    }

    fn at(weight: i32) -> TrafficSplitStatus {
        TrafficSplitStatus { applied_weight: Some(weight), desired_weight: Some(weight), ..Default::default() }
    }

    #[test]
    fn legacy_is_retired_where_it_has_nothing_and_for_good() {
        let ask = |status: &TrafficSplitStatus, state, finish: &FinishStatus| {
            retirement("storefront", &spec(), status, [("shift", Some(state), finish)])
        };
        let retired = ask(&at(100), PhaseState::Completed, &finish("storefront"));
        assert_eq!(retired.as_ref().map(|it| (it.is_done(), it.record().phase.as_str())), Some((true, "shift")));
        let never = FinishStatus { retired: None, ..finish("storefront") };
        assert_eq!(ask(&at(100), PhaseState::Completed, &never), None);
        assert_eq!(ask(&at(100), PhaseState::RollingBack, &finish("storefront")), None);
        assert_eq!(ask(&at(100), PhaseState::Completed, &finish("another")), None);
        assert_eq!(ask(&at(99), PhaseState::Completed, &finish("storefront")), None);
        let leaving = TrafficSplitStatus { desired_weight: Some(0), ..at(100) };
        assert_eq!(ask(&leaving, PhaseState::Completed, &finish("storefront")), None);
        let holder = Holder {
            phase: "other".into(),
            uid: "u".into(),
            attempt: 1,
            epoch: 2,
            request_revision: 1,
            new_weight: None,
        };
        let held = TrafficSplitStatus { holder: Some(holder), ..at(100) };
        assert_eq!(ask(&held, PhaseState::Completed, &finish("storefront")), None);
        // The phase is gone, and somebody holds the split: it stays retired.
        let marked = TrafficSplitStatus { legacy_retired: retired.as_ref().map(|it| it.record().clone()), ..held };
        assert_eq!(retirement("storefront", &spec(), &marked, []), retired);
        let asked = |router| {
            let mut attached = spec();
            attached.routers.push(serde_json::from_value(router).unwrap());
            let finish = finish("storefront");
            let phases = [("shift", Some(PhaseState::Completed), &finish)];
            (names_legacy(&attached), retirement("storefront", &attached, &at(100), phases))
        };
        assert_eq!(names_legacy(&spec()), None);
        let service = asked(json!({"traefik": {"attach": {"service": "shop"}}}));
        assert_eq!(service, (Some("TraefikService shop".into()), None));
        let entry = asked(json!({"istio": {"attach": {"virtualService": "shop", "http": "all"}}}));
        assert_eq!(entry, (Some("VirtualService shop".into()), None));
        let (named, ingress) = asked(json!({"ingressNginx": {"attach": {"ingress": "shop"}}}));
        assert_eq!((named, ingress.map(|it| it.is_done())), (None, Some(false)), "until it has been edited");
    }
}
