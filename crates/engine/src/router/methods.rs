//! Which requests are told apart by their method: those that are copied, and those that are sent again. Pure.

use cutover_api::v1alpha1::traffic_split::{Mirror, Side};

use super::contract::{Backend, Intent, SideBackend};

/// What changes nothing.
pub(super) const SAFE: [&str; 2] = ["GET", "HEAD"];
/// What HTTP allows to repeat besides: twice is as good as once.
const REPEATABLE: [&str; 4] = ["OPTIONS", "TRACE", "PUT", "DELETE"];

/// Requests that are treated alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Class {
    /// Those of these methods; none named: all that no class before takes.
    pub(super) methods: Vec<&'static str>,
    /// Copied to the new side.
    pub(super) copied: bool,
    /// Sent again when a side fails.
    pub(super) repeated: bool,
}

/// All classes, the last of which takes what is left.
pub(super) fn classes(copied: Option<&Mirror>, repeated: bool) -> Vec<Class> {
    let unsafe_too = copied.is_some_and(|it| it.allow_unsafe);
    let mut all = Vec::with_capacity(3);
    let mut safe = SAFE.to_vec();
    if repeated && copied.is_none_or(|it| it.allow_unsafe) {
        safe.extend(REPEATABLE);
        all.push(Class { methods: safe, copied: unsafe_too, repeated });
    } else if copied.is_some() && !unsafe_too {
        all.push(Class { methods: safe, copied: true, repeated });
        all.extend(repeated.then(|| Class { methods: REPEATABLE.to_vec(), copied: false, repeated }));
    }
    all.push(Class { methods: Vec::new(), copied: unsafe_too, repeated: false });
    all
}

/// Where copies go now, and of how many requests; or why there are none although the spec asks for them. None are made once every request
/// goes there itself.
pub(super) fn copies<'a>(intent: &Intent<'a>) -> Result<Option<(&'a Mirror, &'a Backend)>, &'static str> {
    let Some(mirror) = intent.mirror else { return Ok(None) };
    if intent.new_weight == intent.weight_total || intent.sides.legacy == SideBackend::Absent {
        return Ok(None);
    }
    match intent.sides.get(Side::New).present() {
        Some(new) if new.ready.is_known_and(|ready| ready > 0) => Ok(Some((mirror, new))),
        Some(_) => Err("spec.mirror: nothing is copied while the new side has no ready endpoint"),
        None => Err("spec.mirror: nothing is copied while the new side does not exist"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mirror(allow_unsafe: bool) -> Mirror {
        Mirror { percent: 10, allow_unsafe }
    }

    #[test]
    fn no_class_copies_or_repeats_what_it_must_not() {
        for (mirror, repeated) in
            [(None, false), (None, true), (Some(mirror(false)), false), (Some(mirror(false)), true)]
        {
            let classes = classes(mirror.as_ref(), repeated);
            let taking = |method: &str| {
                classes.iter().find(|it| it.methods.is_empty() || it.methods.contains(&method)).cloned().unwrap()
            };
            assert!(classes.split_last().unwrap().1.iter().all(|it| !it.methods.is_empty()), "{classes:?}");
            for method in ["POST", "PATCH", "LOCK", "CONNECT"] {
                assert_eq!((taking(method).copied, taking(method).repeated), (false, false), "{method}");
            }
            for method in ["PUT", "DELETE"] {
                assert_eq!((taking(method).copied, taking(method).repeated), (false, repeated), "{method}");
            }
            for method in SAFE {
                assert_eq!((taking(method).copied, taking(method).repeated), (mirror.is_some(), repeated), "{method}");
            }
        }
        assert!(classes(Some(&mirror(true)), true).iter().all(|it| it.copied));
        assert_eq!(classes(Some(&mirror(true)), false).len(), 1);
    }
}
