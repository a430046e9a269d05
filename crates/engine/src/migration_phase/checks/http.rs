//! Checks over HTTP: whether what is asked can be asked, and what an answer says. Pure: the controller asks.

use cutover_api::v1alpha1::migration_phase::{Check, HttpCheck, HttpMethod};

use super::{
    super::observed::Answer,
    condition::{self, Values},
    judge::{self, Verdict},
    probe::Unusable,
};

/// How long an answer may be waited for, in seconds.
pub(super) const TIMEOUTS: std::ops::RangeInclusive<i64> = 1..=30;
/// Headers that are not the check's to give: credentials, which everybody would see, and what concerns the connection.
const RESERVED: [&str; 10] = [
    "authorization",
    "cookie",
    "proxy-authorization",
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
];

/// Whether the check's condition looks at legacy too.
pub fn asks_legacy(check: &Check) -> bool {
    check.condition.as_deref().is_some_and(|condition| condition::mentions(condition, "legacy"))
}

/// Whether it can be asked.
pub fn usable(check: &Check, asked: &HttpCheck) -> Result<(), Unusable> {
    let unusable = |field, why: &str| Err(Unusable { field, why: why.to_owned() });
    if !is_address(&asked.url) {
        return unusable(
            "http.url",
            "it is not the address of an HTTP server, such as https://api.shop.svc/api/health",
        );
    }
    if asked.legacy_url.as_deref().is_some_and(|url| !is_address(url)) {
        return unusable("http.legacyUrl", "it is not the address of an HTTP server");
    }
    if asks_legacy(check) != asked.legacy_url.is_some() {
        let why = "legacyUrl and a condition with legacy in it belong together: give both, or none of them";
        return unusable("http.legacyUrl", why);
    }
    if asked.pointer.as_deref().is_some_and(|pointer| !pointer.starts_with('/')) {
        return unusable("http.pointer", "a JSON pointer begins with /, such as /queue/depth");
    }
    if asked.pointer.is_some() && asked.method == HttpMethod::Head {
        return unusable("http.pointer", "an answer to HEAD has no content that it could look into: use Get");
    }
    let given = check.min.is_some() || check.max.is_some() || check.condition.is_some();
    if asked.pointer.is_some() && !given {
        return unusable("http.pointer", "nothing says what the number may be: give min, max or both, or a condition");
    }
    if asked.expect_status.min > asked.expect_status.max {
        return unusable("http.expectStatus.min", "more than max: no status fits");
    }
    if !TIMEOUTS.contains(&asked.timeout.as_secs()) {
        return unusable("http.timeout", "write 1s to 30s");
    }
    if asked.headers.iter().any(|header| RESERVED.contains(&header.name.to_ascii_lowercase().as_str())) {
        return unusable("http.headers", "no credentials, no host, and nothing about the connection itself");
    }
    Ok(())
}

/// Scheme, and a host without user before it.
pub(super) fn is_address(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let host = rest.and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:[]-".contains(&byte);
    !host.is_empty() && host.bytes().all(plain) && url.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Judges how the new side answered, and legacy where it was asked.
pub fn judge(check: &Check, asked: &HttpCheck, legacy: Option<&Answer>, new: &Answer) -> Verdict {
    let new = match number(asked, new) {
        Ok(value) => value,
        Err(verdict) => return verdict,
    };
    // Nothing that legacy does is the new side's failure.
    let legacy = match legacy.map(|answer| number(asked, answer)).transpose() {
        Ok(legacy) => legacy,
        Err(Verdict::Fails(_, why) | Verdict::Erroring(why)) => return Verdict::Erroring(format!("legacy: {why}")),
        Err(other) => return other,
    };
    judge::number(check, Values { value: new, legacy, new: Some(new) })
}

/// The number that an answer is about.
fn number(asked: &HttpCheck, answer: &Answer) -> Result<f64, Verdict> {
    let (status, seconds, value) = match answer {
        Answer::Given { status, seconds, value } => (status, seconds, value),
        Answer::Silence(why) => return Err(Verdict::Fails("none".to_owned(), why.clone())),
    };
    let (min, max) = (asked.expect_status.min, asked.expect_status.max);
    if !(min..=max).contains(&i32::from(*status)) {
        return Err(Verdict::Fails(status.to_string(), format!("it answers {status}; {min} to {max} is expected")));
    }
    match (&asked.pointer, value) {
        (None, _) => Ok((seconds * 1_000.0).round() / 1_000.0),
        (Some(_), Some(value)) => Ok(*value),
        (Some(pointer), None) => Err(Verdict::NoData(format!("the answer has no number at {pointer}"))),
    }
}

#[cfg(test)]
mod tests {
    use cutover_api::v1alpha1::migration_phase::{HttpHeader, StatusRange};
    use rstest::rstest;

    use super::*;
    use crate::migration_phase::tests::fixture;

    fn given(status: u16, seconds: f64, value: Option<f64>) -> Answer {
        Answer::Given { status, seconds, value }
    }

    fn http() -> Check {
        fixture::http_check("health")
    }

    fn asked(check: &Check) -> &HttpCheck {
        check.http.as_ref().unwrap()
    }

    fn looking(pointer: &str) -> Check {
        let mut check = http();
        check.http.as_mut().unwrap().pointer = Some(pointer.into());
        check
    }

    #[rstest]
    #[case(given(200, 0.0321, None), Verdict::Passes("0.032".into()))]
    #[case(given(299, 0.1, Some(9.0)), Verdict::Passes("0.1".into()))]
    #[case(given(200, 0.1006, None), Verdict::Fails("0.101".into(), "0.101 is above max 0.1".into()))]
    #[case(given(199, 0.0, None), Verdict::Fails("199".into(), "it answers 199; 200 to 299 is expected".into()))]
    #[case(given(301, 0.0, None), Verdict::Fails("301".into(), "it answers 301; 200 to 299 is expected".into()))]
    #[case(given(503, 0.0, None), Verdict::Fails("503".into(), "it answers 503; 200 to 299 is expected".into()))]
    #[case(Answer::Silence("refused".into()), Verdict::Fails("none".into(), "refused".into()))]
    fn status_and_time_are_judged(#[case] answer: Answer, #[case] expected: Verdict) {
        let check = http();
        assert_eq!(judge(&check, asked(&check), None, &answer), expected);
    }

    #[rstest]
    #[case(given(200, 9.0, Some(0.05)), Verdict::Passes("0.05".into()))]
    #[case(given(200, 0.0, Some(0.5)), Verdict::Fails("0.5".into(), "0.5 is above max 0.1".into()))]
    #[case(given(200, 0.0, None), Verdict::NoData("the answer has no number at /errors".into()))]
    #[case(given(500, 0.0, Some(0.05)), Verdict::Fails("500".into(), "it answers 500; 200 to 299 is expected".into()))]
    fn a_number_is_judged_where_it_is_pointed_at(#[case] answer: Answer, #[case] expected: Verdict) {
        let check = looking("/errors");
        assert_eq!(judge(&check, asked(&check), None, &answer), expected);
    }

    #[rstest]
    #[case(given(200, 0.2, None), given(200, 0.3, None), true)]
    #[case(given(200, 0.2, None), given(200, 0.5, None), false)]
    fn a_condition_looks_at_both(#[case] legacy: Answer, #[case] new: Answer, #[case] passes: bool) {
        let check = Check { max: None, condition: Some("new <= legacy * 2.0".into()), ..http() };
        let verdict = judge(&check, asked(&check), Some(&legacy), &new);
        assert_eq!(matches!(verdict, Verdict::Passes(_)), passes, "{verdict:?}");
        assert_eq!(matches!(verdict, Verdict::Fails(..)), !passes, "{verdict:?}");
    }

    #[rstest]
    #[case(Answer::Silence("refused".into()))]
    #[case(given(500, 0.1, None))]
    fn what_legacy_does_is_not_held_against_the_new_side(#[case] legacy: Answer) {
        let check = Check { max: None, condition: Some("new <= legacy * 2.0".into()), ..http() };
        let verdict = judge(&check, asked(&check), Some(&legacy), &given(200, 0.1, None));
        assert!(matches!(&verdict, Verdict::Erroring(why) if why.starts_with("legacy: ")), "{verdict:?}");
    }

    fn changed(change: fn(&mut Check, &mut HttpCheck)) -> Result<(), Unusable> {
        let mut check = http();
        let mut asked = check.http.take().unwrap();
        change(&mut check, &mut asked);
        usable(&check, &asked)
    }

    #[rstest]
    #[case(|_: &mut Check, _: &mut HttpCheck| {})]
    #[case(|check: &mut Check, _: &mut HttpCheck| check.max = None)]
    #[case(|_: &mut Check, asked: &mut HttpCheck| asked.url = "http://[::1]:8080".into())]
    #[case(|_: &mut Check, asked: &mut HttpCheck| asked.pointer = Some("/a".into()))]
    #[case(|_: &mut Check, asked: &mut HttpCheck| asked.headers = vec![HttpHeader { name: "x-probe".into(), value: "1".into() }])]
    #[case(|check: &mut Check, asked: &mut HttpCheck| (check.max, check.condition, asked.legacy_url) = (None, Some("new < legacy".into()), Some("http://old".into())))]
    fn what_can_be_asked_is(#[case] change: fn(&mut Check, &mut HttpCheck)) {
        assert_eq!(changed(change), Ok(()));
    }

    #[rstest]
    #[case(|_: &mut Check, asked: &mut HttpCheck| asked.url = "ftp://api".into(), "http.url")]
    #[case(|_: &mut Check, asked: &mut HttpCheck| asked.url = "http:///x".into(), "http.url")]
    #[case(|_: &mut Check, asked: &mut HttpCheck| asked.url = "http://user:secret@api/".into(), "http.url")]
    #[case(|_: &mut Check, asked: &mut HttpCheck| asked.url = "http://api/a b".into(), "http.url")]
    #[case(|_: &mut Check, asked: &mut HttpCheck| asked.legacy_url = Some("http://old".into()), "http.legacyUrl")]
    #[case(|check: &mut Check, _: &mut HttpCheck| (check.max, check.condition) = (None, Some("new < legacy".into())), "http.legacyUrl")]
    #[case(|_: &mut Check, asked: &mut HttpCheck| asked.pointer = Some("a".into()), "http.pointer")]
    #[case(|_: &mut Check, asked: &mut HttpCheck| (asked.pointer, asked.method) = (Some("/a".into()), HttpMethod::Head), "http.pointer")]
    #[case(|check: &mut Check, asked: &mut HttpCheck| (check.max, asked.pointer) = (None, Some("/a".into())), "http.pointer")]
    #[case(|_: &mut Check, asked: &mut HttpCheck| asked.expect_status = StatusRange { min: 300, max: 200 }, "http.expectStatus.min")]
    #[case(|_: &mut Check, asked: &mut HttpCheck| asked.timeout = fixture::secs(0), "http.timeout")]
    #[case(|_: &mut Check, asked: &mut HttpCheck| asked.timeout = fixture::secs(31), "http.timeout")]
    #[case(|_: &mut Check, asked: &mut HttpCheck| asked.headers = vec![HttpHeader { name: "Authorization".into(), value: "x".into() }], "http.headers")]
    fn what_cannot_be_asked_is_refused(#[case] change: fn(&mut Check, &mut HttpCheck), #[case] field: &str) {
        assert_eq!(changed(change).unwrap_err().field, field);
    }
}
