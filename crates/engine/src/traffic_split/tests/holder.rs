use super::{super::holder::*, *};

#[test]
fn a_free_split_is_granted_to_the_first_by_name() {
    let claims = [claim("b", 1, None), claim("a", 4, Some(5))];
    let ruling = arbitrate(&TrafficSplitStatus { epoch: Some(7), ..Default::default() }, &claims, &[]);
    let holder = ruling.holder.unwrap();
    assert_eq!((holder.phase.as_str(), holder.epoch, holder.request_revision), ("a", 8, 4));
    assert_eq!(ruling.order.unwrap().new_weight, Some(5));
    assert_eq!((ruling.epoch, ruling.released, ruling.doubt), (Some(8), None, None));
}

#[test]
fn nothing_is_granted_on_a_cached_word() {
    let cached = Claim { confirmed: false, ..claim("a", 4, Some(5)) };
    let ruling = arbitrate(&TrafficSplitStatus::default(), &[cached], &[]);
    assert_eq!((ruling.holder, ruling.order, ruling.doubt.as_deref()), (None, None, Some("a")));
}

#[test]
fn the_present_holder_is_kept_while_it_asks() {
    let claims = [claim("a", 9, Some(50)), claim("b", 6, Some(25))];
    let ruling = arbitrate(&held_by("b", 5, Some(5)), &claims, &[]);
    let holder = ruling.holder.unwrap();
    assert_eq!(
        (holder.phase.as_str(), holder.epoch, holder.request_revision, holder.new_weight),
        ("b", 3, 6, Some(25))
    );
}

#[test]
fn an_older_revision_or_attempt_is_never_effective() {
    let status = held_by("a", 5, Some(25));
    let older = Claim { confirmed: false, ..claim("a", 4, Some(50)) };
    let earlier = Claim { attempt: 0, revision: 9, ..older.clone() };
    for claim in [older, earlier] {
        let ruling = arbitrate(&status, &[claim], &[]);
        assert_eq!((&ruling.holder, &ruling.order, ruling.doubt.as_deref()), (&status.holder, &None, Some("a")));
    }
}

#[test]
fn a_phase_that_began_anew_is_granted_anew() {
    let ruling = arbitrate(&held_by("a", 5, Some(25)), &[claim("a", 1, None)], &[]);
    let holder = ruling.holder.unwrap();
    assert_eq!((holder.epoch, holder.request_revision, ruling.released), (4, 1, Some(Release::LetGo)));
}

#[test]
fn a_holder_that_lets_go_frees_the_split_for_the_next() {
    let gone = Claim { request: None, ..claim("a", 6, None) };
    let ruling = arbitrate(&held_by("a", 5, Some(25)), std::slice::from_ref(&gone), &[]);
    assert_eq!((ruling.holder, ruling.released), (None, Some(Release::LetGo)));
    let ruling = arbitrate(&held_by("a", 5, Some(25)), &[gone, claim("b", 1, None)], &[]);
    assert_eq!((ruling.holder.unwrap().phase.as_str(), ruling.released), ("b", Some(Release::LetGo)));
}

#[test]
fn a_holder_is_deleted_when_the_api_server_says_so() {
    let status = held_by("a", 5, Some(0));
    let doubting = arbitrate(&status, &[], &[]);
    assert_eq!((&doubting.holder, doubting.doubt.as_deref()), (&status.holder, Some("a")));
    let sure = arbitrate(&status, &[], &["a".into()]);
    assert_eq!((sure.holder, sure.released), (None, Some(Release::Deleted)));
    // Recreated under the same name: another object.
    let another = Claim { uid: "another".into(), request: None, ..claim("a", 0, None) };
    let sure = arbitrate(&status, &[another], &[]);
    assert_eq!((sure.holder, sure.released), (None, Some(Release::Deleted)));
}
