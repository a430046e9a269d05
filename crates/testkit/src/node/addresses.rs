//! Addresses for pods: each unique, and not used again soon after its pod is gone. No I/O.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    net::Ipv4Addr,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// First address given to pods. Those of 198.18.0.0/18 below are left to tests that serve by hand.
pub const FIRST: Ipv4Addr = Ipv4Addr::new(198, 18, 64, 0);
/// How many addresses follow it: up to the end of 198.18.0.0/16.
pub const COUNT: u32 = 0xC000;
/// For how long an address rests after its pod: a proxy that learns late then meets nobody, not a stranger.
pub const QUARANTINE: Duration = Duration::from_secs(60);

/// One for the process: the simulators of several control planes share one namespace.
static POOL: LazyLock<Pool> = LazyLock::new(|| Pool::new(FIRST, COUNT));

/// A range of addresses.
#[derive(Clone, Debug)]
pub(super) struct Pool(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    first: u32,
    count: u32,
    next: u32,
    /// When an address was released; none while it is in use.
    taken: HashMap<u32, Option<Instant>>,
    resting: VecDeque<u32>,
}

impl Pool {
    pub(super) fn shared() -> Self {
        POOL.clone()
    }

    fn new(first: Ipv4Addr, count: u32) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            first: first.to_bits(),
            count,
            next: 0,
            taken: HashMap::new(),
            resting: VecDeque::new(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next free address; none when all are in use or at rest.
    pub(super) fn take(&self, now: Instant) -> Option<Lease> {
        let mut inner = self.lock();
        inner.wake(now);
        for _ in 0..inner.count {
            let address = inner.first + inner.next;
            inner.next = (inner.next + 1) % inner.count;
            if let Entry::Vacant(free) = inner.taken.entry(address) {
                free.insert(None);
                return Some(Lease { pool: self.clone(), address: Ipv4Addr::from_bits(address) });
            }
        }
        None
    }

    /// A certain address: that of a pod which ran before this simulator did.
    pub(super) fn take_again(&self, address: Ipv4Addr) -> Option<Lease> {
        let mut inner = self.lock();
        let bits = address.to_bits();
        let in_range = bits >= inner.first && bits - inner.first < inner.count;
        if !in_range || matches!(inner.taken.get(&bits), Some(None)) {
            return None;
        }
        inner.resting.retain(|resting| *resting != bits);
        inner.taken.insert(bits, None);
        Some(Lease { pool: self.clone(), address })
    }
}

impl Inner {
    /// Frees what has rested long enough; `resting` is in the order of release.
    fn wake(&mut self, now: Instant) {
        while let Some(address) = self.resting.front().copied() {
            let rested = self.taken.get(&address).copied().flatten().is_none_or(|since| now >= since + QUARANTINE);
            if !rested {
                return;
            }
            self.resting.pop_front();
            self.taken.remove(&address);
        }
    }
}

/// An address in use; dropping it lets it rest.
#[derive(Debug)]
pub(super) struct Lease {
    pool: Pool,
    pub(super) address: Ipv4Addr,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut inner = self.pool.lock();
        let bits = self.address.to_bits();
        inner.taken.insert(bits, Some(Instant::now()));
        inner.resting.push_back(bits);
    }
}
