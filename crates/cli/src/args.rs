//! Flags and subcommands, by kubectl's conventions.

use std::{path::PathBuf, time::Duration};

use clap::{Args as Group, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use cutover_api::HumanDuration;
use jiff::Timestamp;

use crate::exit::EXIT_CODES;

/// Looks at migrations, decides about them, and says beforehand what they would do.
#[derive(Debug, Parser)]
#[command(name = "kubectl-cutover", bin_name = "kubectl cutover", version, about, after_help = EXIT_CODES)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which cluster and namespace.
#[derive(Debug, Clone, Group)]
pub(crate) struct Connection {
    /// Namespace. Default: that of the kubeconfig's context; for files, `default` where they say none.
    #[arg(short, long, global = true)]
    pub(crate) namespace: Option<String>,
    /// Context of the kubeconfig.
    #[arg(long, global = true)]
    pub(crate) context: Option<String>,
    /// Kubeconfig file. Default: $KUBECONFIG, or ~/.kube/config.
    #[arg(long, global = true)]
    pub(crate) kubeconfig: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Shows environments, their phases and steps, and what they wait for.
    Status(Status),
    /// Shows what happened to a phase, and who asked for what.
    History(History),
    /// Gives the approval that the present step waits for.
    Approve(Approve),
    /// Ends the present soak or approval, or goes on at the step that is in force; never past a gate or a failing check.
    Promote(Promote),
    /// Holds the weights; checks only show until it is resumed.
    Pause(Pause),
    /// Ends a pause, or goes on after a freeze.
    Resume(Act),
    /// Gives a phase up where it stands; weights are held.
    Abort(Act),
    /// Goes back, also long after the phase is completed.
    Rollback(Rollback),
    /// Begins a new attempt after a rollback, a freeze or an abort.
    Retry(Act),
    /// Says what the phases in some files would do and when, how each step would go back, and what is wrong. Asks no cluster.
    Plan(Plan),
    /// Says what is wrong with some files. Asks no cluster.
    Lint(Lint),
    /// Prints a completion script.
    Completion {
        /// Which shell.
        shell: Shell,
    },
}

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

#[derive(Debug, Group)]
pub(crate) struct Status {
    /// One phase only.
    pub(crate) phase: Option<String>,
    /// Go on, and show every change.
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// All namespaces.
    #[arg(short = 'A', long)]
    pub(crate) all_namespaces: bool,
    /// As data; with --watch one JSON line, or one YAML document, per change.
    #[arg(short, long)]
    pub(crate) output: Option<Format>,
}

#[derive(Debug, Group)]
pub(crate) struct History {
    /// The phase. May be left out with --verify.
    #[arg(required_unless_present = "verify")]
    pub(crate) phase: Option<String>,
    /// Instead: whether the audit records in this log of the operator (JSON lines, `-` for standard input) are complete and unchanged, and end
    /// where the phase's status does; without a phase, those of all phases in it, and no cluster is asked.
    #[arg(long, value_name = "FILE")]
    pub(crate) verify: Option<PathBuf>,
    /// As data.
    #[arg(short, long)]
    pub(crate) output: Option<Format>,
}

/// A decision.
#[derive(Debug, Group)]
pub(crate) struct Act {
    /// The phase.
    pub(crate) phase: String,
    /// Why, for the record. Asked for on a terminal.
    #[arg(short, long)]
    pub(crate) reason: Option<String>,
    /// How long to wait for the outcome, such as `30s`. `0s`: do not wait.
    #[arg(long, default_value = "1m", value_parser = duration)]
    pub(crate) timeout: Duration,
    /// The PhaseAction as data.
    #[arg(short, long)]
    pub(crate) output: Option<Format>,
}

#[derive(Debug, Group)]
pub(crate) struct Approve {
    #[command(flatten)]
    pub(crate) act: Act,
    /// The step. Default: the present one, or before the first one the start.
    #[arg(long)]
    pub(crate) step: Option<String>,
    /// The phase's start, also when it is under way and its steps or checks have changed since.
    #[arg(long, conflicts_with = "step")]
    pub(crate) start: bool,
    /// Group to act for; may be repeated. Default: those of yours that the step asks for.
    #[arg(long = "group")]
    pub(crate) groups: Vec<String>,
    /// For how long the approval counts, such as `8h`. Default: until it is used, if that is within the operator's 15 minutes.
    #[arg(long, value_name = "DURATION")]
    pub(crate) valid_for: Option<HumanDuration>,
}

#[derive(Debug, Group)]
pub(crate) struct Promote {
    #[command(flatten)]
    pub(crate) act: Act,
    /// The step that is meant. Default: the present one.
    #[arg(long)]
    pub(crate) step: Option<String>,
}

#[derive(Debug, Group)]
pub(crate) struct Pause {
    #[command(flatten)]
    pub(crate) act: Act,
    /// How long, such as `2h`. Default: one hour.
    #[arg(long = "for", value_name = "DURATION", conflicts_with = "until")]
    pub(crate) length: Option<HumanDuration>,
    /// Until when, such as `2026-12-01T18:00:00Z`.
    #[arg(long)]
    pub(crate) until: Option<Timestamp>,
}

#[derive(Debug, Group)]
pub(crate) struct Rollback {
    #[command(flatten)]
    pub(crate) act: Act,
    /// Where to. Default: what the phase's `rollback.to` says.
    #[arg(long)]
    pub(crate) to: Option<Target>,
    /// Even if the legacy side has too few ready endpoints.
    #[arg(long)]
    pub(crate) force: bool,
    /// Wait until the phase has come to rest, within --timeout.
    #[arg(long)]
    pub(crate) until_done: bool,
}

/// Where a rollback leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Target {
    /// The weights from before the phase.
    Baseline,
    /// The weights of the step before.
    PreviousStep,
    /// Everything to the legacy side.
    Legacy,
}

#[derive(Debug, Group)]
pub(crate) struct Lint {
    /// Files and folders with manifests (*.yaml, *.yml, *.json, folders with all below them), `-` for standard input. May be repeated.
    #[arg(short, long = "filename", required = true, value_name = "PATH")]
    pub(crate) files: Vec<PathBuf>,
    /// Warnings end with exit code 5 too.
    #[arg(long)]
    pub(crate) strict: bool,
    /// As data.
    #[arg(short, long)]
    pub(crate) output: Option<Format>,
}

#[derive(Debug, Group)]
pub(crate) struct Plan {
    #[command(flatten)]
    pub(crate) lint: Lint,
    /// How long people are taken to need for an approval.
    #[arg(long, default_value = "1h", value_name = "DURATION")]
    pub(crate) assume_approval: HumanDuration,
    /// How long routes are taken to need to follow a weight: the operator's flag of the same name.
    #[arg(long, default_value = "2s", value_name = "DURATION")]
    pub(crate) route_propagation: HumanDuration,
    /// When it begins, such as `2026-12-01T09:00:00Z`. Default: now.
    #[arg(long)]
    pub(crate) start: Option<Timestamp>,
}

fn duration(text: &str) -> Result<Duration, cutover_api::duration::InvalidDuration> {
    text.parse::<HumanDuration>().map(HumanDuration::get)
}
