//! `AwaitingApproval`: people are asked. The checks go on.

use std::collections::BTreeSet;

use cutover_api::{
    conditions::reasons,
    v1alpha1::migration_phase::{ApprovalRecord, Blocker, Step, StepApproval},
};

use super::super::machine::{Machine, blocker, unknown};

impl Machine<'_> {
    pub fn approval_for(&self) -> Vec<Blocker> {
        let mut holds = Vec::new();
        if let Some((_, step)) = self.step()
            && let Some(approval) = &step.approval
        {
            if self.subject().is_none() {
                holds.push(unknown("what the approval is about"));
            }
            let given = self.approvers(step, approval).len();
            let required = usize::try_from(approval.required).unwrap_or(1);
            if given < required {
                let whose = match approval.groups.as_slice() {
                    [] => String::new(),
                    groups => format!(" by members of {}", groups.join(" or ")),
                };
                let message = format!("step {} has {given} of {required} approvals{whose}: Approve it", step.name);
                holds.push(blocker(reasons::AWAITING_APPROVAL, message));
            }
        }
        holds.extend(self.settled_for());
        holds
    }

    /// The different people whose approval of the step counts now.
    pub fn approvers(&self, step: &Step, approval: &StepApproval) -> BTreeSet<&str> {
        let subject = self.subject();
        let counts = |record: &&ApprovalRecord| {
            record.step.as_ref() == Some(&step.name)
                && record.subject == subject
                && speaks_for(approval, &record.groups)
                && record.expires_at.as_ref().is_none_or(|until| self.clock.now < until.0)
        };
        self.status.approvals.iter().filter(counts).map(|record| record.by.as_str()).collect()
    }

    pub(super) fn await_approval(&mut self) -> bool {
        let Some((index, step)) = self.step() else { return false };
        if let Some(prepared) = self.follow_edit(step) {
            return prepared;
        }
        self.approval_for().is_empty() && self.finish_step(index, step)
    }
}

/// Whether somebody who acts for these groups may give the approval.
pub(in super::super) fn speaks_for(approval: &StepApproval, groups: &[String]) -> bool {
    approval.groups.is_empty() || groups.iter().any(|group| approval.groups.contains(group))
}
