//! Ways into a control plane: clients and kubeconfig files for the administrator, for anybody, and for service
//! accounts with real tokens.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result};
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{Api, Client, Config, api::PostParams, config::AuthInfo};
use serde_json::{Value, json};

use super::keys;

/// Who a client or a kubeconfig file speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// Member of `system:masters`.
    Admin,
    /// A person or robot with these groups (and `system:authenticated`).
    User {
        /// The name that admission, RBAC and the audit log see.
        name: String,
        /// Groups.
        groups: Vec<String>,
    },
    /// A service account, with a token as its pods would get it.
    ServiceAccount {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// Users with a token of their own in every control plane; all others are impersonated by the administrator.
pub const NAMED_USERS: [(&str, &[&str]); 3] =
    [("dana", &["developers"]), ("otto", &["product-owners"]), ("gitops", &["deployers"])];

/// A user of the static token file.
#[derive(Debug, Clone)]
struct Token {
    user: &'static str,
    groups: &'static [&'static str],
    secret: String,
}

/// What is needed to reach one API server.
#[derive(Debug)]
pub(super) struct Access {
    url: String,
    ca_file: PathBuf,
    folder: PathBuf,
    admin: String,
    named: Vec<Token>,
    files: AtomicU32,
}

impl Access {
    pub(super) fn new(port: u16, ca_file: PathBuf, folder: &Path) -> Result<Self> {
        let named = NAMED_USERS
            .iter()
            .map(|(user, groups)| Ok(Token { user, groups, secret: keys::token()? }))
            .collect::<Result<_>>()?;
        let url = format!("https://127.0.0.1:{port}");
        let folder = folder.to_path_buf();
        Ok(Self { url, ca_file, folder, admin: keys::token()?, named, files: AtomicU32::new(0) })
    }

    /// The content of the API server's static token file.
    pub(super) fn token_file(&self) -> String {
        let admin = format!("{},admin,admin,\"system:masters\"", self.admin);
        let named = self.named.iter().map(|Token { user, groups, secret }| {
            let groups = groups.join(",");
            format!("{secret},{user},{user},\"{groups}\"")
        });
        std::iter::once(admin).chain(named).collect::<Vec<_>>().join("\n") + "\n"
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// A new client. Its connections belong to the runtime that calls this, so tests do not share clients.
    pub(super) async fn client(&self, identity: &Identity) -> Result<Client> {
        Ok(Client::try_from(self.config(identity).await?)?)
    }

    pub(super) async fn config(&self, identity: &Identity) -> Result<Config> {
        let mut config = Config::new(self.url.parse()?);
        let pem = fs::read(&self.ca_file).with_context(|| format!("cannot read {}", self.ca_file.display()))?;
        config.root_cert = Some(keys::certificates(&pem)?);
        config.auth_info = self.auth(identity).await?;
        // An outage is something to be seen by a test, not to be waited out.
        config.default_retry = false;
        Ok(config)
    }

    /// A new kubeconfig file, readable by any client library.
    pub(super) async fn kubeconfig(&self, identity: &Identity) -> Result<PathBuf> {
        let user = serde_json::to_value(self.auth(identity).await?)?;
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.join(format!("kubeconfig-{number}.yaml"));
        fs::write(&path, serde_yaml_ng::to_string(&self.kubeconfig_value(&user))?)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    fn kubeconfig_value(&self, user: &Value) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "testbed",
            "clusters": [{
                "name": "testbed",
                "cluster": {"server": self.url, "certificate-authority": self.ca_file},
            }],
            "users": [{"name": "user", "user": user}],
            "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": "user"}}],
        })
    }

    async fn auth(&self, identity: &Identity) -> Result<AuthInfo> {
        let mut auth = AuthInfo { token: Some(self.admin.clone().into()), ..AuthInfo::default() };
        match identity {
            Identity::Admin => {}
            Identity::User { name, groups } => {
                if let Some(own) = self.named.iter().find(|own| own.user == name && own.groups == groups.as_slice()) {
                    auth.token = Some(own.secret.clone().into());
                } else {
                    auth.impersonate = Some(name.clone());
                    auth.impersonate_groups = Some(groups.clone());
                }
            }
            Identity::ServiceAccount { namespace, name } => {
                auth.token = Some(self.service_account_token(namespace, name).await?.into());
            }
        }
        Ok(auth)
    }

    async fn service_account_token(&self, namespace: &str, name: &str) -> Result<String> {
        let admin = Box::pin(self.client(&Identity::Admin)).await?;
        let request = TokenRequest {
            spec: TokenRequestSpec { expiration_seconds: Some(8 * 3600), ..TokenRequestSpec::default() },
            ..TokenRequest::default()
        };
        let answer = Api::<ServiceAccount>::namespaced(admin, namespace)
            .create_token_request(name, &PostParams::default(), &request)
            .await
            .with_context(|| format!("no token for the service account {namespace}/{name}"))?;
        Ok(answer.status.context("a token request without an answer")?.token)
    }
}
