//! What a decision tells people: it becomes a Kubernetes Event and a log line.

/// How much a note matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// As planned.
    Normal,
    /// Somebody should look.
    Warning,
}

/// One transition worth telling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// How much it matters.
    pub severity: Severity,
    /// A constant of [`cutover_api::conditions::reasons`], or the name of a transition.
    pub reason: &'static str,
    /// What was done, such as `Shift`: Events with the same reason and action are merged.
    pub action: &'static str,
    /// The same for people: what, where, what to do.
    pub message: String,
}
