//! Objects as rows of cells (`meta.k8s.io/v1 Table`): what `kubectl get` prints.
//!
//! `columns` is the table of tables; the other files make the cells of their kinds.

pub mod cells;
mod cluster;
mod columns;
mod custom;
pub mod duration;
mod nets;
mod nodes;
mod others;
mod pods;
mod services;
mod storage;
mod workloads;

use serde_json::{Value, json};

use crate::object::custom::{Definition, Version};
use crate::object::{KindRef, Object};

/// What stands beside the cells of each row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Include {
    Nothing,
    Metadata,
    Object,
}

/// The columns of a kind.
#[derive(Clone, Copy)]
pub enum Columns<'a> {
    BuiltIn(&'static columns::Columns),
    Custom(&'a Version),
}

impl<'a> Columns<'a> {
    /// `definition`: the one of a custom kind.
    pub fn of(kind: KindRef, definition: Option<&'a Definition>) -> Self {
        match definition.and_then(|definition| definition.version_of(kind)) {
            Some(version) => Columns::Custom(version),
            None => Columns::BuiltIn(columns::of(kind)),
        }
    }

    fn definitions(self) -> Value {
        match self {
            Columns::BuiltIn(columns) => columns.definitions(),
            Columns::Custom(version) => custom::definitions(version),
        }
    }

    fn cells(self, object: &Object, now: jiff::Timestamp) -> Vec<Value> {
        match self {
            Columns::BuiltIn(columns) => (columns.cells)(object, now),
            Columns::Custom(version) => custom::cells(version, object, now),
        }
    }
}

/// A table of `objects`; without the columns' definitions unless `headers`.
pub fn table<'a>(
    columns: Columns,
    objects: impl Iterator<Item = &'a Object>,
    include: Include,
    headers: bool,
) -> Value {
    let now = jiff::Timestamp::now();
    let rows: Vec<Value> = objects.map(|object| row(columns, object, include, now)).collect();
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {},
        "columnDefinitions": if headers { columns.definitions() } else { json!([]) }, "rows": rows})
}

fn row(columns: Columns, object: &Object, include: Include, now: jiff::Timestamp) -> Value {
    let mut row = json!({"cells": columns.cells(object, now)});
    match include {
        Include::Nothing => {}
        Include::Metadata => row["object"] = super::respond::partial(object),
        Include::Object => row["object"] = object.to_value(),
    }
    row
}

/// A watch's bookmark in the form of a table without rows.
pub fn bookmark(columns: Columns, metadata: &Value, headers: bool) -> Value {
    let mut table = table(columns, std::iter::empty(), Include::Nothing, headers);
    table["metadata"] = json!({"resourceVersion": metadata.get("resourceVersion")});
    // What marks the end of the initial events is read off a row's object.
    let object = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata});
    let count = columns.definitions().as_array().map_or(0, Vec::len);
    let cells = vec![json!(""); count];
    table["rows"] = json!([{"cells": cells, "object": object}]);
    table
}

#[cfg(test)]
mod tests;
