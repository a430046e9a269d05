//! Label, annotation, finalizer and field manager names that Cutover writes.

/// Marks every object that Cutover made.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY`].
pub const MANAGED_BY_VALUE: &str = "cutover";
/// UID of the object of ours that an object was made for. Objects that carry traffic have this
/// instead of an owner reference, which a foreground deletion would follow past our finalizers.
pub const OWNER_UID: &str = "cutover.dev/owner-uid";
/// Kind of the owner, such as `TrafficSplit`.
pub const OWNER_KIND: &str = "cutover.dev/owner-kind";
/// Name of the owner (an annotation: names may be longer than a label's value).
pub const OWNER_NAME: &str = "cutover.dev/owner-name";
/// Environment that a workload belongs to.
pub const ENVIRONMENT: &str = "cutover.dev/environment";
/// Component of the environment that a workload is.
pub const COMPONENT: &str = "cutover.dev/component";
/// `Legacy`, `New` or `Shared`.
pub const SYSTEM: &str = "cutover.dev/system";
/// What the component does, such as `Frontend`.
pub const ROLE: &str = "cutover.dev/role";
/// On the alias Services of a split (value `true`): the capacity of a side is counted on the
/// backend's own Service, so aliases are left out of the caches.
pub const ALIAS: &str = "cutover.dev/alias";
/// Annotation on a route that a deleted split left behind: `<namespace>/<name>` of the split. A
/// split of that name adopts it at its weight.
pub const RELEASED_FROM: &str = "cutover.dev/released-from";
/// Annotation on a route: the weight of the new side to return to and the UID of the phase that would, as
/// JSON; the second copy of what the phase keeps in its status.
pub const BASELINE: &str = "cutover.dev/baseline";
/// On the Job of a hook: the hook's name.
pub const HOOK: &str = "cutover.dev/hook";
/// On the Job of a check: the check's name.
pub const CHECK: &str = "cutover.dev/check";
/// Annotation on the Job of a hook: the attempt of its phase.
pub const ATTEMPT: &str = "cutover.dev/attempt";
/// Annotation on the Job of a migration: UID of the Environment whose database it migrates.
pub const MIGRATES: &str = "cutover.dev/migrates";
/// Annotation on the Job of a migration: version, direction and round, such as `44.Up.1`.
pub const MIGRATION: &str = "cutover.dev/migration";
/// Annotation on pod templates: hash of the configuration values that the pods read.
pub const CONFIG_HASH: &str = "cutover.dev/config-hash";

/// On ConfigMaps that hold the version of a database's schema (value `true`), so that no other is read.
pub const SCHEMA_VERSION: &str = "cutover.dev/schema-version";

/// On ConfigMaps with the certificates of an authority (value `true`), so that no other is read.
pub const AUTHORITY: &str = "cutover.dev/ca";
/// Annotation on the Service of a component outside the cluster whose port speaks TLS: under which name and by whose authority, as JSON.
pub const TLS: &str = "cutover.dev/tls";

/// Finalizer of [`TrafficSplit`](crate::v1alpha1::TrafficSplit).
pub const FINALIZER_TRAFFIC_SPLIT: &str = "cutover.dev/traffic-split";
/// Finalizer of [`Environment`](crate::v1alpha1::Environment).
pub const FINALIZER_ENVIRONMENT: &str = "cutover.dev/environment";
/// Finalizer of [`FeatureFlag`](crate::v1alpha1::FeatureFlag).
pub const FINALIZER_FEATURE_FLAG: &str = "cutover.dev/feature-flag";

/// Field manager of the TrafficSplit controller.
pub const MANAGER_TRAFFIC_SPLIT: &str = "cutover.dev/traffic-split";
/// Field manager of the Environment controller.
pub const MANAGER_ENVIRONMENT: &str = "cutover.dev/environment";
/// Field manager of the FeatureFlag controller.
pub const MANAGER_FEATURE_FLAG: &str = "cutover.dev/feature-flag";
/// Field manager of the MigrationPhase controller.
pub const MANAGER_MIGRATION_PHASE: &str = "cutover.dev/migration-phase";
/// Field manager of the PhaseAction controller.
pub const MANAGER_PHASE_ACTION: &str = "cutover.dev/phase-action";
