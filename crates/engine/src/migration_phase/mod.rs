//! The phase engine: what one MigrationPhase asks of its splits and flags, and what it waits for. Pure: no client, no clock.
//!
//! ```text
//!             gates open          last step done
//!   Waiting ─────────────▶ Running ─────────────▶ Completed
//!      ▲  ▲                 │ ▲ │                     │
//!      │  │          Pause  │ │ │ harm                │ Rollback
//!      │  │                 ▼ │ │                     ▼
//!      │  │      Resume, until│ ├── onFailure: Rollback ──▶ RollingBack ──▶ RolledBack
//!      │  │              Paused │                          │   ▲             │
//!      │  │                     └── Freeze, irreversible,  │   │ Rollback    │
//!      │  │                         or no way back ──▶ Frozen ◀┘ timeout     │
//!      │  └──────────────── Retry (next attempt) ────────┴──────────────────┤
//!      └──────────────────────────────────────────────── Aborted ◀── Abort ─┘
//!
//!   Running, in each step:
//!   Preparing ──▶ Shifting ──▶ Hooks ──▶ Soaking ──▶ AwaitingApproval ──▶ next step
//!   claims held,  traffic,     Jobs of   checks      if the step asks
//!   able, gates   then flags   the step  watch       for it
//! ```
//!
//! The status is the only effect that moves anything. A request that is published there is carried out by the controller of the split or
//! flag, which grants, and answers in its own status with the number of the requests it has carried out. Whatever a crash cuts
//! off is decided again from the same status.
//!
//! A *hold* is no state: closed gates, unavailable checks, an unknown input, clock skew, a spec that is not valid stop forward moves
//! only, are listed in `blockedBy`, and leave the way back armed.

mod actions;
pub mod audit;
mod capacity;
mod checks;
mod clock;
mod decide;
mod finish;
mod following;
mod gates;
mod harm;
mod hooks;
mod lost;
mod machine;
mod notify;
mod observed;
mod plan;
mod report;
mod requests;
mod stages;
mod validate;

pub use checks::{
    checks_due,
    compare::Counts,
    defaults::{by_default, defaults},
    judge::sample,
    query::{InvalidQuery, look_back},
    webhook::{Question, Said, Word},
};
pub use decide::decide;
pub(crate) use finish::WATCH;
pub use gates::clock_is_trusted;
pub(crate) use gates::versions;
pub use hooks::HookView;
pub use notify::Notification;
pub use observed::{
    ActionView, Answer, EnvironmentView, FlagView, Measured, Measurement, MigrationView, Observed, PhaseIdentity,
    PredecessorView, PromotionView, Sight, SplitView, Trouble,
};
pub use plan::{ActiveCheck, CountQueries, HookJob, Plan, Probe, Queries, Settlement};
pub use requests::{flag_names, split_names};
pub use validate::{Invalid, Problem, Validated, validate};

#[cfg(test)]
pub(crate) mod tests;
