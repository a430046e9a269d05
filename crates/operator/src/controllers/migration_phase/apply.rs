//! Carries a plan out: the status first, for it alone moves anything; then what tells people about it. If the status was refused,
//! nothing else happens: it was decided on an outdated copy.
//!
//! What a plan says of actions is said once and holds, so it is not left to caches, which may be of different ages: each action is
//! read before a plan counts that is about it, and where there is no status to be written, whose version would show that the phase
//! is another by now, the phase is read.

use std::sync::Arc;

use cutover_api::{
    labels::{MANAGER_MIGRATION_PHASE, MANAGER_PHASE_ACTION},
    v1alpha1::{MigrationPhase, PhaseAction},
};
use cutover_engine::migration_phase::{Plan, Settlement};
use kube::{Api, Client, Resource, api::Patch, api::PatchParams};
use serde_json::json;

use super::{audit::AuditLog, hooks::Hooks};
use crate::{
    cluster::{
        events::Events,
        status::{self, Written},
        stores::Key,
    },
    controllers::Error,
    outbound::notify::Notifier,
};

/// Where plans go.
#[derive(Clone)]
pub(super) struct Sink {
    pub(super) client: Client,
    pub(super) events: Events,
    pub(super) hooks: Hooks,
    pub(super) audit: Arc<AuditLog>,
    pub(super) notifier: Notifier,
}

impl Sink {
    /// The UIDs of actions that the plan is about and that are gone, or about which all is said.
    pub(super) async fn no_longer_open(&self, phase: &MigrationPhase, plan: &Plan) -> Result<Vec<String>, Error> {
        let (namespace, _) = identity(phase);
        let api: Api<PhaseAction> = Api::namespaced(self.client.clone(), &namespace);
        let mut closed = Vec::new();
        for Settlement { uid, name, status: _ } in &plan.settle {
            let found = api.get_opt(name).await.map_err(|source| Error::ReadAction { action: name.clone(), source })?;
            let same = found.filter(|action| action.metadata.uid.as_ref() == Some(uid));
            if same.is_none_or(|action| action.status.is_some_and(|status| status.state.is_some())) {
                closed.push(uid.clone());
            }
        }
        Ok(closed)
    }

    /// Carries out everything but the checks and the timer; returns the phase with its new status if that was written.
    pub(super) async fn apply(&self, phase: &MigrationPhase, plan: &Plan) -> Result<Option<MigrationPhase>, Error> {
        let Plan { status, notes, notifications, hook_jobs, settle, checks: _, requeue_at: _ } = plan;
        let written = self.write_status(phase, status).await?;
        if written.is_none() && !settle.is_empty() {
            self.is_present(phase).await?;
        }
        if let Some(written) = &written {
            self.audit.catch_up(&Key::of(written), written);
            // Only with the write of its intent: a plan that is made again asks for no Job.
            for job in hook_jobs {
                self.hooks.make(&Key::of(phase), job).await;
            }
        }
        for notification in notifications {
            self.notifier.send(notification);
        }
        for note in notes {
            self.events.publish(note.clone(), phase.object_ref(&()));
        }
        for settlement in settle {
            self.settle(phase, settlement).await?;
        }
        Ok(written)
    }

    async fn write_status(
        &self,
        phase: &MigrationPhase,
        status: &cutover_api::v1alpha1::MigrationPhaseStatus,
    ) -> Result<Option<MigrationPhase>, Error> {
        let (namespace, _) = identity(phase);
        let api: Api<MigrationPhase> = Api::namespaced(self.client.clone(), &namespace);
        match status::write(&api, MANAGER_MIGRATION_PHASE, phase, phase.status.as_ref(), status).await? {
            Written::Unchanged => Ok(None),
            Written::Written(phase) => Ok(Some(*phase)),
        }
    }

    /// Fails if the phase is another by now than the one that was decided on.
    async fn is_present(&self, phase: &MigrationPhase) -> Result<(), Error> {
        let (namespace, name) = identity(phase);
        let api: Api<MigrationPhase> = Api::namespaced(self.client.clone(), &namespace);
        let found = api.get_metadata_opt(&name).await;
        let found = found.map_err(|source| Error::ReadPhase { phase: name.clone(), source })?;
        let same = found.is_some_and(|found| {
            found.metadata.uid == phase.metadata.uid
                && found.metadata.resource_version == phase.metadata.resource_version
        });
        if same { Ok(()) } else { Err(Error::Outdated { phase: name }) }
    }

    /// Writes what became of an action. The UID in the body keeps a newer action of that name untouched; an action that is gone needs
    /// no status.
    async fn settle(&self, phase: &MigrationPhase, settlement: &Settlement) -> Result<(), Error> {
        let Settlement { uid, name, status } = settlement;
        let (namespace, _) = identity(phase);
        let api: Api<PhaseAction> = Api::namespaced(self.client.clone(), &namespace);
        let kind = PhaseAction::kind(&()).into_owned();
        let status = status::value(&kind, name, status)?;
        let body = json!({
            "apiVersion": PhaseAction::api_version(&()),
            "kind": kind,
            "metadata": {"name": name, "uid": uid},
            "status": status,
        });
        let params = PatchParams::apply(MANAGER_PHASE_ACTION).force();
        match api.patch_status(name, &params, &Patch::Apply(&body)).await {
            Ok(_) => Ok(()),
            Err(source) if crate::cluster::is_not_found(&source) || crate::cluster::is_conflict(&source) => Ok(()),
            Err(source) => Err(Error::SettleAction { action: name.clone(), source }),
        }
    }
}

fn identity(phase: &MigrationPhase) -> (String, String) {
    (phase.metadata.namespace.clone().unwrap_or_default(), phase.metadata.name.clone().unwrap_or_default())
}
