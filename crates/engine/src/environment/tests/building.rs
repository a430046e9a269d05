use std::collections::BTreeMap;

use cutover_api::labels;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use rstest::rstest;
use serde_json::{Value, json};

use super::world::{SHOP, identity, spec, valid};
use crate::environment::{Observed, Validated, build, resolve, validate::Component};

fn component<'a>(environment: &'a Validated, name: &str) -> &'a Component {
    environment.components.iter().find(|component| component.name == name).unwrap()
}

#[rstest]
#[case("storefront")]
#[case("monolith")]
fn a_workload_is_a_deployment_and_a_service(#[case] name: &str) {
    let environment = valid(SHOP);
    let deployment = build::build_deployment(&environment, component(&environment, name)).unwrap();
    insta::assert_yaml_snapshot!(format!("deployment_{name}"), deployment);
    let service = build::build_service(&environment.identity, component(&environment, name)).unwrap();
    insta::assert_yaml_snapshot!(format!("service_{name}"), service);
}

fn slices(environment: &Validated, name: &str) -> Vec<EndpointSlice> {
    let component = component(environment, name);
    let addresses = resolve::wanted(component, &Observed::default()).cloned().unwrap_or_default();
    build::build_endpoint_slices(&environment.identity, component, &addresses)
}

#[test]
fn an_external_component_is_a_service_without_selector_and_its_addresses() {
    let environment = valid(SHOP);
    let database = component(&environment, "database");
    let service = build::build_service(&environment.identity, database).unwrap();
    let slice = slices(&environment, "database");
    let [slice] = slice.as_slice() else { panic!("{slice:?}") };
    let port = |ports: Option<Vec<Value>>| ports.unwrap()[0]["name"].clone();
    let service_value = serde_json::to_value(&service).unwrap();
    let slice_value = serde_json::to_value(slice).unwrap();
    assert_eq!(
        port(service_value["spec"]["ports"].as_array().cloned()),
        port(slice_value["ports"].as_array().cloned()),
        "consumers join them by the port's name"
    );
    assert!(build::build_deployment(&environment, database).is_none());
    insta::assert_yaml_snapshot!("service_database", service);
    insta::assert_yaml_snapshot!("endpoint_slice_database", slice);
}

#[test]
fn the_config_map_holds_configuration_and_discovery() {
    let environment = valid(SHOP);
    insta::assert_yaml_snapshot!("config_map", build::build_config_map(&environment, &BTreeMap::new()));
}

#[test]
fn a_service_of_somebody_else_makes_nothing() {
    let environment = valid(SHOP);
    let api = component(&environment, "api");
    assert!(build::build_service(&environment.identity, api).is_none());
    assert!(slices(&environment, "api").is_empty());
    assert!(build::build_deployment(&environment, api).is_none());
}

#[test]
fn no_object_has_an_owner_reference_and_each_has_the_owners_uid() {
    let environment = valid(SHOP);
    let mut metas = vec![build::build_config_map(&environment, &BTreeMap::new()).metadata];
    for component in &environment.components {
        metas.extend(build::build_deployment(&environment, component).map(|object| object.metadata));
        metas.extend(build::build_service(&environment.identity, component).map(|object| object.metadata));
        metas.extend(slices(&environment, &component.name).into_iter().map(|object| object.metadata));
    }
    assert_eq!(metas.len(), 7);
    for meta in metas {
        assert_eq!(meta.owner_references, None, "{:?}", meta.name);
        assert_eq!(meta.labels.unwrap()[labels::OWNER_UID], identity().uid);
    }
}

fn pod(environment: &Validated, name: &str) -> Value {
    let deployment = build::build_deployment(environment, component(environment, name)).unwrap();
    serde_json::to_value(deployment.spec.unwrap().template).unwrap()
}

/// Changes the spec as YAML text and says whether the pods of the storefront and of the monolith are rolled.
#[rstest]
#[case::configuration("REGION: eu", "REGION: us", true, false)]
#[case::overridden_by_the_workload("LOG_LEVEL: info", "LOG_LEVEL: warn", false, false)]
#[case::called_component_moved("port: 8081", "port: 8082", true, false)]
#[case::component_that_only_the_monolith_calls("port: 5432", "port: 5433", false, true)]
#[case::version_of_the_whole("2026.11.1", "2026.11.2", false, false)]
#[case::replicas("replicas: 3", "replicas: 4", false, false)]
#[case::another_components_image("monolith:7", "monolith:8", false, true)]
fn pods_are_rolled_when_what_they_read_changes_and_only_then(
    #[case] from: &str,
    #[case] to: &str,
    #[case] storefront: bool,
    #[case] monolith: bool,
) {
    let (before, after) = (valid(SHOP), valid(&SHOP.replace(from, to)));
    assert_eq!(pod(&before, "storefront") != pod(&after, "storefront"), storefront);
    assert_eq!(pod(&before, "monolith") != pod(&after, "monolith"), monolith);
}

#[test]
fn the_workloads_own_variables_win_and_nothing_undeclared_is_read() {
    let environment = valid(SHOP);
    let env = |name: &str| pod(&environment, name)["spec"]["containers"][0]["env"].as_array().cloned().unwrap();
    let names = |name: &str| env(name).iter().map(|v| v["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(names("storefront"), ["API_HOST", "API_PORT", "API_URL", "REGION", "LOG_LEVEL", "OWN"]);
    assert_eq!(env("storefront")[4], json!({"name": "LOG_LEVEL", "value": "debug"}));
    // Legacy gets what it asked for, and no configuration of the new system.
    assert_eq!(names("monolith"), ["DATABASE_HOST", "DATABASE_PORT"]);
}

fn with_template(template: &str) -> String {
    SHOP.replace(
        "      image: registry.example.com/storefront:1.4.2",
        &format!("      image: registry.example.com/storefront:1.4.2\n      podTemplate: {template}"),
    )
}

#[rstest]
#[case::sidecar(
    "{spec: {containers: [{name: proxy, image: p:1}]}}",
    "/spec/containers/1/name", json!("proxy")
)]
#[case::field_of_the_container(
    "{spec: {containers: [{name: app, securityContext: {readOnlyRootFilesystem: true}}]}}",
    "/spec/containers/0/securityContext/readOnlyRootFilesystem", json!(true)
)]
#[case::keeps_the_rest_of_the_container(
    "{spec: {containers: [{name: app, securityContext: {readOnlyRootFilesystem: true}}]}}",
    "/spec/containers/0/securityContext/allowPrivilegeEscalation", json!(false)
)]
#[case::another_probe_by_null(
    "{spec: {containers: [{name: app, readinessProbe: {httpGet: null, tcpSocket: {port: http}}}]}}",
    "/spec/containers/0/readinessProbe/tcpSocket/port", json!("http")
)]
#[case::no_startup_probe(
    "{spec: {containers: [{name: app, startupProbe: null}]}}",
    "/spec/containers/0/startupProbe",
    Value::Null
)]
#[case::quantity_as_number(
    "{spec: {containers: [{name: app, resources: {limits: {cpu: 2}}}]}}",
    "/spec/containers/0/resources/limits/cpu", json!("2")
)]
#[case::own_label("{metadata: {labels: {team: shop}}}", "/metadata/labels/team", json!("shop"))]
#[case::our_labels_stay("{metadata: {labels: {team: shop}}}", "/metadata/labels/cutover.dev~1component", json!("storefront"))]
#[case::grace("{spec: {terminationGracePeriodSeconds: 120}}", "/spec/terminationGracePeriodSeconds", json!(120))]
fn the_pod_template_is_merged_over_what_is_built(#[case] template: &str, #[case] pointer: &str, #[case] wanted: Value) {
    let environment = valid(&with_template(template));
    let pod = pod(&environment, "storefront");
    assert_eq!(pod.pointer(pointer).unwrap_or(&Value::Null), &wanted, "{pod:#}");
}

#[rstest]
#[case::misspelt("{spec: {contianers: []}}", "")]
#[case::misspelt_deep(
    "{spec: {containers: [{name: app, imagePulPolicy: Always}]}}",
    "spec.containers[0].imagePulPolicy: is not a field of a pod template"
)]
#[case::wrong_type(
    "{spec: {terminationGracePeriodSeconds: soon}}",
    "spec.terminationGracePeriodSeconds: invalid type: string"
)]
#[case::unnamed_container("{spec: {containers: [{image: x}]}}", "spec.containers[0].name: is missing")]
#[case::directive(
    "{spec: {containers: [{name: app, $patch: delete}]}}",
    "spec.containers[0].$patch: is a patch directive"
)]
#[case::selector(
    "{metadata: {labels: {cutover.dev/component: other}}}",
    "metadata.labels[cutover.dev/component]: is a label of the operator's"
)]
#[case::reserved(
    "{metadata: {labels: {cutover.dev/alias: 'true'}}}",
    "metadata.labels[cutover.dev/alias]: is a label of the operator's"
)]
fn a_wrong_pod_template_is_told_by_its_path(#[case] template: &str, #[case] wanted: &str) {
    let template = if wanted.is_empty() { template.replace("[]", "[{name: app}]") } else { template.to_owned() };
    let wanted = if wanted.is_empty() { "spec.contianers: is not a field of a pod template" } else { wanted };
    let problems = crate::environment::validate(identity(), &spec(&with_template(&template)), &[]).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
    let told = problems[0].to_string();
    assert!(told.starts_with(&format!("spec.components[1].source.workload.podTemplate.{wanted}")), "{told}");
}
