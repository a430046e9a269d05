//! What tasks beside the reconciles tell their controller: that there is something new about an object, which is reconciled then. No I/O.

use futures::{Stream, stream};
use tokio::sync::mpsc;

use crate::cluster::stores::Key;

/// The way to one controller. Cheap to clone.
#[derive(Clone)]
pub(super) struct News(mpsc::UnboundedSender<Key>);

impl News {
    /// The way to a controller, and what comes along it.
    pub(super) fn new() -> (Self, impl Stream<Item = Key> + Send + 'static) {
        let (told, mut news) = mpsc::unbounded_channel();
        (Self(told), stream::poll_fn(move |context| news.poll_recv(context)))
    }

    /// Tells that there is something new about an object.
    pub(super) fn tell(&self, object: Key) {
        if self.0.send(object).is_err() {
            tracing::debug!("the controller that asked has ended");
        }
    }
}
