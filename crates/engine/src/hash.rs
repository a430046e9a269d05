//! Hashes of serialised values, for change detection and for names.

use serde::Serialize;
use sha2::{Digest, Sha256};

/// The first 16 hexadecimal digits of the SHA-256 of the value's JSON. Maps must be ordered.
#[must_use]
pub fn short_hash(value: &impl Serialize) -> String {
    // A value that cannot be JSON (a map with non-string keys) hashes as null: our types have none.
    let json = serde_json::to_vec(value).unwrap_or_default();
    Sha256::digest(&json).iter().take(8).fold(String::with_capacity(16), |mut text, byte| {
        for nibble in [byte >> 4, byte & 0xf] {
            text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
        text
    })
}
