//! The names of the rules that a router makes: where paths or methods are treated differently, a rule is divided into parts. Pure.

/// Name of the rule that carries the weights.
pub(super) const WEIGHTED: &str = "weighted";

/// The name of a rule's part, counted from 1. The first is called as the whole would be.
pub(super) fn name(whole: &str, part: usize) -> String {
    if part == 1 { whole.to_owned() } else { format!("{whole}-{part}") }
}

/// Whether a rule of this name carries weights.
pub(super) fn is_weighted(name: &str) -> bool {
    let rest = name.strip_prefix(WEIGHTED);
    rest.is_some_and(|rest| rest.is_empty() || rest.strip_prefix('-').is_some_and(|part| part.parse::<usize>().is_ok()))
}
