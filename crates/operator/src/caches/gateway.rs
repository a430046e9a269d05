//! What routes of the Gateway API hang on. Few.

use std::ops::Deref;

use cutover_engine::router::view::{GatewayClassView, GatewayView, View as _};
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};

use super::raw::{Identity, Raw, Wire};
use crate::cluster::stores::View;

macro_rules! record {
    ($(#[$doc:meta])* $record:ident, $view:ty, $scope:ty, $kind:literal, $plural:literal) => {
        impl Wire for $view {
            type Scope = $scope;
            const GROUP: &'static str = "gateway.networking.k8s.io";
            const VERSION: &'static str = "v1";
            const KIND: &'static str = $kind;
            const PLURAL: &'static str = $plural;

            fn identity(&self) -> Identity {
                let meta = self.meta();
                let namespace = (!meta.namespace.is_empty()).then(|| meta.namespace.to_string());
                Identity {
                    name: meta.name.to_string(),
                    namespace,
                    uid: Some(meta.uid.to_string()),
                    resource_version: Some(meta.resource_version.to_string()),
                }
            }
        }

        $(#[$doc])*
        #[derive(Debug, PartialEq, Eq)]
        pub struct $record($view);

        impl Deref for $record {
            type Target = $view;

            fn deref(&self) -> &$view {
                &self.0
            }
        }

        impl View for $record {
            type Object = Raw<$view>;

            fn of(object: Raw<$view>) -> Option<Self> {
                Some(Self(object.into_wire()))
            }
        }
    };
}

record!(
    /// What is kept of a Gateway.
    GatewayRecord, GatewayView, NamespaceResourceScope, "Gateway", "gateways"
);
record!(
    /// What is kept of a GatewayClass.
    GatewayClassRecord, GatewayClassView, ClusterResourceScope, "GatewayClass", "gatewayclasses"
);
