//! Wrong manifests, as a new user writes them: each is refused by the API server, or told in its status once
//! it is stored, with the field's path and what to do; and nothing moves.
//!
//! The table is `rows/*.yaml`, one file per kind of mistake. Every row has a namespace of its own with the same running
//! shop in it (`world.yaml`); one operator, under the chart's rights, serves them all.

mod missing;
mod row;
mod still;

use std::{collections::BTreeMap, sync::LazyLock, time::Duration};

use anyhow::{Context, Result, anyhow, ensure};
use cutover_testkit::{
    control_plane::{ControlPlane, Identity, NAMED_USERS},
    eventually,
    namespace::POD_RANGE,
    operator::{Operator, Options},
    tools,
};
use futures::{StreamExt, stream};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::{Api, Client, api::PostParams};
use serde::Deserialize;
use tokio::{runtime::Runtime, sync::OnceCell};

use self::row::Row;
use crate::installed;

/// Rows under way at a time.
const AT_ONCE: usize = 6;

const TABLE: [(&str, &str); 5] = [
    ("syntax and range", include_str!("rows/syntax.yaml")),
    ("cross-field", include_str!("rows/cross_field.yaml")),
    ("reference to what is missing or forbidden", include_str!("rows/references.yaml")),
    ("conflict with another object", include_str!("rows/conflicts.yaml")),
    ("missing right", include_str!("rows/rights.yaml")),
];

/// A Gateway that nobody runs; and people with the rights that a cluster's administrator would give them: dana edits, otto may only describe migrations,
/// gitops is a robot that edits and may not decide.
const AROUND: &str = r"
apiVersion: v1
kind: Namespace
metadata: {name: infra}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: infra}
spec:
  gatewayClassName: nobody
  listeners: [{name: http, port: 80, protocol: HTTP}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: routes-and-slices, labels: {rbac.authorization.k8s.io/aggregate-to-edit: 'true'}}
rules:
- {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [create]}
- {apiGroups: [gateway.networking.k8s.io], resources: [httproutes], verbs: [get, list, watch, create, update, patch, delete]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: actions-without-verbs}
rules:
- {apiGroups: [cutover.dev], resources: [phaseactions], verbs: [get, create]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: editors}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: edit}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: dana}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: deciders}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cutover-decide}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: dana}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: describers}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cutover-edit}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: otto}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: viewers}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cutover-view}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: otto}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: robots}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: actions-without-verbs}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: gitops}]
";

static RUNTIME: LazyLock<std::io::Result<Runtime>> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build());

/// A control plane with both charts, and the operator under their rights.
pub(super) struct Bed {
    pub(super) plane: ControlPlane,
    pub(super) operator: Operator,
}

impl Bed {
    /// Starts one, with the Gateway API or without.
    pub(super) async fn start(name: &str, gateway_api: bool) -> Result<Self> {
        let plane = ControlPlane::start_named(name).await?;
        if gateway_api {
            plane.install_definitions(tools::definitions("gateway-api")?).await?;
        }
        installed::install(&plane).await?;
        Self::operate(plane, name).await
    }

    /// The operator, on a control plane where all is installed.
    pub(super) async fn operate(plane: ControlPlane, name: &str) -> Result<Self> {
        let flags = vec![
            format!("--forbidden-external-cidrs={POD_RANGE}"),
            "--log-level=info,cutover_operator=debug".to_owned(),
        ];
        let operator = Operator::start(&plane, Options { name: name.to_owned(), flags, program: None }).await?;
        operator.ready().await?;
        Ok(Self { plane, operator })
    }
}

async fn bed() -> Result<&'static Bed> {
    static BED: OnceCell<Bed> = OnceCell::const_new();
    let runtime = RUNTIME.as_ref().map_err(|error| anyhow!("no runtime: {error}"))?;
    let start = async {
        let bed = Bed::start("bad-input", true).await?;
        bed.plane.apply_yaml("default", AROUND).await?;
        let client = bed.plane.admin().await?;
        eventually("roles put together", Duration::from_secs(30), || async {
            for (group, resource) in [("cutover.dev", "trafficsplits"), ("gateway.networking.k8s.io", "httproutes")] {
                ensure!(may(&client, "dana", "create", group, resource).await?, "dana may not create {resource}");
            }
            Ok(())
        })
        .await?;
        Ok(bed)
    };
    BED.get_or_try_init(|| async { runtime.spawn(start).await? }).await
}

/// Whether somebody may do something in every namespace, as RBAC sees it now.
async fn may(client: &Client, user: &str, verb: &str, group: &str, resource: &str) -> Result<bool> {
    let attributes = ResourceAttributes {
        group: Some(group.to_owned()),
        resource: Some(resource.to_owned()),
        verb: Some(verb.to_owned()),
        ..ResourceAttributes::default()
    };
    let spec = SubjectAccessReviewSpec {
        user: Some(user.to_owned()),
        resource_attributes: Some(attributes),
        ..SubjectAccessReviewSpec::default()
    };
    let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
    let answer = Api::<SubjectAccessReview>::all(client.clone()).create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

fn table() -> Result<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    for (mistake, text) in TABLE {
        for row in serde_yaml_ng::Deserializer::from_str(text) {
            rows.extend(Vec::deserialize(row).with_context(|| mistake.to_owned())?);
        }
    }
    Ok(rows)
}

#[test]
fn the_table_has_five_mistakes_of_each_sort() -> Result<()> {
    for (mistake, text) in TABLE {
        let rows: Vec<Row> = serde_yaml_ng::from_str(text).with_context(|| mistake.to_owned())?;
        ensure!(rows.len() >= 5, "{mistake}: {} rows", rows.len());
        for row in rows {
            ensure!(!row.expects_nothing(), "{}: nothing is expected of it", row.name);
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_manifests_are_refused_or_told_with_field_and_remedy_and_move_nothing() -> Result<()> {
    let bed = bed().await?;
    let mut kubeconfigs = BTreeMap::new();
    for (name, groups) in NAMED_USERS {
        let groups = groups.iter().map(ToString::to_string).collect();
        let user = Identity::User { name: name.to_owned(), groups };
        kubeconfigs.insert(name.to_owned(), bed.plane.kubeconfig_for(&user).await?);
    }
    let (plane, kubeconfigs, client) = (&bed.plane, &kubeconfigs, &bed.plane.admin().await?);
    let rows = table()?;
    ensure!(rows.len() >= 25, "{} rows", rows.len());
    let outcomes: Vec<_> = stream::iter(&rows)
        .map(|row| async move { (row, row.play(plane, client, kubeconfigs).await) })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let mut wrong = Vec::new();
    for (row, outcome) in outcomes {
        // Those that were told first have been left alone for as long as the others took.
        let after = match outcome {
            Ok(played) => played.still(client).await,
            Err(error) => Err(error),
        };
        if let Err(error) = after {
            wrong.push(format!("-- {}: {error:#}", row.name));
        }
    }
    ensure!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    Ok(())
}
