//! What is to be done for an environment. Total: every observation has a plan, and a plan that was carried out and
//! observed again is followed by an empty one.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use cutover_api::conditions::reasons;

use super::{
    build,
    names::Identity,
    observed::{ObjectKind, ObjectRef, Observed},
    plan::{Blocked, Body, Plan, Refusal, Step},
    readiness::readiness,
    resolve,
    tls::{self, Transport},
    validate::{Authority, Component, Outside, Source, Tls, Validated},
};
use crate::{Known, hash::short_hash};

/// What is to be done for an environment whose spec is valid.
#[must_use]
pub fn decide(environment: &Validated, observed: &Observed) -> Plan {
    let identity = &environment.identity;
    let spoken = as_spoken(environment, observed);
    let mut plan = Plan::default();
    let mut components = Vec::new();
    let mut kept = BTreeSet::from([ObjectRef::new(ObjectKind::ConfigMap, &identity.config_map())]);
    for (index, component) in environment.components.iter().enumerate() {
        components.extend(of_component(&spoken, index, component, observed, &mut plan, &mut kept));
    }
    let prune = of_pruning(environment, observed, &kept, &mut plan);
    let (claims, components): (Vec<_>, Vec<_>) =
        components.into_iter().partition(|step| matches!(step, Step::Claim { .. }));
    // Names before anything is made; the configuration before the pods that read it, and what is new before what goes.
    plan.steps.extend(claims);
    plan.steps.extend(of_config_map(&spoken, observed, &components, &kept, &mut plan.conflicts));
    plan.steps.extend(components);
    plan.steps.extend(prune);
    plan
}

/// What is to be done for an environment that is being deleted, whatever its spec says. As long as one component is in
/// use all stay: those that traffic reaches may call the others.
#[must_use]
pub fn decide_deletion(identity: &Identity, observed: &Observed) -> Plan {
    let mut plan = Plan::default();
    let owned: Vec<_> = observed.owned(&identity.uid).collect();
    plan.empty = owned.is_empty();
    let components: BTreeSet<&str> = owned.iter().filter_map(|(_, marks)| marks.component.as_deref()).collect();
    plan.blocked = components.iter().filter_map(|component| blocked(identity, component, observed)).collect();
    if !plan.blocked.is_empty() {
        return plan;
    }
    let running = owned.iter().any(|(object, _)| object.kind == ObjectKind::Deployment);
    for (object, marks) in owned {
        // Pods that are still there read it when one of their containers is started again.
        let read = object.kind == ObjectKind::ConfigMap && running;
        if !marks.deleting && !read {
            let component = marks.component.clone();
            plan.steps.push(Step::Delete { object, component, uid: marks.uid.clone() });
        }
    }
    plan
}

/// The steps of one component: its Service before its pods, so that they are reached as soon as they are ready.
fn of_component(
    environment: &Validated,
    index: usize,
    component: &Component,
    observed: &Observed,
    plan: &mut Plan,
    kept: &mut BTreeSet<ObjectRef>,
) -> Vec<Step> {
    let identity = &environment.identity;
    let changes = changes_way(identity, index, component, observed)
        .or_else(|| changes_protocol(identity, index, component, observed));
    if let Some(message) = changes {
        // Whatever was made for it stays as it is.
        let all =
            observed.owned(&identity.uid).filter(|(_, marks)| marks.component.as_deref() == Some(&component.name));
        kept.extend(all.map(|(object, _)| object));
        plan.conflicts.push(Refusal {
            component: Some(component.name.clone()),
            reason: reasons::INVALID_SPEC,
            message,
        });
        return Vec::new();
    }
    let mut bodies: Vec<Body> = Vec::new();
    bodies.extend(build::build_service(identity, component).map(Body::Service));
    // Before the addresses: there is nobody to speak to yet.
    if observed.policies_served == Known::Known(true) {
        bodies.extend(build::build_backend_tls_policy(identity, component).map(Body::BackendTlsPolicy));
    }
    match tls::transport(identity, component, observed) {
        Transport::Made(transport) => bodies.push(Body::ServersTransport(*transport)),
        Transport::Kept(object) => drop(kept.insert(object)),
        Transport::None => {}
    }
    match resolve::wanted(component, observed) {
        Some(addresses) => {
            let slices = build::build_endpoint_slices(identity, component, addresses);
            bodies.extend(slices.into_iter().map(Body::EndpointSlice));
        }
        // Addresses that are not known do not replace any.
        None => kept.extend(
            resolve::published(identity, &component.name, observed)
                .filter(|_| matches!(component.source, Source::External { .. }))
                .map(|(name, _)| ObjectRef::new(ObjectKind::EndpointSlice, name)),
        ),
    }
    bodies.extend(build::build_deployment(environment, component).map(Body::Deployment));
    kept.extend(bodies.iter().map(Body::object));
    let mut steps = Vec::new();
    for body in bodies {
        let object = body.object();
        let absent = observed.marks(&object).is_none();
        if absent
            && object.kind == ObjectKind::Deployment
            && let Some(why) = waits_for(environment, component, observed)
        {
            plan.waiting.insert(component.name.clone(), why);
            continue;
        }
        match apply(identity, observed, Some(component), &body) {
            Ok(step) => steps.extend(step),
            Err(refusal) => {
                plan.conflicts.push(refusal);
                // Pods that nothing leads to, or a Service for pods that are not ours, help nobody.
                return Vec::new();
            }
        }
    }
    steps.extend(claim(identity, component, observed, &steps));
    steps
}

/// Before the first thing is made for a component whose Deployment is not seen: whether somebody else has its name.
fn claim(identity: &Identity, component: &Component, observed: &Observed, steps: &[Step]) -> Option<Step> {
    let object = ObjectRef::new(ObjectKind::Deployment, &identity.object(&component.name));
    let unseen = matches!(component.source, Source::Workload(_)) && observed.marks(&object).is_none();
    // The Deployment itself is made only where nothing of its name is there.
    let makes =
        steps.iter().any(|step| matches!(step, Step::Apply { object: other, uid: None, .. } if *other != object));
    (unseen && makes).then(|| Step::Claim { object, component: component.name.clone() })
}

/// The Service that is there finds whom it leads to in another way than the wanted one, by pods, addresses or a name: whoever is sent to it
/// would at once be sent elsewhere.
fn changes_way(identity: &Identity, index: usize, component: &Component, observed: &Observed) -> Option<String> {
    let way = match &component.source {
        Source::Service { .. } => return None,
        Source::Workload(_) => (true, false),
        Source::External { at, .. } => (false, matches!(at, Outside::Alias { .. })),
    };
    let service = identity.object(&component.name);
    let view = observed.services.get(&service)?;
    (view.marks.is_of(&identity.uid) && (view.selects, view.is_alias) != way).then(|| {
        format!(
            "spec.components[{index}].source: Service {service} would lead elsewhere at once; add a component under another name and move the weight to it, or remove this one first"
        )
    })
}

/// The Service that is there speaks TLS and the wanted one does not, or the other way round, and somebody uses it: until every proxy knows,
/// what is meant to be encrypted would be sent in plain text.
fn changes_protocol(identity: &Identity, index: usize, component: &Component, observed: &Observed) -> Option<String> {
    let service = identity.object(&component.name);
    let view = observed.services.get(&service).filter(|view| view.marks.is_of(&identity.uid))?;
    if !matches!(component.source, Source::External { .. }) || view.speaks_tls == component.speaks_tls() {
        return None;
    }
    let Blocked { why, .. } = blocked(identity, &component.name, observed)?;
    Some(format!(
        "spec.components[{index}].source.external.tls: whoever speaks to Service {service} would have to speak otherwise at once, and {why}; add a component under another name and move the weight to it"
    ))
}

/// What others are told of components: those whose ports do not begin or cease to speak TLS are called as before.
fn as_spoken<'a>(environment: &'a Validated, observed: &Observed) -> Cow<'a, Validated> {
    let mut spoken = Cow::Borrowed(environment);
    for (index, component) in environment.components.iter().enumerate() {
        if changes_protocol(&environment.identity, index, component, observed).is_some()
            && let Some(Source::External { tls, .. }) =
                spoken.to_mut().components.get_mut(index).map(|component| &mut component.source)
        {
            // Under which name nobody is told by us but routers, and they are not.
            let unnamed = Tls { server_name: String::new(), authority: Authority::System };
            *tls = if tls.is_none() { Some(unnamed) } else { None };
        }
    }
    spoken
}

/// What a component that was not started yet waits for.
fn waits_for(environment: &Validated, component: &Component, observed: &Observed) -> Option<String> {
    let missing: Vec<&str> = environment
        .components
        .iter()
        .filter(|other| component.depends_on.contains(&other.name))
        .filter(|other| !readiness(environment, other, observed).ready)
        .map(|other| other.name.as_str())
        .collect();
    (!missing.is_empty()).then(|| format!("is started when {} can take traffic", missing.join(", ")))
}

/// The apply of an object, if what is there is not what we last wrote.
fn apply(
    identity: &Identity,
    observed: &Observed,
    component: Option<&Component>,
    body: &Body,
) -> Result<Option<Step>, Refusal> {
    let object = body.object();
    let hash = short_hash(body);
    let step = |uid: Option<String>| Step::Apply {
        object: object.clone(),
        component: component.map(|component| component.name.clone()),
        uid,
        body: Box::new(body.clone()),
        hash: hash.clone(),
    };
    let Some(marks) = observed.marks(&object) else { return Ok(Some(step(None))) };
    if !marks.is_of(&identity.uid) {
        return Err(conflict(&object, component.map(|component| component.name.clone())));
    }
    let settled = observed
        .settled
        .get(&object)
        .is_some_and(|settled| settled.uid == marks.uid && settled.revision == marks.revision && settled.hash == hash);
    // What is being deleted is made anew when it is gone.
    Ok((!settled && !marks.deleting).then(|| step(Some(marks.uid.clone()))))
}

/// The refusal for an object that has a name of ours and is not ours.
#[must_use]
pub fn conflict(object: &ObjectRef, component: Option<String>) -> Refusal {
    let (field, whose) = match &component {
        Some(name) => (format!("spec.components[name={name}].name"), "the component"),
        None => ("metadata.name".to_owned(), "the Environment"),
    };
    Refusal {
        component,
        reason: reasons::CONFLICTED,
        message: format!(
            "{field}: {object} exists and was not made for this Environment: it is left alone; delete or rename it, or give {whose} another name"
        ),
    }
}

fn of_config_map(
    environment: &Validated,
    observed: &Observed,
    steps: &[Step],
    kept: &BTreeSet<ObjectRef>,
    conflicts: &mut Vec<Refusal>,
) -> Option<Step> {
    let identity = &environment.identity;
    let wanted = build::build_config_map(environment, &BTreeMap::new()).data.unwrap_or_default();
    let old_pods = observed.deployments.iter().any(|(name, view)| {
        let object = ObjectRef::new(ObjectKind::Deployment, name);
        let changes = |step: &Step| matches!(step, Step::Apply { object: written, .. } if *written == object);
        let ours = view.marks.is_of(&identity.uid);
        ours && (!view.is_rolled_out() || !kept.contains(&object) || steps.iter().any(changes))
    });
    let present = observed.config_maps.get(&identity.config_map());
    let lingering = match present {
        Some(view) if old_pods => view
            .data
            .iter()
            .filter(|(key, _)| !wanted.contains_key(*key))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect(),
        _ => BTreeMap::new(),
    };
    match apply(identity, observed, None, &Body::ConfigMap(build::build_config_map(environment, &lingering))) {
        Ok(step) => step,
        Err(refusal) => {
            conflicts.push(refusal);
            None
        }
    }
}

/// What left the spec. As long as one of it is in use all of it stays: what traffic reaches may call the rest.
fn of_pruning(environment: &Validated, observed: &Observed, kept: &BTreeSet<ObjectRef>, plan: &mut Plan) -> Vec<Step> {
    let identity = &environment.identity;
    let external = |component: Option<&str>| {
        environment
            .components
            .iter()
            .any(|other| Some(other.name.as_str()) == component && matches!(other.source, Source::External { .. }))
    };
    let left: Vec<_> = observed
        .owned(&identity.uid)
        .filter(|(object, marks)| !kept.contains(object) && !marks.deleting)
        .map(|(object, marks)| {
            // The addresses of the other family, replaced by those that are applied before; and how a port was spoken to that does not
            // speak TLS any more.
            let replaced = matches!(
                object.kind,
                ObjectKind::EndpointSlice | ObjectKind::BackendTlsPolicy | ObjectKind::ServersTransport
            ) && external(marks.component.as_deref());
            (object, marks, replaced)
        })
        .collect();
    let leaving: BTreeSet<&str> =
        left.iter().filter(|(.., replaced)| !replaced).filter_map(|(_, marks, _)| marks.component.as_deref()).collect();
    plan.blocked = leaving.into_iter().filter_map(|component| blocked(identity, component, observed)).collect();
    left.into_iter()
        .filter(|(.., replaced)| *replaced || plan.blocked.is_empty())
        .map(|(object, marks, _)| Step::Delete { object, component: marks.component.clone(), uid: marks.uid.clone() })
        .collect()
}

pub(super) fn blocked(identity: &Identity, component: &str, observed: &Observed) -> Option<Blocked> {
    let why = match &observed.usage {
        Known::Unknown => "it is not known yet who uses it".to_owned(),
        Known::Known(usage) => usage.of(identity, component)?,
    };
    Some(Blocked { component: component.to_owned(), why })
}
