//! A component that speaks TLS on a cluster that learns later how routers are told of it.

use anyhow::{Context, Result, ensure};
use cutover_api::v1alpha1::Environment;
use cutover_testkit::{
    control_plane::{ControlPlane, Mark},
    eventually,
    operator::{Operator, Options},
    tools,
};
use kube::{
    Api,
    api::{ApiResource, DynamicObject, GroupVersionKind},
};

use super::bed::PATIENCE;
use crate::{installed::install, rights::nothing_was_forbidden};

#[tokio::test(flavor = "multi_thread")]
async fn each_router_is_told_when_its_kind_is_there_and_until_then_its_absence_is_told() -> Result<()> {
    let plane = ControlPlane::start_named("tls-later").await?;
    install(&plane).await?;
    let options = Options { name: "tls-later-operator".into(), flags: Vec::new(), program: None };
    let operator = Operator::start(&plane, options).await?;
    operator.ready().await?;
    let (client, namespace) = (plane.admin().await?, plane.unique_namespace().await?);
    let environment = "
apiVersion: cutover.dev/v1alpha1
kind: Environment
metadata: {name: production}
spec:
  tier: Production
  components:
  - {name: vault, system: Legacy, source: {external: {addresses: [192.0.2.7], port: 443, tls: {serverName: vault.dc.example.com}}}}
";
    plane.apply_yaml(&namespace, environment).await?;
    let environments: Api<Environment> = Api::namespaced(client.clone(), &namespace);
    let told = async |what: &str, wanted: bool| {
        eventually(what, PATIENCE, || async {
            let status = environments.get("production").await?.status.context("no status yet")?;
            let vault = status.components.first().context("no component yet")?;
            let lacks = vault.message.as_deref().unwrap_or_default().contains("serves neither BackendTLSPolicies");
            ensure!(vault.ready && lacks == wanted, "{vault:#?}");
            Ok(())
        })
        .await
    };
    told("its absence is told", true).await?;
    plane.install_definitions(tools::definitions("gateway-api")?).await?;
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "BackendTLSPolicy"));
    let policies: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &kind);
    eventually("the policy is made", PATIENCE, || async {
        let policy = policies.get("production-vault").await?;
        ensure!(policy.data["spec"]["validation"]["hostname"] == "vault.dc.example.com", "{policy:#?}");
        Ok(())
    })
    .await?;
    told("nothing is missing any more", false).await?;
    plane.install_definitions(tools::definitions("traefik")?).await?;
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("traefik.io", "v1alpha1", "ServersTransport"));
    let transports: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &kind);
    eventually("the ServersTransport is made", PATIENCE, || async {
        let transport = transports.get("production-vault").await?;
        ensure!(transport.data["spec"]["serverName"] == "vault.dc.example.com", "{transport:#?}");
        Ok(())
    })
    .await?;
    nothing_was_forbidden(&plane, Mark::default()).map(drop)
}
