//! Who stays with which side: the cookie that says so, and what is done with requests that bear one, whatever the router's words for it.
//!
//! A client on the new side holds `new`, one on the legacy side `legacy.<weight>`, the weight by which it was dealt there. When the weight
//! has grown from w to v since, such a client is dealt again, to new with the share (v - w) of (total - w): of those who came before and those
//! who come now the same share is on new then, v, and nobody has gone back.

use cutover_api::v1alpha1::traffic_split::{Side, Stickiness, StickinessStatus};

use super::{contract::Intent, shares::Share};

/// What the names of such rules begin with.
pub(super) const STICKY: &str = "sticky-";
/// As many of them as there ever are at once.
pub(super) const MAX_DEALS: usize = 5;

/// What a split asks for, and which of its cookies count.
#[derive(Clone, Copy, Debug)]
pub struct Sticky<'a> {
    spec: &'a Stickiness,
    known: &'a StickinessStatus,
}

/// What is done with requests whose cookie has a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Deal {
    /// Of the rule.
    pub(super) name: String,
    /// Expression for the cookie's value.
    pub(super) value: String,
    /// The legacy side's share.
    pub(super) legacy: i32,
    /// The new side's share.
    pub(super) new: i32,
}

impl<'a> Sticky<'a> {
    /// Of a spec and the status that belongs to it.
    #[must_use]
    pub const fn of((spec, known): (&'a Stickiness, &'a StickinessStatus)) -> Self {
        Self { spec, known }
    }

    /// The cookie's name: another in each epoch.
    pub(super) fn cookie(self) -> String {
        format!("{}-{}", self.spec.cookie.name, self.known.epoch)
    }

    /// How many seconds the cookie is good for.
    pub(super) fn max_age(self) -> i64 {
        self.spec.cookie.max_age.as_secs()
    }

    /// The cookie with a value, as it is in a header.
    pub(super) fn pair(self, value: &str) -> String {
        format!("{}={value}", self.cookie())
    }

    /// The header of an answer that keeps a client with a side. Not `Secure`: a way in may be served without TLS too, and the cookie is no
    /// secret.
    pub(super) fn set_cookie(self, side: Side) -> String {
        let value = match (side, self.known.dealt.last()) {
            (Side::New, _) | (Side::Legacy, None) => "new".to_owned(),
            (Side::Legacy, Some(weight)) => format!("legacy.{weight}"),
        };
        format!("{}; Max-Age={}; Path=/; HttpOnly; SameSite=Lax", self.pair(&value), self.max_age())
    }

    /// What is done with requests that bear the cookie: the first that matches counts. Others are dealt by the weight.
    pub(super) fn deals(self, total: i32) -> Vec<Deal> {
        let Some((weight, past)) = self.known.dealt.split_last() else { return Vec::new() };
        let deal =
            |name: &str, value: String, (legacy, new)| Deal { name: format!("{STICKY}{name}"), value, legacy, new };
        let of = |weight: &dyn std::fmt::Display| format!(r"legacy\.{weight}");
        let mut deals = vec![deal("new", "new".to_owned(), (0, total)), deal("legacy", of(weight), (total, 0))];
        for (at, before) in past.iter().enumerate().rev() {
            let shares = (total - weight, weight - before);
            deals.push(match at {
                // What was dealt earlier still is no longer told apart: too few go over, never too many.
                0 => deal("older", of(&"[0-9]+"), shares),
                _ => deal(&format!("from-{before}"), of(before), shares),
            });
        }
        deals
    }
}

impl<'a> Intent<'a> {
    /// What keeps clients with their sides at the weight that is wanted now. Nothing does where one side has everything, nor on a router
    /// that is not at the weight of the others.
    pub(super) fn sticking(&self) -> Option<Sticky<'a>> {
        let between = self.new_weight > 0 && self.new_weight < self.weight_total;
        self.stickiness.filter(|sticky| between && sticky.known.dealt.last() == Some(&self.new_weight))
    }
}

impl Deal {
    /// The shares that it comes down to; `None` where it leads to a side that is not there.
    pub(super) fn of<'a>(&self, shares: &[Share<'a>]) -> Option<Vec<Share<'a>>> {
        let weight = |share: &Share<'_>| if share.side == Side::New { self.new } else { self.legacy };
        let dealt: Vec<Share<'a>> =
            shares.iter().map(|share| Share { weight: weight(share), ..*share }).filter(|it| it.weight > 0).collect();
        match dealt.as_slice() {
            [] => None,
            [one] if one.backend.is_none() => None,
            _ => Some(dealt),
        }
    }

    /// Whether clients are dealt by it, rather than kept where they are.
    pub(super) const fn deals(&self) -> bool {
        self.legacy > 0 && self.new > 0
    }
}
