//! Whether who has been served by one side goes on being served by it.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::forms::COOKIE_PATTERN;
use crate::duration::HumanDuration;

/// Who was dealt to a side stays there: both sides alike, by a cookie. While the weight of the new side grows, nobody who is on it goes
/// back; when the weight falls, and at 0 and `weightTotal`, no cookie holds anybody. How far each router goes is in docs/routers.md.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Stickiness {
    /// The cookie.
    pub cookie: StickyCookie,
}

/// The cookie that keeps a client with its side. `HttpOnly`, `SameSite=Lax`, for the path `/`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StickyCookie {
    /// What its name begins with, such as `cutover-storefront`; a number that changes whenever cookies that are out must no longer count
    /// follows it. Splits that share a host have names of their own. At most 64 characters.
    #[schemars(length(min = 1, max = 64), regex(pattern = COOKIE_PATTERN))]
    pub name: String,
    /// For how long a client stays with its side after it was dealt to it, such as `24h`. At least 1s. Where only new clients follow a weight
    /// that grows (docs/routers.md), it is also the time after which all do: keep it shorter than the soaks.
    #[x_kube(validation = Rule::new("self != '0s'").message("maxAge must be at least 1s"))]
    pub max_age: HumanDuration,
}

/// What the cookies that are out say.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct StickinessStatus {
    /// Follows the cookie's name. It only grows, and does so whenever the weight falls or reaches 0 or `weightTotal`: cookies of an older
    /// epoch hold nobody.
    pub epoch: i64,
    /// Weights of the new side by which clients of this epoch were dealt to a side, rising; the last is the one in force. Older ones than
    /// these are no longer told apart. Empty at 0 and at `weightTotal`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub dealt: Vec<i32>,
}
