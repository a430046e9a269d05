//! Hashes of serialised values, for change detection and for names.

use serde::Serialize;
use sha2::{Digest, Sha256};

/// The first 16 hexadecimal digits of the SHA-256 of the value's JSON. Maps must be ordered.
#[must_use]
pub fn short_hash(value: &impl Serialize) -> String {
    // A value that cannot be JSON (a map with non-string keys) hashes as null: our types have none.
    let json = serde_json::to_vec(value).unwrap_or_default();
    let mut text = hexadecimal(&Sha256::digest(&json));
    text.truncate(16);
    text
}

/// The SHA-256 of the text, in 64 hexadecimal digits.
#[must_use]
pub fn full_hash(text: &str) -> String {
    hexadecimal(&Sha256::digest(text.as_bytes()))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        for nibble in [byte >> 4, byte & 0xf] {
            text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
        text
    })
}
