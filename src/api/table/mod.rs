//! Objects as rows of cells (`meta.k8s.io/v1 Table`): what `kubectl get` prints.
//!
//! `columns` is the table of tables; the other files make the cells of their kinds.

pub mod cells;
mod columns;
pub mod duration;
mod nets;
mod nodes;
mod others;
mod pods;
mod services;
mod storage;
mod workloads;

use serde_json::{Value, json};

use crate::object::{KindRef, Object};
use columns::Columns;

/// What stands beside the cells of each row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Include {
    Nothing,
    Metadata,
    Object,
}

/// A table of `objects`; without the columns' definitions unless `headers`.
pub fn table<'a>(kind: KindRef, objects: impl Iterator<Item = &'a Object>, include: Include, headers: bool) -> Value {
    let columns = columns::of(kind);
    let now = jiff::Timestamp::now();
    let rows: Vec<Value> = objects.map(|object| row(columns, object, include, now)).collect();
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {},
        "columnDefinitions": if headers { columns.definitions() } else { json!([]) }, "rows": rows})
}

fn row(columns: &Columns, object: &Object, include: Include, now: jiff::Timestamp) -> Value {
    let mut row = json!({"cells": (columns.cells)(object, now)});
    match include {
        Include::Nothing => {}
        Include::Metadata => row["object"] = super::respond::partial(object),
        Include::Object => row["object"] = object.to_value(),
    }
    row
}

/// A watch's bookmark in the form of a table without rows.
pub fn bookmark(kind: KindRef, metadata: &Value, headers: bool) -> Value {
    let mut table = table(kind, std::iter::empty(), Include::Nothing, headers);
    table["metadata"] = json!({"resourceVersion": metadata.get("resourceVersion")});
    // What marks the end of the initial events is read off a row's object.
    let object = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata});
    let cells: Vec<Value> = columns::of(kind).columns.iter().map(|_| json!("")).collect();
    table["rows"] = json!([{"cells": cells, "object": object}]);
    table
}

#[cfg(test)]
mod tests;
