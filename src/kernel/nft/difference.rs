//! What differs between two ordered maps.

use std::cmp::Ordering;
use std::collections::BTreeMap;

/// The keys whose values differ, in order, each with the value before and after; `None` where it has none. One pass
/// over both maps.
pub fn difference<'key, 'before: 'key, 'after: 'key, K: Ord, V: PartialEq>(
    before: &'before BTreeMap<K, V>,
    after: &'after BTreeMap<K, V>,
) -> impl Iterator<Item = (&'key K, Option<&'before V>, Option<&'after V>)> {
    let (mut before, mut after) = (before.iter().peekable(), after.iter().peekable());
    std::iter::from_fn(move || {
        loop {
            let order = match (before.peek(), after.peek()) {
                (None, None) => return None,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((old, _)), Some((new, _))) => old.cmp(new),
            };
            match order {
                Ordering::Less => return before.next().map(|(key, old)| (key, Some(old), None)),
                Ordering::Greater => return after.next().map(|(key, new)| (key, None, Some(new))),
                Ordering::Equal => {
                    let (_, old) = before.next()?;
                    let (key, new) = after.next()?;
                    if old != new {
                        return Some((key, Some(old), Some(new)));
                    }
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yields_what_came_went_and_changed() {
        let before = BTreeMap::from([(1, 'a'), (2, 'b'), (4, 'd'), (5, 'e')]);
        let after = BTreeMap::from([(2, 'b'), (3, 'c'), (4, 'D'), (6, 'f')]);
        let found: Vec<_> = difference(&before, &after).collect();
        let expected = [
            (&1, Some(&'a'), None),
            (&3, None, Some(&'c')),
            (&4, Some(&'d'), Some(&'D')),
            (&5, Some(&'e'), None),
            (&6, None, Some(&'f')),
        ];
        assert_eq!(found, expected);
        assert_eq!(difference(&before, &before).count(), 0);
    }
}
