//! What needs no name server; the rest is shown against one by the cluster tests.

use std::net::Ipv4Addr;

use tokio::net::UdpSocket;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_server_that_is_silent_is_a_failure_that_says_so() {
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let resolver = Resolver::new(&[silent.local_addr().unwrap()]);
    assert!(matches!(resolver.ask("app.example.com", IpFamily::V4).await, Answer::Failed(_)));
}

#[tokio::test]
async fn a_name_that_is_none_is_a_failure() {
    let resolver = Resolver::new(&[(Ipv4Addr::LOCALHOST, 1).into()]);
    let long = format!("{}.example.com", "a".repeat(64));
    let Answer::Failed(why) = resolver.ask(&long, IpFamily::V4).await else { panic!("it was resolved") };
    assert!(why.starts_with("it is no name"), "{why}");
}
