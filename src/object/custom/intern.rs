//! Entries of the table of kinds for custom kinds. Keys of objects point at them for as long as the program runs, so
//! that an entry is made once and never freed; a definition that is made again finds the one it had.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::object::kind::{Custom, Kind, KindRef};

/// How many entries there may ever be: far more than clusters have, and some megabytes at most.
pub const MOST: usize = 10_000;

/// What makes an entry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Names {
    pub group: String,
    pub version: String,
    pub kind: String,
    pub list_kind: String,
    pub plural: String,
    pub singular: String,
    pub short: Vec<String>,
    pub categories: Vec<String>,
    pub namespaced: bool,
    pub status: bool,
    pub scale: bool,
}

static ENTRIES: Mutex<BTreeMap<Names, KindRef>> = Mutex::new(BTreeMap::new());

/// The entry for these names; `None` when there are too many.
pub(super) fn intern(names: &Names) -> Option<KindRef> {
    // An entry is whole or absent, whoever panicked while holding the lock.
    let mut entries = ENTRIES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = entries.get(names) {
        return Some(known);
    }
    if entries.len() >= MOST {
        return None;
    }
    let kind: KindRef = Box::leak(Box::new(Kind {
        group: text(&names.group),
        version: text(&names.version),
        kind: text(&names.kind),
        plural: text(&names.plural),
        short: list(&names.short),
        namespaced: names.namespaced,
        in_all: names.categories.iter().any(|category| category == "all"),
        acted_on: false,
        custom: Some(Custom {
            singular: text(&names.singular),
            list_kind: text(&names.list_kind),
            categories: list(&names.categories),
            status: names.status,
            scale: names.scale,
        }),
    }));
    entries.insert(names.clone(), kind);
    Some(kind)
}

fn text(text: &str) -> &'static str {
    Box::leak(text.to_string().into_boxed_str())
}

fn list(list: &[String]) -> &'static [&'static str] {
    Box::leak(list.iter().map(|one| text(one)).collect::<Vec<_>>().into_boxed_slice())
}
