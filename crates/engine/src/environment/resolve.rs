//! The addresses of a component that is named by its host: what answers of name servers come to over time ([`Told`]), and what is to be
//! published, given what is ([`next`]).
//!
//! What holds throughout:
//! - A set of addresses is never replaced by none: while there is no better answer, the last good one stays.
//! - What is published in the cluster is the memory that outlasts the process.
//! - No address is published that could not be given as one, however the name server answers.
//! - The order of an answer means nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use cutover_api::v1alpha1::environment::IpFamily;
use ipnet::IpNet;
use jiff::Timestamp;

use super::{
    addresses::refused,
    names::Identity,
    observed::{Observed, SliceView},
    validate::{Component, Outside, Source},
};
use crate::conditions::whole_seconds;

/// However short-lived an answer is, and after the first failure.
pub const SOONEST: Duration = Duration::from_secs(5);
/// However long-lived an answer is, and after many failures.
pub const LATEST: Duration = Duration::from_secs(300);
/// Addresses of one family that are used.
const MOST: usize = 64;

/// What a name server said of one family of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// These addresses, at least one.
    Addresses {
        /// In the order of the answer.
        addresses: Vec<IpAddr>,
        /// How long that holds.
        ttl: Duration,
    },
    /// The name is there, and has none of this family.
    Nothing {
        /// How long that holds.
        ttl: Duration,
    },
    /// Nothing that could be relied on, and why.
    Failed(String),
}

/// What is known of one family of a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// What was said last; `None` before the first answer.
    last: Option<Last>,
    /// What the last answer with addresses that may be used came to.
    good: Option<Good>,
    /// Why others of the last answer may not be used.
    left_out: Vec<String>,
    /// Failures one after another.
    failures: u32,
    /// When the name server is asked again.
    again: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Good {
    addresses: BTreeSet<IpAddr>,
    /// Since when one answer after another says so.
    since: Timestamp,
    /// When it was said last.
    at: Timestamp,
    /// It was said since then that there are none.
    gone: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Last {
    Good,
    Nothing,
    Bad(String),
}

/// What follows from an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// When the name server is asked again.
    pub again: Duration,
    /// Whether there is something new in it.
    pub news: bool,
}

impl Told {
    /// Takes an answer that came at `now`. `forbidden`: networks whose addresses may not be used.
    pub fn take(&mut self, answer: Answer, forbidden: &[IpNet], now: Timestamp) -> Heard {
        let before = self.clone();
        self.left_out.clear();
        let ttl = match answer {
            Answer::Addresses { addresses, ttl } => {
                let sorted: BTreeSet<IpAddr> = addresses.into_iter().collect();
                let mut good = BTreeSet::new();
                for address in sorted {
                    // ::ffff:192.0.2.1, which no EndpointSlice may hold.
                    let mapped = (address != address.to_canonical()).then(|| "is an IPv4 address".to_owned());
                    match mapped.or_else(|| refused(address, forbidden)) {
                        Some(why) => self.left_out.push(format!("{address} {why}")),
                        None => drop(good.insert(address)),
                    }
                }
                let more = good.len().saturating_sub(MOST);
                if more > 0 {
                    good = good.into_iter().take(MOST).collect();
                    self.left_out.push(format!("{more} more than {MOST} addresses"));
                }
                if good.is_empty() {
                    self.last = Some(Last::Bad("no address that may be used".to_owned()));
                } else {
                    let at = whole_seconds(now);
                    let still = |known: &&Good| before.last == Some(Last::Good) && known.addresses == good;
                    let since = before.good.as_ref().filter(still).map_or(at, |known| known.since);
                    self.good = Some(Good { addresses: good, since, at, gone: false });
                    self.last = Some(Last::Good);
                }
                ttl
            }
            Answer::Nothing { ttl } => {
                self.last = Some(Last::Nothing);
                if let Some(good) = &mut self.good {
                    good.gone = true;
                }
                ttl
            }
            Answer::Failed(why) => {
                self.last = Some(Last::Bad(why));
                self.again = if self.failures == 0 { SOONEST } else { self.again.saturating_mul(2).min(LATEST) };
                self.failures = self.failures.saturating_add(1);
                return Heard { again: self.again, news: self.differs(&before) || self.again != before.again };
            }
        };
        self.failures = 0;
        self.again = ttl.clamp(SOONEST, LATEST);
        Heard { again: self.again, news: self.differs(&before) }
    }

    fn differs(&self, before: &Self) -> bool {
        let good = |told: &Self| told.good.as_ref().map(|good| good.addresses.clone());
        self.last != before.last || good(self) != good(before) || self.left_out != before.left_out
    }
}

/// What is to be published for a host name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolution {
    /// The addresses. None only if none was ever known.
    pub addresses: BTreeSet<IpAddr>,
    /// When a name server last gave them, as far as that is known.
    pub seen: Option<Timestamp>,
    /// A family was not answered yet since the process started.
    pub pending: bool,
    /// Why these are the addresses of before, or why there are none: by type of record.
    pub stale: Vec<String>,
    /// What is left out of the answers, and why.
    pub left_out: Vec<String>,
    /// In which time the name server is asked again, if something is stale.
    pub again: Option<Duration>,
}

/// What is known without an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Addresses that are published for the component.
    pub addresses: BTreeSet<IpAddr>,
    /// When a name server last gave them, by the status of the environment.
    pub seen: Option<Timestamp>,
}

/// What is to be published, by what is and by what was told of each family that is used.
#[must_use]
pub fn next(published: &Published, told: &BTreeMap<IpFamily, Told>, forbidden: &[IpNet]) -> Resolution {
    let mut next = Resolution::default();
    let (mut since, mut oldest) = (None, published.seen);
    for (family, about) in told {
        let others = told.iter().any(|(other, told)| other != family && told.last == Some(Last::Good));
        // What was said to be gone is kept only as far as it is still there: it does not come back by a failure.
        let addresses = about.good.as_ref().filter(|good| !good.gone).map_or_else(
            || {
                let usable = |address: &&IpAddr| family.has(address) && refused(**address, forbidden).is_none();
                published.addresses.iter().filter(usable).copied().collect()
            },
            |good| good.addresses.clone(),
        );
        next.left_out.extend(about.left_out.iter().cloned());
        let why = match &about.last {
            Some(Last::Good) => None,
            // It has moved to the other family as a whole.
            Some(Last::Nothing) if others => continue,
            Some(Last::Nothing) => Some("no record"),
            Some(Last::Bad(why)) => Some(why.as_str()),
            None => {
                next.pending = true;
                None
            }
        };
        // Of a family that has no address nothing is missed while the other has some.
        if let (Some(why), false) = (why, addresses.is_empty() && others) {
            next.stale.push(format!("{}: {why}", family.record()));
            next.again = Some(next.again.map_or(about.again, |again| again.min(about.again)));
            oldest = about.good.as_ref().map(|good| good.at).or(oldest);
        }
        since = since.max(about.good.as_ref().map(|good| good.since));
        next.addresses.extend(addresses);
    }
    next.seen = if next.pending {
        published.seen
    } else if next.stale.is_empty() {
        since
    } else {
        oldest
    };
    next
}

/// What people are told of a name: that the addresses of before stay, or that there are none, and what is left out. Empty when all is well,
/// and while it is asked for the first time.
#[must_use]
pub fn said(name: &str, known: &Resolution) -> String {
    let mut said = Vec::new();
    if known.pending {
        return String::new();
    }
    if !known.stale.is_empty() {
        let seen = known.seen.map_or_else(String::new, |seen| format!(", last seen {seen},"));
        let stays = match known.addresses.len() {
            0 => "and no address of it is known".to_owned(),
            1 => format!("its address{seen} stays"),
            many => format!("its {many} addresses{seen} stay"),
        };
        let again = known.again.unwrap_or(LATEST).as_secs();
        said.push(format!(
            "{name} is not resolved ({}): {stays}; it is asked for again in about {again}s",
            known.stale.join(", ")
        ));
    }
    if !known.left_out.is_empty() {
        said.push(format!("left out of the addresses of {name}: {}", known.left_out.join(", ")));
    }
    said.join("; ")
}

/// The addresses that are to be published for a component outside the cluster; none for others, and for a host whose addresses were
/// never known.
#[must_use]
pub fn wanted<'a>(component: &'a Component, observed: &'a Observed) -> Option<&'a BTreeSet<IpAddr>> {
    let Source::External { at, .. } = &component.source else { return None };
    match at {
        Outside::Addresses(addresses) => Some(addresses),
        Outside::Host { .. } | Outside::Alias { .. } => observed.names.get(&component.name).map(|name| &name.addresses),
    }
    .filter(|addresses| !addresses.is_empty())
}

/// What is published for a component.
pub fn published<'a>(
    identity: &'a Identity,
    component: &'a str,
    observed: &'a Observed,
) -> impl Iterator<Item = (&'a String, &'a SliceView)> {
    observed.slices.iter().filter(move |(_, view)| {
        let marks = &view.marks;
        marks.is_of(&identity.uid) && !marks.deleting && marks.component.as_deref() == Some(component)
    })
}
