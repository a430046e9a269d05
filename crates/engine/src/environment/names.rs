//! Names and labels of what is made for an environment.

use std::collections::BTreeMap;

use cutover_api::{
    labels,
    v1alpha1::environment::{Role, System},
};

/// Value of the label that names the owner's kind.
pub const KIND: &str = "Environment";

/// Name of the container that the operator makes in each pod.
pub const CONTAINER: &str = "app";

/// Which environment it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its namespace, and that of every object made for it.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID: what marks an object as its own.
    pub uid: String,
}

impl Identity {
    /// Name of a component's Deployment and Service.
    #[must_use]
    pub fn object(&self, component: &str) -> String {
        format!("{}-{component}", self.name)
    }

    /// Name of the ConfigMap.
    #[must_use]
    pub fn config_map(&self) -> String {
        format!("{}-config", self.name)
    }

    /// The name that a Service is reached by from inside the cluster.
    #[must_use]
    pub fn host(&self, service: &str) -> String {
        format!("{service}.{}.svc", self.namespace)
    }

    /// Labels of every object made for the environment.
    #[must_use]
    pub fn labels(&self) -> BTreeMap<String, String> {
        owned([
            (labels::MANAGED_BY, labels::MANAGED_BY_VALUE),
            (labels::OWNER_UID, &self.uid),
            (labels::OWNER_KIND, KIND),
            (labels::ENVIRONMENT, &self.name),
            ("app.kubernetes.io/part-of", &self.name),
        ])
    }

    /// Labels of every object made for one component.
    #[must_use]
    pub fn component_labels(&self, component: &str, system: System, role: Role) -> BTreeMap<String, String> {
        let mut all = self.labels();
        all.extend(self.pod_labels(component, system, role));
        all
    }

    /// Labels of a component's pods. The Environment's UID is not among them: the pods of a restored Environment are not
    /// rolled for it.
    #[must_use]
    pub fn pod_labels(&self, component: &str, system: System, role: Role) -> BTreeMap<String, String> {
        let mut all = self.selector(component);
        all.extend(owned([
            (labels::SYSTEM, system_label(system)),
            (labels::ROLE, role.as_str()),
            ("app.kubernetes.io/name", component),
            ("app.kubernetes.io/instance", &self.object(component)),
            ("app.kubernetes.io/part-of", &self.name),
        ]));
        all
    }

    /// What a component's Deployment and Service select. It never changes.
    #[must_use]
    pub fn selector(&self, component: &str) -> BTreeMap<String, String> {
        owned([(labels::ENVIRONMENT, self.name.as_str()), (labels::COMPONENT, component)])
    }

    /// Annotations of every object made for the environment.
    #[must_use]
    pub fn annotations(&self) -> BTreeMap<String, String> {
        owned([(labels::OWNER_NAME, self.name.as_str())])
    }
}

/// The value of the label [`labels::SYSTEM`].
const fn system_label(system: System) -> &'static str {
    match system {
        System::Legacy => "Legacy",
        System::New => "New",
        System::Shared => "Shared",
    }
}

fn owned<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}
