//! Slim views of the objects that routers read: they deserialize from full objects (and from the API server's answers to writes),
//! keep only what a decision needs, and are small enough to be kept for every object of a cluster. No I/O.

mod gateway;
mod ingress;
mod json;
mod meta;
mod service;
mod whole;

pub use gateway::{ConditionView, GatewayClassView, GatewayView, ParentRefView, ParentStatusView, RouteView};
pub use ingress::{IngressPathView, IngressPort, IngressRuleView, IngressTlsView, IngressView};
pub use json::Json;
pub use meta::Meta;
pub(crate) use service::SERVICE_NAME;
pub use service::{EndpointSliceView, EndpointView, ServicePortView, ServiceView};
pub use whole::WholeView;

/// What every view has.
pub trait View {
    /// Identity and our marks.
    fn meta(&self) -> &Meta;
}

macro_rules! has_meta {
    ($($view:ty),*) => { $(impl View for $view {
        fn meta(&self) -> &Meta {
            &self.meta
        }
    })* };
}
has_meta!(IngressView, RouteView, GatewayView, GatewayClassView, ServiceView, EndpointSliceView, WholeView);
