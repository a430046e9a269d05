//! The walk between "everything by the main Ingress to legacy" and "everything by the main Ingress to new", one observed step
//! at a time. Pure, and without any object: [`next`] says what the two Ingresses are to be now.
//!
//! ```text
//!  main → legacy, canary at w   ⇄   main → legacy, canary at total   ⇄   main → new, canary at total
//! ```
//!
//! Every arrow is one write. On either side of an arrow the same requests reach the same side, except for the first, whose
//! purpose is to change the share. The main backend is only exchanged for a side with ready endpoints. The canary stays at total
//! beside a main Ingress that leads to the new side for as long as there is a legacy side: see the module above.

use cutover_api::v1alpha1::traffic_split::Side;

/// Where the main Ingress leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Main {
    /// There is none.
    None,
    /// Every path to legacy.
    Legacy,
    /// Every path to new.
    New,
    /// Neither, or to both.
    Other,
}

/// What is observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Now {
    /// Where the main Ingress leads.
    pub main: Main,
    /// Weight of the canary.
    pub canary: Option<i32>,
}

impl Now {
    /// The new side's share.
    pub(super) fn weight(self, total: i32) -> Option<i32> {
        match self.main {
            Main::None | Main::Other => None,
            Main::Legacy => Some(self.canary.unwrap_or(0)),
            Main::New => Some(total),
        }
    }
}

/// Whether a side can be led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Reachable {
    /// There is no alias Service that leads to it.
    No,
    /// There is, but no endpoint of it is known to be ready.
    Unready,
    /// There is, and it has ready endpoints.
    Ready,
}

/// Which side the main backend ends up with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Target {
    /// Legacy: it has a share.
    Legacy,
    /// Legacy, although the new side has everything: pins lead to legacy.
    LegacyForPins,
    /// New.
    New,
}

/// What is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Want {
    /// The new side's share.
    pub weight: i32,
    /// Both sides' shares.
    pub total: i32,
    /// Where the main Ingress is to lead in the end.
    pub target: Target,
    /// Whether the main Ingress is written by us.
    pub main_is_ours: bool,
    /// The legacy side.
    pub legacy: Reachable,
    /// The new side.
    pub new: Reachable,
    /// Whether the new side's own Service exists.
    pub new_exists: bool,
    /// Clients stick to the canary, so that it has to go at weight 0.
    pub leave_no_canary_at_zero: bool,
}

/// What keeps the walk from going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// Nothing leads to this side, which should have a share.
    Missing(Side),
    /// This side has no ready endpoint, so the main backend is not exchanged for it.
    Unready(Side),
    /// The main Ingress is a user's, and it names the new side: only the user can go back.
    MainIsUsers,
}

/// What the Ingresses are to be now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Next {
    /// Where the main Ingress leads; `None`: leave it as it is.
    pub main: Option<Side>,
    /// Weight of the canary; `None`: there is none.
    pub canary: Option<i32>,
    /// Whether this is the end of the walk.
    pub last: bool,
    /// What keeps the walk from going on.
    pub hold: Option<Hold>,
}

/// The next form, from what is observed. Leaves everything as it is while a side that should have a share cannot be led to.
pub(super) fn next(now: Now, want: &Want) -> Next {
    if want.weight > 0 && want.new == Reachable::No {
        return stay(now, Hold::Missing(Side::New));
    }
    if !want.main_is_ours {
        return beside_a_users_main(now, want);
    }
    if want.target != Target::New && want.legacy == Reachable::No {
        return stay(now, Hold::Missing(Side::Legacy));
    }
    let at_total = Some(want.total);
    let (side, canary) = match want.target {
        Target::New if want.legacy == Reachable::No => (Side::New, None),
        Target::New => (Side::New, at_total),
        Target::Legacy | Target::LegacyForPins => (Side::Legacy, canary_beside_legacy(want)),
    };
    match (now.main, side) {
        // The new side's Service is gone and has no share: there is nothing to keep it served by.
        (Main::New, Side::Legacy) if !want.new_exists && want.weight == 0 => match want.legacy {
            Reachable::Ready => step(side, None, true),
            _ => stay(now, Hold::Unready(side)),
        },
        (Main::Legacy, Side::New) => exchange(now, at_total, Side::Legacy, (Side::New, want.new)),
        (Main::New, Side::Legacy) => exchange(now, at_total, Side::New, (Side::Legacy, want.legacy)),
        (Main::None | Main::Other, _) | (Main::Legacy, Side::Legacy) | (Main::New, Side::New) => {
            step(side, canary, true)
        }
    }
}

/// Canary at total, then the main backend, each observed before the next.
fn exchange(now: Now, at_total: Option<i32>, from: Side, (to, reachable): (Side, Reachable)) -> Next {
    let ready = reachable == Reachable::Ready;
    match (ready, now.canary == at_total) {
        (true, true) => step(to, at_total, to == Side::New),
        (true, false) => step(from, at_total, false),
        // The canary may have all already; a canary that nobody needs yet is not made.
        (false, _) => {
            let canary = if to == Side::New { at_total } else { now.canary };
            Next { hold: Some(Hold::Unready(to)), ..step(from, canary, false) }
        }
    }
}

fn beside_a_users_main(now: Now, want: &Want) -> Next {
    match now.main {
        Main::Legacy => Next { main: None, canary: canary_beside_legacy(want), last: true, hold: None },
        Main::New if want.weight == want.total => Next { main: None, canary: None, last: true, hold: None },
        // At total, so that nothing moves at the moment when the user's Ingress names legacy again.
        Main::New => Next { main: None, canary: Some(want.total), last: false, hold: Some(Hold::MainIsUsers) },
        Main::None | Main::Other => Next { main: None, canary: now.canary, last: false, hold: None },
    }
}

fn canary_beside_legacy(want: &Want) -> Option<i32> {
    let unwanted = want.weight == 0 && (!want.new_exists || want.leave_no_canary_at_zero);
    (want.new != Reachable::No && !unwanted).then_some(want.weight)
}

fn step(main: Side, canary: Option<i32>, last: bool) -> Next {
    Next { main: Some(main), canary, last, hold: None }
}

fn stay(now: Now, hold: Hold) -> Next {
    let main = match now.main {
        Main::Legacy => Some(Side::Legacy),
        Main::New => Some(Side::New),
        Main::None | Main::Other => None,
    };
    Next { main, canary: now.canary, last: false, hold: Some(hold) }
}
