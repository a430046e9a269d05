//! The cluster: which one, who asks, and what it has.

use std::fmt::Debug;

use anyhow::{Context, Result, anyhow};
use cutover_api::v1alpha1::MigrationPhase;
use cutover_engine::show::Objects;
use k8s_openapi::{
    NamespaceResourceScope,
    api::authentication::v1::{SelfSubjectReview, UserInfo},
};
use kube::{
    Api, Client, Config, Resource,
    api::{ListParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde::de::DeserializeOwned;

use crate::args::Connection;

/// A client and the namespace that is meant.
pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) namespace: String,
}

impl Cluster {
    pub(crate) async fn connect(connection: Connection) -> Result<Self> {
        let mut config = config(&connection).await?;
        if let Some(namespace) = connection.namespace {
            config.default_namespace = namespace;
        }
        let namespace = config.default_namespace.clone();
        let url = config.cluster_url.clone();
        let client = Client::try_from(config).with_context(|| format!("no client for {url} can be made"))?;
        Ok(Self { client, namespace })
    }

    /// Objects of one namespace, or of all.
    pub(crate) fn api<K>(&self, everywhere: bool) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        if everywhere { Api::all(self.client.clone()) } else { Api::namespaced(self.client.clone(), &self.namespace) }
    }

    pub(crate) async fn phase(&self, name: &str) -> Result<MigrationPhase> {
        let found = self.api::<MigrationPhase>(false).get_opt(name).await.map_err(|error| unreadable(&error))?;
        found.ok_or_else(|| {
            let namespace = &self.namespace;
            anyhow!(
                "there is no MigrationPhase {name} in namespace {namespace}: see `kubectl get mphase -A`, and give -n"
            )
        })
    }

    /// Everything that the tree is made of.
    pub(crate) async fn objects(&self, everywhere: bool) -> Result<Objects> {
        let (environments, phases, splits, flags) = tokio::try_join!(
            self.list(everywhere),
            self.list(everywhere),
            self.list(everywhere),
            self.list(everywhere)
        )?;
        Ok(Objects { environments, phases, splits, flags })
    }

    pub(crate) async fn list<K>(&self, everywhere: bool) -> Result<Vec<K>>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let listed = self.api::<K>(everywhere).list(&ListParams::default()).await;
        let listed = listed
            .map_err(|error| unreadable(&error))
            .with_context(|| format!("{} cannot be listed", K::plural(&())))?;
        Ok(listed.items)
    }

    /// Who asks, as the API server sees it.
    pub(crate) async fn whoami(&self) -> Result<UserInfo> {
        let reviews: Api<SelfSubjectReview> = Api::all(self.client.clone());
        let review = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await;
        let review = review.map_err(|error| unreadable(&error)).context("the API server does not say who you are")?;
        review.status.and_then(|status| status.user_info).context("the API server does not say who you are")
    }
}

/// An error of the API, with what to do about the common ones.
pub(crate) fn unreadable(error: &kube::Error) -> anyhow::Error {
    match error {
        kube::Error::Api(status) if status.code == 404 => {
            anyhow!(
                "{}: are Cutover's kinds installed? `kubectl api-resources --api-group cutover.dev` lists them",
                status.message
            )
        }
        kube::Error::Api(status) if status.code == 403 => {
            anyhow!(
                "{}: ask for the chart's ClusterRole `cutover-view`, or `cutover-decide`, `cutover-approve` or `cutover-operate` to act",
                status.message
            )
        }
        kube::Error::Api(status) => anyhow!("{}", status.message),
        other => {
            let mut text = other.to_string();
            let mut source = std::error::Error::source(other);
            while let Some(cause) = source {
                let cause_text = cause.to_string();
                if !text.contains(&cause_text) {
                    text = format!("{text}: {cause_text}");
                }
                source = cause.source();
            }
            anyhow!("the API server cannot be asked: {text}")
        }
    }
}

async fn config(connection: &Connection) -> Result<Config> {
    let options = KubeConfigOptions { context: connection.context.clone(), ..KubeConfigOptions::default() };
    if let Some(path) = &connection.kubeconfig {
        let file = Kubeconfig::read_from(path).with_context(|| format!("--kubeconfig {}", path.display()))?;
        return Config::from_custom_kubeconfig(file, &options).await.with_context(|| format!("{}", path.display()));
    }
    if connection.context.is_some() {
        return Config::from_kubeconfig(&options).await.context("the kubeconfig");
    }
    Config::infer().await.context("no cluster: give --kubeconfig, or set KUBECONFIG")
}
