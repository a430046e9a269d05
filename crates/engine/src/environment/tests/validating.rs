use ipnet::IpNet;
use rstest::rstest;

use super::world::{SHOP, identity, spec};
use crate::environment::validate;

fn told(yaml: &str) -> Vec<String> {
    let forbidden: Vec<IpNet> = ["198.51.100.0/24", "2001:db8:1::/48"].iter().map(|net| net.parse().unwrap()).collect();
    validate(identity(), &spec(yaml), &forbidden)
        .map_or_else(|problems| problems.iter().map(ToString::to_string).collect(), |_| Vec::new())
}

#[test]
fn the_example_is_valid() {
    assert_eq!(told(SHOP), Vec::<String>::new());
}

#[rstest]
#[case::call("callsTo: [api]", "callsTo: [apy]", "spec.components[1].callsTo[0]: there is no component apy: add it")]
#[case::itself(
    "callsTo: [api]",
    "callsTo: [storefront]",
    "spec.components[1].callsTo[0]: storefront is the component itself"
)]
#[case::dependency(
    "dependsOn: [api, database]",
    "dependsOn: [api, db]",
    "spec.components[1].dependsOn[1]: there is no component db"
)]
#[case::twice("- name: api", "- name: monolith", "spec.components[0].name: there is another component monolith")]
#[case::health_port(
    "health: {path: /healthz,",
    "health: {path: /healthz, port: admin,",
    "spec.components[0].source.workload.health.port: there is no port admin"
)]
#[case::health_interval(
    "interval: 5s",
    "interval: 0s",
    "spec.components[0].source.workload.health.interval: must be from 1s to 5m"
)]
#[case::port_name(
    "{name: metrics,",
    "{name: http,",
    "spec.components[1].source.workload.ports[1].name: http is the name of another port"
)]
#[case::service_port(
    "containerPort: 9090",
    "containerPort: 80",
    "spec.components[1].source.workload.ports[1].servicePort: the Service has another port 80"
)]
#[case::two_sources(
    "source: {service: {name: api, port: 8081}}",
    "source: {service: {name: api, port: 8081}, external: {addresses: [203.0.113.1], port: 1}}",
    "spec.components[2].source: give exactly one of"
)]
#[case::discovery_collision(
    "REGION: eu",
    "API_URL: x",
    "spec.config.API_URL: is the variable that tells where component api is"
)]
#[case::not_an_address(
    "203.0.113.7",
    "db.example.com",
    "spec.components[3].source.external.addresses[0]: db.example.com is not an IP address"
)]
#[case::loopback(
    "203.0.113.7",
    "127.0.0.1",
    "spec.components[3].source.external.addresses[0]: 127.0.0.1 is a loopback address"
)]
#[case::metadata(
    "203.0.113.7",
    "169.254.169.254",
    "spec.components[3].source.external.addresses[0]: 169.254.169.254 is a link-local address"
)]
#[case::multicast(
    "203.0.113.7",
    "224.0.0.1",
    "spec.components[3].source.external.addresses[0]: 224.0.0.1 is a multicast address"
)]
#[case::unspecified(
    "203.0.113.7",
    "0.0.0.0",
    "spec.components[3].source.external.addresses[0]: 0.0.0.0 is an unspecified address"
)]
#[case::reserved(
    "203.0.113.7",
    "255.255.255.255",
    "spec.components[3].source.external.addresses[0]: 255.255.255.255 is a reserved address"
)]
#[case::cluster(
    "203.0.113.7",
    "198.51.100.9",
    "spec.components[3].source.external.addresses[0]: 198.51.100.9 is in 198.51.100.0/24, which this operator's configuration forbids"
)]
#[case::mapped(
    "[203.0.113.7, 203.0.113.5]",
    "['::ffff:127.0.0.1']",
    "spec.components[3].source.external.addresses[0]: ::ffff:127.0.0.1 is a loopback address"
)]
#[case::mapped_cluster(
    "[203.0.113.7, 203.0.113.5]",
    "['::ffff:198.51.100.9']",
    "spec.components[3].source.external.addresses[0]: ::ffff:198.51.100.9 is in 198.51.100.0/24"
)]
#[case::cluster_v6(
    "[203.0.113.7, 203.0.113.5]",
    "['2001:db8:1::5']",
    "spec.components[3].source.external.addresses[0]: 2001:db8:1::5 is in 2001:db8:1::/48"
)]
#[case::link_local_v6(
    "[203.0.113.7, 203.0.113.5]",
    "['fe80::1']",
    "spec.components[3].source.external.addresses[0]: fe80::1 is a link-local address"
)]
#[case::metadata_v6(
    "[203.0.113.7, 203.0.113.5]",
    "['fd00:ec2::254']",
    "spec.components[3].source.external.addresses[0]: fd00:ec2::254 is a link-local address"
)]
#[case::translated(
    "[203.0.113.7, 203.0.113.5]",
    "['64:ff9b::169.254.169.254']",
    "spec.components[3].source.external.addresses[0]: 64:ff9b::169.254.169.254 is a link-local address"
)]
#[case::no_way_in(
    "addresses: [203.0.113.7, 203.0.113.5]",
    "addresses: []",
    "spec.components[3].source.external: give exactly one of addresses and host"
)]
#[case::two_ways_in(
    "addresses: [203.0.113.7, 203.0.113.5]",
    "addresses: [203.0.113.7], host: db.example.com",
    "spec.components[3].source.external: give exactly one of addresses and host"
)]
#[case::a_name_of_the_cluster(
    "addresses: [203.0.113.7, 203.0.113.5]",
    "host: kubernetes.default.svc",
    "spec.components[3].source.external.host: kubernetes.default.svc is in .svc: give a name outside the cluster"
)]
#[case::a_name_of_the_cluster_in_full(
    "addresses: [203.0.113.7, 203.0.113.5]",
    "host: db.shop.svc.cluster.local",
    "spec.components[3].source.external.host: db.shop.svc.cluster.local is in .cluster.local"
)]
#[case::localhost(
    "addresses: [203.0.113.7, 203.0.113.5]",
    "host: app.localhost",
    "spec.components[3].source.external.host: app.localhost is in .localhost"
)]
#[case::one_label(
    "addresses: [203.0.113.7, 203.0.113.5]",
    "host: db",
    "spec.components[3].source.external.host: db is no full name"
)]
#[case::an_address_as_name(
    "addresses: [203.0.113.7, 203.0.113.5]",
    "host: 203.0.113.7",
    "spec.components[3].source.external.host: 203.0.113.7 is an IP address: give it in addresses"
)]
#[case::another_name_of_addresses(
    "addresses: [203.0.113.7, 203.0.113.5]",
    "addresses: [203.0.113.7], via: ExternalName",
    "spec.components[3].source.external.via: an ExternalName is another name of host"
)]
#[case::another_name_with_families(
    "addresses: [203.0.113.7, 203.0.113.5]",
    "host: db.example.com, ipFamilies: [IPv6], via: ExternalName",
    "spec.components[3].source.external.via: an ExternalName is another name of host"
)]
#[case::families("203.0.113.5", "'2001:db8::5'", "spec.components[3].source.external.addresses: must be of one family")]
fn a_problem_is_told_by_its_path_and_with_what_to_do(#[case] from: &str, #[case] to: &str, #[case] wanted: &str) {
    assert!(SHOP.contains(from), "{from}");
    let told = told(&SHOP.replacen(from, to, 1));
    assert!(told.iter().any(|line| line.starts_with(wanted)), "{told:#?}");
}

#[test]
fn a_cycle_of_dependencies_is_told_with_its_members() {
    let yaml = SHOP
        .replace(
            "source: {service: {name: api, port: 8081}}",
            "source: {service: {name: api, port: 8081}}\n  dependsOn: [monolith]",
        )
        .replace("  callsTo: [database]", "  dependsOn: [storefront]");
    assert_eq!(
        told(&yaml),
        [
            "spec.components[0].dependsOn: leads back to itself: monolith → storefront → api → monolith; remove one of these"
        ]
    );
}

#[test]
fn every_problem_is_told_at_once() {
    let yaml = SHOP
        .replace("callsTo: [api]", "callsTo: [apy]")
        .replace("interval: 5s", "interval: 1h")
        .replace("203.0.113.7", "127.1.2.3");
    assert_eq!(told(&yaml).len(), 3);
}

#[test]
fn quantities_may_be_written_as_numbers() {
    let workload = serde_json::json!({
        "image": "registry.example.com/api:1", "ports": [{"name": "http", "containerPort": 8080}],
        "resources": {"requests": {"cpu": 1, "memory": "64Mi"}, "limits": {"cpu": 1.5}},
    });
    let read: cutover_api::v1alpha1::environment::Workload = serde_json::from_value(workload).unwrap();
    let resources = serde_json::to_value(read.resources).unwrap();
    assert_eq!(resources, serde_json::json!({"requests": {"cpu": "1", "memory": "64Mi"}, "limits": {"cpu": "1.5"}}));
}
