//! What has to be there before Traefik leads to a side that speaks TLS. Pure.
//!
//! It speaks TLS to any port that says so, and judges the certificate by the Service's name in the cluster and its system's authorities unless a
//! ServersTransport says otherwise. So nothing leads there without that of the side's Environment, which is called after its Service.

use cutover_api::conditions::reasons;

use crate::router::{
    contract::{Backend, BackendTls, Intent, Problem},
    marks,
};

/// Whether what is written would lead to a side whose certificate would be judged otherwise than its Environment says. Of what is somebody
/// else's only the weights are written, and not how a side is spoken to.
pub(in crate::router) fn is_unspoken(is_attached: bool, intent: &Intent<'_>) -> bool {
    intent.sides.speaking_tls().is_some() && (is_attached || unsaid(intent).is_some())
}

fn unsaid<'a>(intent: &Intent<'a>) -> Option<(&'static str, &'a Backend)> {
    intent.sides.present().find(|(_, backend)| backend.tls.is_some_and(|tls| !tls.transport))
}

/// Why a side that speaks TLS cannot be led to.
pub(super) fn refusal(intent: &Intent<'_>) -> Option<Problem> {
    let (field, backend) = unsaid(intent)?;
    let message = format!(
        "{field}: Service {service} speaks TLS, and the ServersTransport {service} of its Environment is not there, or does not say by whom \
         its certificate is judged: see what the Environment says of the component; its authority has to be in a ConfigMap, and Traefik's \
         CRDs have to know rootCAs (3.4 and later)",
        service = backend.service
    );
    Some(marks::waiting(reasons::WAITING, message))
}

/// The ServersTransport by which a side is spoken to.
pub(super) fn transport(backend: &Backend) -> Option<&str> {
    matches!(backend.tls, Some(BackendTls { transport: true, .. })).then_some(backend.service.as_str())
}
