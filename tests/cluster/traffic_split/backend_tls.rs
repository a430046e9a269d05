//! TLS from the gateway to a component outside the cluster, by a policy of the user's for the component's Service.

use std::time::Duration;

use anyhow::{Result, ensure};
use cutover_testkit::{
    eventually,
    load::{LoadGenerator, LoadOptions, Stream},
    tls::TlsFront,
};
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::bed::Shop;

const NAME: &str = "app-01.dc.example.com";
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_speaks_tls_to_one_side_under_a_name_and_judges_it_by_its_authority() -> Result<()> {
    let shop = Shop::open().await?;
    let (address, gateway) = (shop.address("old"), shop.bed.entry.gateway);
    let front = TlsFront::start((address, 8443).into(), NAME, (address, 8080).into()).await?;
    let authority = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "monolith-ca"},
        "data": {"ca.crt": front.authority()},
    });
    shop.apply(&serde_json::to_string(&authority)?).await?;
    shop.apply(&format!(
        "
apiVersion: cutover.dev/v1alpha1
kind: Environment
metadata: {{name: production}}
spec:
  tier: Production
  components:
  - {{name: monolith, system: Legacy, source: {{external: {{addresses: [{address}], port: 8443}}}}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {{name: monolith}}
spec:
  targetRefs: [{{group: '', kind: Service, name: production-monolith}}]
  validation:
    hostname: {NAME}
    caCertificateRefs: [{{group: '', kind: ConfigMap, name: monolith-ca}}]
---
apiVersion: cutover.dev/v1alpha1
kind: TrafficSplit
metadata: {{name: shop}}
spec:
  environment: production
  hosts: [{}]
  legacy: {{component: monolith}}
  new: {{service: {{name: new, port: 80}}}}
  newWeight: 0
  routers:
  - gatewayApi: {{parentRefs: [{{name: edge, namespace: infra}}]}}
",
        shop.host
    ))
    .await?;
    let answers = async |wanted: u16| {
        eventually("the gateway answers", PATIENCE, || async {
            let status = cutover_testkit::http::get(gateway, &shop.host, "/").await?.status();
            ensure!(status == wanted, "{status}");
            Ok(())
        })
        .await
    };
    answers(200).await?;
    shop.carries("shop", 0).await?;

    // Side by side with one that speaks none.
    let load = LoadGenerator::start(
        LoadOptions::default(),
        [Stream::new("gateway", gateway, shop.host.clone()).router("gateway").rate(100)],
    )?;
    shop.set_weight("shop", 50).await?;
    shop.carries("shop", 50).await?;
    eventually("both sides answer", PATIENCE, || async {
        let counts = load.window().wait_for(300).await?;
        ensure!(counts.legacy > 0 && counts.new > 0, "{counts}");
        Ok(())
    })
    .await?;
    load.stop().await?.check(300)?;

    // Whoever has another name is not spoken to.
    shop.set_weight("shop", 0).await?;
    shop.carries("shop", 0).await?;
    let other = Patch::Merge(json!({"spec": {"validation": {"hostname": "app-02.dc.example.com"}}}));
    let policies = shop.objects("gateway.networking.k8s.io", "BackendTLSPolicy");
    policies.patch("monolith", &PatchParams::default(), &other).await?;
    answers(500).await
}
