//! The custom kinds that the lab serves. They are asked for at the first word that names no built-in kind, so that no
//! other command waits for the answer.

use std::sync::OnceLock;

use super::client::Client;
use super::path::Query;
use crate::object::kind::{self, CUSTOM_RESOURCE_DEFINITION, KindRef};
use crate::object::{Object, custom};

/// The lab that this command is for.
static SERVER: OnceLock<Client> = OnceLock::new();
static KINDS: OnceLock<Vec<KindRef>> = OnceLock::new();

/// Says whose kinds are meant from here on.
pub fn of(client: &Client) {
    let _ = SERVER.set(client.clone());
}

/// Every custom kind that the lab serves, in all its versions; none when it cannot be asked.
fn kinds() -> &'static [KindRef] {
    KINDS.get_or_init(|| SERVER.get().cloned().map(ask).unwrap_or_default())
}

/// The custom kinds of a lab. Words are looked up where nothing can be waited for, so that a thread of its own asks.
pub fn ask(client: Client) -> Vec<KindRef> {
    let asking = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        let crds = runtime.block_on(client.items(&CUSTOM_RESOURCE_DEFINITION, None, &Query::default())).ok()?;
        Some(crds.into_iter().filter_map(Object::from_value).flat_map(|crd| served(&crd)).collect())
    });
    asking.join().ok().flatten().unwrap_or_default()
}

/// The kinds that the API serves because of a definition, the version it stores first.
fn served(crd: &Object) -> Vec<KindRef> {
    let Some(definition) = custom::definition(crd).filter(|definition| definition.is_served()) else {
        return Vec::new();
    };
    let mut versions: Vec<_> = definition.versions.iter().filter(|version| version.served).collect();
    versions.sort_by_key(|version| (!version.storage, custom::version_order(version.kind.version)));
    versions.into_iter().map(|version| version.kind).collect()
}

/// The custom kind that a user means by `crontabs`, `ct`, `crontab.stable.example.com`.
pub fn by_word(word: &str) -> Option<KindRef> {
    let word = word.to_ascii_lowercase();
    let (name, group) = word.split_once('.').unwrap_or((&word, ""));
    kinds().iter().copied().find(|kind| kind.is_named(name, group))
}

/// The kind, built-in or custom, that is served under exactly this `apiVersion`.
pub fn by_api_version_kind(api_version: &str, name: &str) -> Option<KindRef> {
    let known = kind::by_api_version_kind(api_version, name);
    known.or_else(|| kinds().iter().copied().find(|kind| kind.kind == name && kind.api_version() == api_version))
}

/// Every custom kind, in one version each.
pub fn each_once() -> Vec<KindRef> {
    let mut found: Vec<KindRef> = Vec::new();
    for kind in kinds() {
        if !found.contains(kind) {
            found.push(kind);
        }
    }
    found
}
