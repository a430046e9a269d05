//! Condition types and reasons. A reason is also an Event's reason and a metric's label, so each is
//! a constant and none is built from text.

/// Condition types. `Ready`, `Reconciling` and `Stalled` follow kstatus, so that Argo CD, Flux and
/// `kubectl wait` judge health without a plug-in.
pub mod types {
    /// The declared state is reached, or the object rests as declared.
    pub const READY: &str = "Ready";
    /// Work is under way.
    pub const RECONCILING: &str = "Reconciling";
    /// Cannot go on without a person.
    pub const STALLED: &str = "Stalled";
    /// A phase that went back: at rest, but not where it was meant to be.
    pub const DEGRADED: &str = "Degraded";
    /// A phase that reached and soaked its last step.
    pub const COMPLETED: &str = "Completed";
    /// `spec.newWeight` differs from the weight in force.
    pub const SPEC_DIVERGED: &str = "SpecDiverged";
    /// A route that a deleted split left behind is served beside the split's own.
    pub const OVERLAPPED: &str = "Overlapped";
    /// Something that left the spec is still in use and is kept.
    pub const PRUNE_BLOCKED: &str = "PruneBlocked";
    /// A host name is not resolved as it should be; the addresses that were seen last stay.
    pub const RESOLUTION_DEGRADED: &str = "ResolutionDegraded";
}

/// Reasons, PascalCase as the API conventions ask.
pub mod reasons {
    /// Everything is as declared.
    pub const AS_DECLARED: &str = "AsDeclared";
    /// The weight is held: no phase holds the split, and the spec asks for nothing new.
    pub const WEIGHT_HELD: &str = "WeightHeld";
    /// A side died, and its share went to the other. It stays there until a person or a phase moves it.
    pub const FAILED_OVER: &str = "FailedOver";
    /// Route objects are being written or are not yet observed.
    pub const SHIFTING: &str = "Shifting";
    /// The spec cannot be carried out; the message names the field and the remedy.
    pub const INVALID_SPEC: &str = "InvalidSpec";
    /// An object that the spec names does not exist.
    pub const REFERENCE_NOT_FOUND: &str = "ReferenceNotFound";
    /// The receiving side has too few ready endpoints for its share.
    pub const INSUFFICIENT_CAPACITY: &str = "InsufficientCapacity";
    /// A side cannot be asked whether it is there: the configuration forbids it, or its name is not resolved.
    pub const PROBE_BLIND: &str = "ProbeBlind";
    /// A CRD that the router needs is not installed.
    pub const ROUTER_NOT_INSTALLED: &str = "RouterNotInstalled";
    /// The router or its implementation cannot do what the spec asks.
    pub const UNSUPPORTED_BY_ROUTER: &str = "UnsupportedByRouter";
    /// A route of that name exists and is not ours.
    pub const ROUTE_EXISTS: &str = "RouteExists";
    /// Another object already has what the spec claims (host and path, Service, key).
    pub const CONFLICTED: &str = "Conflicted";
    /// A deleted split left a route behind that claims the same as this one's.
    pub const ROUTE_LEFT_BEHIND: &str = "RouteLeftBehind";
    /// Somebody else keeps changing what we write; we have backed off.
    pub const CONTENDED: &str = "Contended";
    /// A backend in another namespace is not permitted by a ReferenceGrant.
    pub const REF_NOT_PERMITTED: &str = "RefNotPermitted";
    /// The gateway has not accepted the route.
    pub const ROUTE_NOT_ACCEPTED: &str = "RouteNotAccepted";
    /// The split has no route because its exposure is `Hidden`.
    pub const HIDDEN: &str = "Hidden";
    /// The weight in force differs from `spec.newWeight`.
    pub const SPEC_DIVERGED: &str = "SpecDiverged";
    /// The API server refused a write: a right or a policy is missing.
    pub const FORBIDDEN: &str = "Forbidden";
    /// An object of ours cannot be read as its kind.
    pub const UNREADABLE: &str = "Unreadable";
    /// An input has not been read yet, or cannot be read now.
    pub const UNKNOWN_INPUT: &str = "UnknownInput";
    /// Components are not all ready.
    pub const COMPONENTS_NOT_READY: &str = "ComponentsNotReady";
    /// A host name is not resolved.
    pub const NAME_NOT_RESOLVED: &str = "NameNotResolved";
    /// A host name has addresses that may not be used; they are left out.
    pub const ADDRESSES_REFUSED: &str = "AddressesRefused";
    /// What left the spec is still in use.
    pub const STILL_IN_USE: &str = "StillInUse";
    /// A running phase moves this object, which therefore cannot go yet.
    pub const HELD_BY_PHASE: &str = "HeldByPhase";
    /// What was made for the object is being removed.
    pub const DELETING: &str = "Deleting";
    /// What left the spec was removed.
    pub const PRUNED: &str = "Pruned";
    /// The API server did not answer or was busy; it is tried again.
    pub const RETRYING: &str = "Retrying";
    /// Gates are closed.
    pub const WAITING: &str = "Waiting";
    /// A step's claims are being made: splits held, capacity checked.
    pub const PREPARING: &str = "Preparing";
    /// Checks run while the weight stays.
    pub const SOAKING: &str = "Soaking";
    /// A person's approval is awaited.
    pub const AWAITING_APPROVAL: &str = "AwaitingApproval";
    /// A person's pause.
    pub const PAUSED: &str = "Paused";
    /// Traffic goes back.
    pub const ROLLING_BACK: &str = "RollingBack";
    /// Traffic is back at the target.
    pub const ROLLED_BACK: &str = "RolledBack";
    /// Harm was seen; the weights are held until a person decides.
    pub const FROZEN: &str = "Frozen";
    /// The last step is reached and soaked.
    pub const COMPLETED: &str = "Completed";
    /// A person gave the phase up; weights are held.
    pub const ABORTED: &str = "Aborted";

    /// Gate: a phase named in `after` is not completed.
    pub const PREDECESSOR_NOT_COMPLETED: &str = "PredecessorNotCompleted";
    /// Gate: `after` leads back to the phase itself.
    pub const DEPENDENCY_CYCLE: &str = "DependencyCycle";
    /// Gate: the version of the database's schema is not known, or not one that the phase works with.
    pub const SCHEMA_OUT_OF_RANGE: &str = "SchemaOutOfRange";
    /// Gate: nobody has attested all the items of the environment's checklist that the phase asks for.
    pub const CHECKLIST_INCOMPLETE: &str = "ChecklistIncomplete";
    /// Gate: the phase that has to have completed before, with the same images, has not.
    pub const NOT_PROMOTED: &str = "NotPromoted";
    /// Gate: no window is open.
    pub const OUTSIDE_WINDOW: &str = "OutsideWindow";
    /// Gate: a freeze is in force.
    pub const FREEZE: &str = "Freeze";
    /// Hold: another phase holds the split.
    pub const SPLIT_BUSY: &str = "SplitBusy";
    /// Hold: a split is not able to take a new weight.
    pub const SPLIT_NOT_READY: &str = "SplitNotReady";
    /// Hold: another phase holds the flag.
    pub const FLAG_BUSY: &str = "FlagBusy";
    /// Hold: a flag cannot take a percentage.
    pub const FLAG_NOT_READY: &str = "FlagNotReady";
    /// Hold: the step would lower the new side's present weight.
    pub const STEP_WOULD_LOWER: &str = "StepWouldLower";
    /// Hold: the checks' source cannot be asked.
    pub const CHECKS_UNAVAILABLE: &str = "ChecksUnavailable";
    /// Hold: there is no data to judge by.
    pub const NO_DATA: &str = "NoData";
    /// Hold: a check has not passed in the present step yet.
    pub const CHECKS_PENDING: &str = "ChecksPending";
    /// Hold: a check fails, though not often enough yet to count as harm.
    pub const CHECK_FAILING: &str = "CheckFailing";
    /// Hold: this machine's clock differs from the API server's.
    pub const CLOCK_SKEW: &str = "ClockSkew";
    /// Hold: the step that was under way left the spec.
    pub const CURRENT_STEP_REMOVED: &str = "CurrentStepRemoved";
    /// Hold: the phase was under way and its whole status is lost; a person decides how it goes on.
    pub const STATUS_LOST: &str = "StatusLost";
    /// Hold: the baseline is lost; a Rollback has to name its target.
    pub const BASELINE_LOST: &str = "BaselineLost";
    /// The way back is not open: legacy cannot take the traffic.
    pub const WAY_BACK_CLOSED: &str = "WayBackClosed";
    /// The legacy side was retired: there is no way back to it.
    pub const LEGACY_RETIRED: &str = "LegacyRetired";
    /// Legacy cannot be retired: it is still used.
    pub const LEGACY_IN_USE: &str = "LegacyInUse";
    /// Legacy is quiet, and has not been for long enough.
    pub const LEGACY_WATCHED: &str = "LegacyWatched";
    /// Legacy has been quiet for long enough: a person's Promote retires it.
    pub const AWAITING_RETIREMENT: &str = "AwaitingRetirement";
    /// Harm: a check failed often enough.
    pub const CHECK_FAILED: &str = "CheckFailed";
    /// Hold: the Job of a hook runs.
    pub const HOOK_RUNNING: &str = "HookRunning";
    /// Hold: a hook was to be started and has no Job; a person decides.
    pub const HOOK_UNKNOWN: &str = "HookUnknown";
    /// Hold: a migration of the schema is under way, or its end is not recorded yet.
    pub const MIGRATION_UNDER_WAY: &str = "MigrationUnderWay";
    /// Harm: a hook failed.
    pub const HOOK_FAILED: &str = "HookFailed";
    /// Harm: data that was there is gone.
    pub const DATA_VANISHED: &str = "DataVanished";
    /// Harm: a side with traffic has no ready endpoint.
    pub const SIDE_DEAD: &str = "SideDead";
    /// Harm: splits could not follow within `shiftTimeout`.
    pub const SHIFT_TIMED_OUT: &str = "ShiftTimedOut";
    /// Preparing did not come to its end within `prepareTimeout`.
    pub const PREPARE_TIMED_OUT: &str = "PrepareTimedOut";

    /// Action: carried out.
    pub const APPLIED: &str = "Applied";
    /// Action: for another object of that name, or an attempt that is over.
    pub const SUPERSEDED: &str = "Superseded";
    /// Action: came too late.
    pub const EXPIRED: &str = "Expired";
    /// Action: makes no sense in the phase's present state.
    pub const NOT_APPLICABLE: &str = "NotApplicable";
    /// Action: what was approved is not what is there now.
    pub const SUBJECT_CHANGED: &str = "SubjectChanged";
    /// Action: the policies that prove who asked are not enforced.
    pub const POLICIES_NOT_ENFORCED: &str = "PoliciesNotEnforced";
}
