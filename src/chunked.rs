//! An ordered map of which many versions can be kept, each at the cost of what differs.
//!
//! The entries stand in chunks that versions share. A change copies the chunk that it is in, and a clone the list of
//! chunks; what two versions share is skipped when they are compared.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A chunk with more entries is split.
const MOST: usize = 64;

#[derive(Clone)]
pub struct Chunked<K, V> {
    /// In order, none of them empty.
    chunks: Vec<Arc<Vec<(K, V)>>>,
    len: usize,
}

impl<K, V> Default for Chunked<K, V> {
    fn default() -> Self {
        Chunked { chunks: Vec::new(), len: 0 }
    }
}

impl<K, V> Chunked<K, V> {
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.chunks.iter().flat_map(|chunk| chunk.iter()).map(|(key, value)| (key, value))
    }

    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    pub fn last_key_value(&self) -> Option<(&K, &V)> {
        self.iter().next_back()
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl<K: Ord + Clone, V: Clone> Chunked<K, V> {
    pub fn get(&self, key: &K) -> Option<&V> {
        let chunk = self.chunks.get(self.chunk_of(key))?;
        let at = chunk.binary_search_by(|(other, _)| other.cmp(key)).ok()?;
        chunk.get(at).map(|(_, value)| value)
    }

    pub fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// Returns what was there before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let at = self.chunk_of(&key);
        let Some(chunk) = self.chunks.get_mut(at) else {
            self.chunks.push(Arc::new(vec![(key, value)]));
            self.len += 1;
            return None;
        };
        let chunk = Arc::make_mut(chunk);
        let slot = match chunk.binary_search_by(|(other, _)| other.cmp(&key)) {
            Ok(slot) => return chunk.get_mut(slot).map(|(_, stored)| std::mem::replace(stored, value)),
            Err(slot) => slot,
        };
        chunk.insert(slot, (key, value));
        self.len += 1;
        if chunk.len() > MOST {
            // What comes in order leaves full chunks behind.
            let keep = if slot == MOST { MOST } else { MOST / 2 };
            let rest = chunk.split_off(keep);
            self.chunks.insert(at + 1, Arc::new(rest));
        }
        None
    }

    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let at = self.chunk_of(key);
        let chunk = self.chunks.get_mut(at)?;
        let slot = chunk.binary_search_by(|(other, _)| other.cmp(key)).ok()?;
        Arc::make_mut(chunk).get_mut(slot).map(|(_, value)| value)
    }

    pub fn remove(&mut self, key: &K) -> Option<V> {
        let at = self.chunk_of(key);
        let chunk = self.chunks.get_mut(at)?;
        let slot = chunk.binary_search_by(|(other, _)| other.cmp(key)).ok()?;
        let chunk = Arc::make_mut(chunk);
        let (_, removed) = chunk.remove(slot);
        self.len -= 1;
        let left = chunk.len();
        if left == 0 {
            self.chunks.remove(at);
        } else if let Some(next) = self.chunks.get(at + 1).filter(|next| next.len() + left <= MOST / 2).cloned() {
            self.chunks.remove(at + 1);
            if let Some(chunk) = self.chunks.get_mut(at) {
                Arc::make_mut(chunk).extend_from_slice(&next);
            }
        }
        Some(removed)
    }

    /// The chunk that has `key` if any has, or that it belongs into.
    fn chunk_of(&self, key: &K) -> usize {
        let begins_after = |chunk: &Arc<Vec<(K, V)>>| chunk.first().is_some_and(|(first, _)| first > key);
        self.chunks.partition_point(|chunk| !begins_after(chunk)).saturating_sub(1)
    }

    /// Those from `key` on.
    pub fn from<'a>(&'a self, key: &K) -> impl Iterator<Item = (&'a K, &'a V)> + use<'a, K, V> {
        let at = self.chunk_of(key);
        let slot = self.chunks.get(at).map_or(0, |chunk| chunk.partition_point(|(other, _)| other < key));
        let chunks = self.chunks.iter().skip(at);
        chunks.flat_map(|chunk| chunk.iter()).skip(slot).map(|(key, value)| (key, value))
    }
}

impl<K: Ord, V: PartialEq> Chunked<K, V> {
    /// The keys whose values differ, in order, each with the value before and after; `None` where it has none.
    pub fn changes<'key, 'before: 'key, 'after: 'key>(
        &'before self,
        after: &'after Self,
    ) -> Vec<(&'key K, Option<&'before V>, Option<&'after V>)> {
        let (mut left, mut right) = (Cursor::new(self), Cursor::new(after));
        let mut changes = Vec::new();
        loop {
            if left.is_at_same_chunk(&right) {
                left.skip_chunk();
                right.skip_chunk();
                continue;
            }
            match (left.entry(), right.entry()) {
                (None, None) => return changes,
                (Some((key, before)), Some((other, after))) if key == other => {
                    if before != after {
                        changes.push((key, Some(before), Some(after)));
                    }
                    left.step();
                    right.step();
                }
                (Some((key, before)), other) if other.is_none_or(|(other, _)| key < other) => {
                    changes.push((key, Some(before), None));
                    left.step();
                }
                (_, Some((key, after))) => {
                    changes.push((key, None, Some(after)));
                    right.step();
                }
                (Some(_), None) => left.step(),
            }
        }
    }
}

/// A place among the objects.
struct Cursor<'a, K, V> {
    chunks: &'a [Arc<Vec<(K, V)>>],
    /// In the first chunk.
    slot: usize,
}

impl<'a, K, V> Cursor<'a, K, V> {
    fn new(map: &'a Chunked<K, V>) -> Self {
        Cursor { chunks: &map.chunks, slot: 0 }
    }

    fn entry(&self) -> Option<&'a (K, V)> {
        self.chunks.first()?.get(self.slot)
    }

    fn step(&mut self) {
        self.slot += 1;
        if self.chunks.first().is_some_and(|chunk| self.slot >= chunk.len()) {
            self.skip_chunk();
        }
    }

    fn skip_chunk(&mut self) {
        self.chunks = self.chunks.get(1..).unwrap_or_default();
        self.slot = 0;
    }

    fn is_at_same_chunk(&self, other: &Cursor<K, V>) -> bool {
        let same = |(own, others)| Arc::ptr_eq(own, others);
        self.slot == 0 && other.slot == 0 && self.chunks.first().zip(other.chunks.first()).is_some_and(same)
    }
}

impl<K: Ord + Clone, V: Clone> FromIterator<(K, V)> for Chunked<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = Chunked::default();
        for (key, value) in entries {
            map.insert(key, value);
        }
        map
    }
}

impl<K: Ord + Clone, V: Clone, const N: usize> From<[(K, V); N]> for Chunked<K, V> {
    fn from(entries: [(K, V); N]) -> Self {
        entries.into_iter().collect()
    }
}

impl<K: Ord, V: PartialEq> PartialEq for Chunked<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.changes(other).is_empty()
    }
}

impl<K: Ord, V: Eq> Eq for Chunked<K, V> {}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for Chunked<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// As a list of pairs, since keys need not be texts.
impl<K: Serialize, V: Serialize> Serialize for Chunked<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de, K, V> Deserialize<'de> for Chunked<K, V>
where
    K: Deserialize<'de> + Ord + Clone,
    V: Deserialize<'de> + Clone,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::<(K, V)>::deserialize(deserializer)?.into_iter().collect())
    }
}

/// An ordered set in the manner of [`Chunked`].
#[derive(Clone, PartialEq, Eq)]
pub struct ChunkedSet<K: Ord>(Chunked<K, ()>);

impl<K: Ord + Clone> ChunkedSet<K> {
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &K> {
        self.0.keys()
    }

    pub fn last(&self) -> Option<&K> {
        self.iter().next_back()
    }

    pub fn contains(&self, key: &K) -> bool {
        self.0.contains_key(key)
    }

    /// Whether it was not there.
    pub fn insert(&mut self, key: K) -> bool {
        self.0.insert(key, ()).is_none()
    }

    /// Whether it was there.
    pub fn remove(&mut self, key: &K) -> bool {
        self.0.remove(key).is_some()
    }

    /// What is in one of the two only, in order.
    pub fn symmetric_difference<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a K> {
        self.0.changes(&other.0).into_iter().map(|(key, ..)| key)
    }
}

impl<K: Ord> Default for ChunkedSet<K> {
    fn default() -> Self {
        ChunkedSet(Chunked::default())
    }
}

impl<K: Ord + Clone> FromIterator<K> for ChunkedSet<K> {
    fn from_iter<I: IntoIterator<Item = K>>(keys: I) -> Self {
        ChunkedSet(keys.into_iter().map(|key| (key, ())).collect())
    }
}

impl<K: Ord + Clone, const N: usize> From<[K; N]> for ChunkedSet<K> {
    fn from(keys: [K; N]) -> Self {
        keys.into_iter().collect()
    }
}

impl<K: Ord + fmt::Debug> fmt::Debug for ChunkedSet<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl<K: Ord + Serialize> Serialize for ChunkedSet<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.keys())
    }
}

impl<'de, K: Ord + Clone + Deserialize<'de>> Deserialize<'de> for ChunkedSet<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::deserialize(deserializer)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    type Model = BTreeMap<u32, u32>;

    fn differences(before: &Model, after: &Model) -> Vec<(u32, Option<u32>, Option<u32>)> {
        let mut keys: Vec<u32> = before.keys().chain(after.keys()).copied().collect();
        keys.sort_unstable();
        keys.dedup();
        let pairs = keys.into_iter().map(|key| (key, before.get(&key).copied(), after.get(&key).copied()));
        pairs.filter(|(_, before, after)| before != after).collect()
    }

    /// Beside a map of the standard library, through random changes, with earlier versions kept.
    #[test]
    fn it_is_an_ordered_map_of_which_versions_can_be_kept() {
        for seed in 0..12 {
            let mut random = StdRng::seed_from_u64(seed);
            let (mut map, mut model) = (Chunked::default(), Model::new());
            let mut kept: Vec<(Chunked<u32, u32>, Model)> = vec![(map.clone(), model.clone())];
            // Few keys, so that chunks also shrink and go; or many.
            let range = [40, 300, 3000][seed as usize % 3];
            let shrinks = seed % 2 == 0;
            for step in 0..1500 {
                let (key, value) = (random.random_range(0..range), random.random_range(0..5));
                if random.random_range(0..10) < if shrinks && step > 700 { 8 } else { 3 } {
                    assert_eq!(map.remove(&key), model.remove(&key));
                } else {
                    assert_eq!(map.insert(key, value), model.insert(key, value));
                }
                if random.random_range(0..300) == 0 {
                    kept.push((map.clone(), model.clone()));
                }
            }
            kept.push((map, model));
            for (map, model) in &kept {
                assert_eq!(map.len(), model.len());
                assert!(map.iter().eq(model));
                assert_eq!(map.last_key_value(), model.last_key_value());
                assert!(map.chunks.iter().all(|chunk| !chunk.is_empty() && chunk.len() <= MOST));
                for key in (0..range + 1).step_by(17) {
                    assert_eq!(map.get(&key), model.get(&key));
                    assert!(map.from(&key).eq(model.range(key..)));
                }
            }
            for (before, model_before) in &kept {
                for (after, model_after) in &kept {
                    let changes = before.changes(after).into_iter();
                    let changes = changes.map(|(key, before, after)| (*key, before.copied(), after.copied()));
                    assert_eq!(changes.collect::<Vec<_>>(), differences(model_before, model_after));
                    assert_eq!(before == after, model_before == model_after);
                }
            }
        }
    }

    #[test]
    fn it_comes_back_from_json() {
        let map: Chunked<(u8, bool), String> = (0..200).map(|n| ((n, n % 2 == 0), n.to_string())).collect();
        let text = serde_json::to_string(&map).unwrap();
        assert!(text.starts_with(r#"[[[0,true],"0"],[[1,false],"1"]"#), "{text}");
        assert_eq!(serde_json::from_str::<Chunked<(u8, bool), String>>(&text).unwrap(), map);
    }
}
