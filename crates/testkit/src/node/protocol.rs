//! What simulated backends and the load generator say to one another: header names and systems.
//! No I/O.

use std::{fmt, str::FromStr};

/// Component that answered.
pub const SERVED_BY: &str = "x-served-by";
/// System that answered, as in [`System::as_str`].
pub const SYSTEM: &str = "x-system";
/// Pod (or external backend) that answered.
pub const POD: &str = "x-pod";
/// Tag of the image that the answering pod runs.
pub const IMAGE_TAG: &str = "x-image-tag";
/// The request's id, sent by the client and echoed by the backend.
pub const REQUEST_ID: &str = "x-request-id";
/// `Host` as the backend received it.
pub const RECEIVED_HOST: &str = "x-received-host";
/// Path as the backend received it.
pub const RECEIVED_PATH: &str = "x-received-path";

/// Which of the two systems a backend is part of, or that both share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum System {
    /// The system to be replaced.
    Legacy,
    /// Its replacement.
    New,
    /// Used by both.
    Shared,
}

impl System {
    /// The value used in headers and metric labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::New => "new",
            Self::Shared => "shared",
        }
    }
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for System {
    type Err = String;

    /// Accepts the label's spelling (`Legacy`) and the header's (`legacy`).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "legacy" => Ok(Self::Legacy),
            "new" => Ok(Self::New),
            "shared" => Ok(Self::Shared),
            _ => Err(format!("`{text}` is not a system: use Legacy, New or Shared")),
        }
    }
}
