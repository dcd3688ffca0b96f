//! Generated names.

use rand::{Rng, RngExt};

use crate::object::Object;

/// No vowels, and nothing that is read as another letter: as the API server's.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX: usize = 5;
/// A name is at most 63 characters.
const LONGEST_PREFIX: usize = 63 - SUFFIX;

/// Names an object that has only a `generateName`.
pub fn generate(object: &mut Object, rng: &mut dyn Rng) {
    let prefix = object.metadata().and_then(|m| m.get("generateName")).and_then(|v| v.as_str()).unwrap_or("");
    if prefix.is_empty() || !object.name().is_empty() {
        return;
    }
    let prefix: String = prefix.chars().take(LONGEST_PREFIX).collect();
    let name = format!("{prefix}{}", suffix(rng));
    object.metadata_mut().insert("name".into(), name.into());
}

/// The random end of a generated name.
pub fn suffix(rng: &mut dyn Rng) -> String {
    let letter = |rng: &mut dyn Rng| ALPHABET.get(rng.random_range(0..ALPHABET.len())).map_or('x', |b| char::from(*b));
    (0..SUFFIX).map(|_| letter(rng)).collect()
}
