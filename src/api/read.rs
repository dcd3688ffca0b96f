//! Reading objects: get and list.

use std::sync::{Arc, PoisonError};

use hyper::{Response, StatusCode};

use super::body::Body;
use super::custom;
use super::page::Token;
use super::query::Filter;
use super::respond::{self, Form, ListMeta};
use super::route::Target;
use super::serve::Call;
use super::status::ApiError;
use super::{Api, selectable, watch};
use crate::object::{Key, Object, Snapshot};

impl Api {
    pub(super) fn find(&self, target: &Target) -> Result<Arc<Object>, ApiError> {
        let name = target.name.as_deref().unwrap_or("");
        let key = Key::new(target.kind, target.namespace(), name);
        self.store.get(&key).ok_or_else(|| ApiError::not_found(target.kind, name))
    }
}

pub fn get(target: Target, call: Call) -> Result<Response<Body>, ApiError> {
    let form = Form::wanted(&call)?;
    let object = call.api.find(&target)?;
    Ok(respond::object(&form, StatusCode::OK, &custom::served_as(target.kind, &object)))
}

pub fn list_or_watch(target: Target, call: Call) -> Result<Response<Body>, ApiError> {
    if call.query.flag("watch") { watch::start(target, call) } else { list(target, call) }
}

fn list(target: Target, call: Call) -> Result<Response<Body>, ApiError> {
    let form = Form::wanted(&call)?;
    let filter = Filter::new(target.namespace.as_deref(), &call.query)?;
    selectable::check(call.definition.as_deref(), target.kind, &filter)?;
    let limit = call.query.number::<usize>("limit")?.filter(|limit| *limit > 0);
    let token = call.query.get("continue").map(Token::decode).transpose()?;
    let snapshot = at_moment(&call, token.as_ref())?;

    let after = token.as_ref().map(|t| (t.namespace.as_str(), t.name.as_str()));
    let mut matching = select(&snapshot, &target, &filter)
        .skip_while(|object| after.is_some_and(|after| (object.namespace(), object.name()) <= after));
    let shown = matching.by_ref().take(limit.unwrap_or(usize::MAX));
    let objects: Vec<Arc<Object>> = shown.map(|object| custom::served_as(target.kind, object)).collect();
    let mut meta = ListMeta { resource_version: snapshot.resource_version(), next: None };
    let remaining = if limit.is_some() { matching.count() } else { 0 };
    if remaining > 0
        && let Some(last) = objects.last()
    {
        let (namespace, name) = (last.namespace().to_string(), last.name().to_string());
        let next = Token { resource_version: meta.resource_version, namespace, name };
        meta.next = Some((next.encode(), remaining));
        call.api.pages.lock().unwrap_or_else(PoisonError::into_inner).keep(&snapshot);
    }
    respond::list(&form, target.kind, &objects, &meta)
}

/// The objects in `snapshot` that a target and filter name, in order.
pub fn select<'a>(
    snapshot: &'a Snapshot,
    target: &'a Target,
    filter: &'a Filter,
) -> Box<dyn Iterator<Item = &'a Arc<Object>> + Send + 'a> {
    let found: Box<dyn Iterator<Item = &Arc<Object>> + Send> = match target.namespace.as_deref() {
        Some(namespace) => Box::new(snapshot.list_in(target.kind, namespace)),
        None => Box::new(snapshot.list(target.kind)),
    };
    Box::new(found.filter(|object| filter.matches(object)))
}

/// The moment that a list is to show: the one its first page showed, or now.
fn at_moment(call: &Call, token: Option<&Token>) -> Result<Snapshot, ApiError> {
    let kept = |version| call.api.pages.lock().unwrap_or_else(PoisonError::into_inner).at(version);
    let now = call.api.store.snapshot();
    if let Some(token) = token {
        if token.resource_version == now.resource_version() {
            return Ok(now);
        }
        return kept(token.resource_version).ok_or_else(|| {
            ApiError::expired(
                "The provided continue parameter is too old to display a consistent list result. You must start a new \
                 list without the continue parameter.",
            )
        });
    }
    let wanted = call.query.number::<u64>("resourceVersion")?.unwrap_or(0);
    if wanted > now.resource_version() {
        let message = format!("Too large resource version: {wanted}, current: {}", now.resource_version());
        return Err(ApiError::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", message));
    }
    if call.query.get("resourceVersionMatch") == Some("Exact") && wanted != 0 && wanted != now.resource_version() {
        let gone = || ApiError::expired(format!("The resourceVersion for the provided list is too old: {wanted}"));
        return kept(wanted).ok_or_else(gone);
    }
    Ok(now)
}
