//! TLS from clients to the edge: under the split's certificate, to both sides, with what holds for HTTPS alone.

use std::{collections::BTreeSet, net::SocketAddr};

use anyhow::{Context, Result, ensure};
use cutover_testkit::{
    eventually,
    http::{self, Response},
    tls,
};
use serde_json::json;

use super::bed::{Shop, TAKEN_UP};

const SECRET: &str = "shop-tls";

/// A shop with a certificate of its own.
struct Secure {
    shop: Shop,
    authority: String,
}

impl Secure {
    async fn open() -> Result<Self> {
        let shop = Shop::open().await?;
        let [authority, key] = tls::certificate(&shop.host)?;
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": SECRET},
            "stringData": {"tls.crt": &authority, "tls.key": key},
        });
        shop.apply(&secret.to_string()).await?;
        Ok(Self { shop, authority })
    }

    /// At half the weight.
    async fn split(&self, edge: &str, router: &str) -> Result<()> {
        let spec = format!("  newWeight: 50\n  edge: {edge}\n  routers: [{router}]");
        self.shop.split("storefront", &spec).await?;
        self.shop.carries("storefront", 50).await.map(drop)
    }

    async fn get(&self, entry: SocketAddr) -> Result<Response> {
        http::get_by_tls(entry, &self.shop.host, "/", &self.authority).await
    }

    /// Waits until the certificate is served, and asks until both sides have answered.
    async fn is_served(&self, entry: SocketAddr, look: impl Fn(&Response) -> Result<()>) -> Result<()> {
        eventually("the host is served by TLS", TAKEN_UP, || async {
            let answer = self.get(entry).await?;
            ensure!(answer.status() == 200, "{}", answer.status());
            look(&answer)
        })
        .await?;
        let mut sides = BTreeSet::new();
        for _ in 0..20 {
            let answer = self.get(entry).await?;
            look(&answer)?;
            sides.insert(answer.headers().get("x-served-by").context("by whom?")?.to_str()?.to_owned());
        }
        ensure!(sides.len() == 2, "{sides:?}");
        // Nobody else's certificate is behind that.
        let [other, _] = tls::certificate(&self.shop.host)?;
        let answered = http::get_by_tls(entry, &self.shop.host, "/", &other).await;
        ensure!(answered.is_err(), "under another certificate");
        Ok(())
    }

    /// Waits until a request without TLS is sent to HTTPS, which must not be where it comes from.
    async fn is_redirected(&self, plain: SocketAddr) -> Result<()> {
        eventually("the redirect", TAKEN_UP, || async {
            let answer = http::get(plain, &self.shop.host, "/cart").await?;
            let to = answer.headers().get("location").context("no location")?.to_str()?;
            ensure!(matches!(answer.status().as_u16(), 301 | 308), "{}", answer.status());
            ensure!(to.starts_with(&format!("https://{}", self.shop.host)) && to.ends_with("/cart"), "{to}");
            Ok(())
        })
        .await
    }
}

fn remembers_https(answer: &Response) -> Result<()> {
    let said = answer.headers().get("strict-transport-security").context("no Strict-Transport-Security")?;
    ensure!(said == "max-age=300; includeSubDomains", "{said:?}");
    Ok(())
}

const HSTS: &str = "securityHeaders: {strictTransportSecurity: {maxAge: 5m, includeSubDomains: true}}";

#[tokio::test(flavor = "multi_thread")]
async fn an_ingress_serves_both_sides_by_tls_and_redirects_to_it() -> Result<()> {
    let secure = Secure::open().await?;
    let entry = secure.shop.bed.entry;
    let router = format!("{{ingressNginx: {{className: nginx, tls: {{secretName: {SECRET}}}}}}}");
    secure.split("{tlsRedirect: true}", &router).await?;
    secure.is_served(entry.nginx_tls, |_| Ok(())).await?;
    secure.is_redirected(entry.nginx).await
}

/// What ingress-nginx does with a host that has a certificate.
#[tokio::test(flavor = "multi_thread")]
async fn an_ingress_with_tls_redirects_by_itself_unless_its_annotation_says_no() -> Result<()> {
    let secure = Secure::open().await?;
    let entry = secure.shop.bed.entry;
    let tls = format!("tls: {{secretName: {SECRET}}}");
    secure.split("{}", &format!("{{ingressNginx: {{className: nginx, {tls}}}}}")).await?;
    secure.is_redirected(entry.nginx).await?;
    let no = "annotations: {nginx.ingress.kubernetes.io/ssl-redirect: 'false'}";
    secure.split("{}", &format!("{{ingressNginx: {{className: nginx, {tls}, {no}}}}}")).await?;
    secure.is_served(entry.nginx_tls, |_| Ok(())).await?;
    eventually("the host is served without TLS", TAKEN_UP, || async {
        let answer = http::get(entry.nginx, &secure.shop.host, "/").await?;
        ensure!(answer.status() == 200, "{}", answer.status());
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_with_tls_serves_both_sides_and_the_one_without_redirects_to_it() -> Result<()> {
    let secure = Secure::open().await?;
    let entry = secure.shop.bed.entry;
    let [plain, by_tls] = [entry.gateway, entry.gateway_tls];
    let gateway = format!(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: front}}
spec:
  gatewayClassName: traefik
  listeners:
  - {{name: plain, protocol: HTTP, port: {}}}
  - name: secure
    protocol: HTTPS
    port: {}
    tls: {{certificateRefs: [{{name: {SECRET}}}]}}
",
        plain.port(),
        by_tls.port()
    );
    secure.shop.apply(&gateway).await?;
    let parent = "{name: front, sectionName: secure, redirectFrom: plain}";
    let router = format!("{{gatewayApi: {{parentRefs: [{parent}]}}}}");
    secure.split(&format!("{{tlsRedirect: true, {HSTS}}}"), &router).await?;
    secure.is_served(by_tls, remembers_https).await?;
    secure.is_redirected(plain).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ingress_route_serves_both_sides_by_tls_and_redirects_to_it() -> Result<()> {
    let secure = Secure::open().await?;
    let entry = secure.shop.bed.entry;
    let router = format!("{{traefik: {{entryPoints: [web-tls], redirectFrom: [web], tls: {{secretName: {SECRET}}}}}}}");
    secure.split(&format!("{{tlsRedirect: true, {HSTS}}}"), &router).await?;
    secure.is_served(entry.web_tls, remembers_https).await?;
    secure.is_redirected(entry.web).await
}
