//! The custom kinds that the lab serves. They are asked for at the first word that names no built-in kind, so that no
//! other command waits for the answer.

use std::sync::OnceLock;

use super::Failure;
use super::client::Client;
use super::path::Query;
use crate::object::kind::{self, CUSTOM_RESOURCE_DEFINITION, KindRef};
use crate::object::{Object, custom};

/// The lab that this command is for.
static SERVER: OnceLock<Client> = OnceLock::new();
static KINDS: OnceLock<Result<Vec<KindRef>, String>> = OnceLock::new();

/// Says whose kinds are meant from here on.
pub fn of(client: &Client) {
    let _ = SERVER.set(client.clone());
}

/// Every custom kind that the lab serves, in all its versions; or why it cannot be asked.
fn kinds() -> Result<&'static [KindRef], Failure> {
    let ask = || SERVER.get().cloned().map_or(Ok(Vec::new()), ask);
    KINDS.get_or_init(ask).as_deref().map_err(Failure::error)
}

/// The custom kinds of a lab. Words are looked up where nothing can be waited for, so that a thread of its own asks.
///
/// # Errors
/// What to tell the user who wanted one of them.
pub fn ask(client: Client) -> Result<Vec<KindRef>, String> {
    let asking = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
        let crds = runtime.block_on(client.items(&CUSTOM_RESOURCE_DEFINITION, None, &Query::default()));
        let crds = crds.map_err(|error| error.to_string())?;
        Ok(crds.into_iter().filter_map(Object::from_value).flat_map(|crd| served(&crd)).collect())
    });
    asking.join().unwrap_or_else(|_| Err("cannot ask the lab for its custom kinds".into()))
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
pub fn by_word(word: &str) -> Result<Option<KindRef>, Failure> {
    let word = word.to_ascii_lowercase();
    let (name, group) = word.split_once('.').unwrap_or((&word, ""));
    Ok(kinds()?.iter().copied().find(|kind| kind.is_named(name, group)))
}

/// The kind, built-in or custom, that is served under exactly this `apiVersion`.
pub fn by_api_version_kind(api_version: &str, name: &str) -> Option<KindRef> {
    let known = kind::by_api_version_kind(api_version, name);
    known.or_else(|| kinds().ok()?.iter().copied().find(|kind| kind.kind == name && kind.api_version() == api_version))
}

/// Every custom kind, in one version each.
pub fn each_once() -> Vec<KindRef> {
    let mut found: Vec<KindRef> = Vec::new();
    for kind in kinds().unwrap_or_default() {
        if !found.contains(kind) {
            found.push(kind);
        }
    }
    found
}
