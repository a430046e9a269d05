use std::time::Duration;

use clap::{CommandFactory, Parser};
use rstest::rstest;

use super::*;

fn parse(flags: &[&str]) -> Result<Args, String> {
    let args = Args::try_parse_from(std::iter::once("cutover-operator").chain(flags.iter().copied()))
        .map_err(|error| error.to_string())?;
    args.validate()?;
    Ok(args)
}

#[test]
fn defaults_are_valid_and_elect_a_leader() {
    let args = parse(&[]).unwrap();
    assert!(args.leader_elect && !args.trust_unenforced_policies && args.watch_namespaces.is_empty());
    let seconds = Duration::from_secs;
    assert_eq!(args.timing(), Timing { lease: seconds(15), renew_deadline: seconds(10), retry: seconds(2) });
    assert_eq!(args.limits().timeout, seconds(10));
}

#[test]
fn every_flag_has_a_variable_of_its_name() {
    let command = Args::command();
    for argument in command.get_arguments().filter(|a| !matches!(a.get_id().as_str(), "help" | "version")) {
        let flag = argument.get_long().unwrap();
        let expected = format!("CUTOVER_{}", flag.replace('-', "_").to_uppercase());
        assert_eq!(argument.get_env().map(|name| name.to_str().unwrap()), Some(expected.as_str()), "--{flag}");
        assert!(argument.get_help().is_some(), "--{flag} is not explained");
    }
}

#[test]
fn lists_durations_and_endpoints_are_read() {
    let args = parse(&[
        "--watch-namespaces=shop,shop-staging",
        "--lease-duration=3s",
        "--lease-renew-deadline=2s",
        "--lease-retry-period=500ms",
        "--prometheus=default=http://prometheus:9090/base",
        "--prometheus=edge=https://metrics.example.com",
        "--forbidden-external-cidrs=10.0.0.0/8,fd00::/8",
        "--outbound-networks=10.96.0.0/12,192.0.2.0/24",
        "--dns-server=192.0.2.53,192.0.2.54:5353",
        "--dns-server=2001:db8::53",
        "--dns-server=[2001:db8::54]:5353",
        "--leader-elect=false",
        "--trust-unenforced-policies",
        "--shutdown-grace=0s",
    ])
    .unwrap();
    assert_eq!(args.watch_namespaces, ["shop", "shop-staging"]);
    assert_eq!(args.lease_retry_period, Duration::from_millis(500));
    assert_eq!(args.prometheus[0].name, "default");
    assert_eq!(args.prometheus[1].url.as_str(), "https://metrics.example.com/");
    assert_eq!(args.outbound_networks[1].to_string(), "192.0.2.0/24");
    assert!(args.forbidden_external_cidrs[0].contains(&std::net::IpAddr::from([10, 1, 2, 3])));
    let servers: Vec<String> = args.dns_servers.iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["192.0.2.53:53", "192.0.2.54:5353", "[2001:db8::53]:53", "[2001:db8::54]:5353"]);
    assert!(!args.leader_elect && args.trust_unenforced_policies);
}

#[rstest]
#[case(&["--lease-renew-deadline=15s"], "renew deadline must be shorter")]
#[case(&["--lease-duration=1500ms", "--lease-renew-deadline=1s", "--lease-retry-period=300ms"], "whole seconds")]
#[case(&["--lease-retry-period=6s"], "at most half")]
#[case(&["--lease-retry-period=0s"], "must be positive")]
#[case(&["--lease-duration=15"], "is not a duration")]
#[case(&["--api-timeout=-1s"], "is not a duration")]
#[case(&["--api-timeout=10m"], "--api-timeout: 600s is not between")]
#[case(&["--shutdown-grace=11m"], "--shutdown-grace")]
#[case(&["--concurrency=0"], "--concurrency")]
#[case(&["--api-burst=0"], "--api-burst")]
#[case(&["--watch-namespaces=Shop"], "not the name of a namespace")]
#[case(&["--watch-namespaces=shop,,"], "not the name of a namespace")]
#[case(&["--dns-server=dns.example.com"], "is not the address of a name server")]
#[case(&["--prometheus=http://prometheus:9090"], "expected NAME=URL")]
#[case(&["--prometheus=Main=http://prometheus:9090"], "is not a name")]
#[case(&["--prometheus=default=ftp://prometheus"], "neither http nor https")]
#[case(&["--prometheus=a=http://b", "--prometheus=a=http://c"], "a is named twice")]
#[case(&["--forbidden-external-cidrs=10.0.0.0/33"], "--forbidden-external-cidrs")]
#[case(&["--metrics-bind-address=8080"], "--metrics-bind-address")]
fn wrong_flags_are_refused_by_name(#[case] flags: &[&str], #[case] message: &str) {
    let error = parse(flags).unwrap_err();
    assert!(error.contains(message), "{error}");
}

#[test]
fn without_an_election_its_durations_do_not_matter() {
    assert!(parse(&["--leader-elect=false", "--lease-renew-deadline=15s"]).is_ok());
}
