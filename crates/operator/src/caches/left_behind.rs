//! Routes in the caches that deleted splits left behind.

use std::sync::Arc;

use cutover_api::labels::RELEASED_FROM;
use cutover_engine::{router::View as _, traffic_split::LeftBehind};

use super::{Caches, IngressRecord, WholeRecord, whole::Whole};
use crate::cluster::stores::{Index, View};

/// An object that may be such a route.
pub trait MayBeLeftBehind {
    /// The route, if it is one of a split of another name.
    fn left_behind(&self, by_others_than: &str) -> Option<LeftBehind>;
}

impl MayBeLeftBehind for IngressRecord {
    fn left_behind(&self, by_others_than: &str) -> Option<LeftBehind> {
        // The text is read of those alone that may be one.
        let may_be = self.owner.is_none() && self.mentions(RELEASED_FROM);
        may_be.then(|| LeftBehind::ingress(&self.view())).flatten().filter(|route| route.split != by_others_than)
    }
}

impl<K: Whole> MayBeLeftBehind for WholeRecord<K> {
    fn left_behind(&self, by_others_than: &str) -> Option<LeftBehind> {
        let may_be = self.meta().released_from.is_some();
        may_be.then(|| K::left_behind(self)).flatten().filter(|route| route.split != by_others_than)
    }
}

impl Caches {
    /// The routes that deleted splits of other names left behind in a namespace.
    #[must_use]
    pub fn left_behind(&self, namespace: &str, split: &str) -> Vec<LeftBehind> {
        fn of<V: View + MayBeLeftBehind>(index: &Index<V>, namespace: &str, split: &str) -> Vec<LeftBehind> {
            let all = index.in_namespace(namespace).into_iter();
            all.filter_map(|(_, record): (_, Arc<V>)| record.left_behind(split)).collect()
        }
        let mut found = of(&self.ingresses, namespace, split);
        found.extend(of(&self.http_routes, namespace, split));
        found.extend(of(&self.grpc_routes, namespace, split));
        found.extend(of(&self.ingress_routes, namespace, split));
        found.extend(of(&self.virtual_services, namespace, split));
        found
    }
}
