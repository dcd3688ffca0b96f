//! The tables that the server makes, laid out as kubectl does: columns three blanks apart.

use serde_json::Value;

use super::tabs::{pad, width};
use crate::object::kind::KindRef;

/// kubectl's least column width, padding included, and the padding.
const MIN_WIDTH: usize = 6;
const PADDING: usize = 3;

/// What columns there are, beside the server's.
#[derive(Debug, Clone, Default)]
pub struct Style {
    /// The server's columns of lesser priority too.
    pub wide: bool,
    pub headings: bool,
    /// A first column NAMESPACE.
    pub namespaces: bool,
    /// `pod/web-1` and not `web-1`.
    pub kinds: bool,
    /// A last column LABELS.
    pub labels: bool,
    /// A column for each of these labels.
    pub label_columns: Vec<String>,
}

/// Prints the tables of one kind; what comes later keeps the columns of what came before, which a watch needs.
#[derive(Debug)]
pub struct Printer {
    style: Style,
    widths: Vec<usize>,
    columns: Vec<Column>,
}

#[derive(Debug)]
struct Column {
    heading: String,
    shown: bool,
}

impl Printer {
    pub fn new(style: Style) -> Self {
        Printer { style, widths: Vec::new(), columns: Vec::new() }
    }

    /// Has it printed nothing so far, so that headings come next?
    pub fn is_new(&self) -> bool {
        self.columns.is_empty()
    }

    /// The text of one `Table`, whose first comes with headings. The events of a watch leave the column definitions
    /// out.
    pub fn print(&mut self, table: &Value, kind: KindRef) -> String {
        let array = |field: &str| table.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let mut lines: Vec<Vec<String>> = Vec::new();
        let definitions = array("columnDefinitions");
        if self.columns.is_empty() && !definitions.is_empty() {
            self.columns = definitions.iter().map(|d| self.column(d)).collect();
            if self.style.headings {
                lines.push(self.headings());
            }
        }
        lines.extend(array("rows").iter().map(|row| self.row(row, kind)));
        self.lay_out(&lines)
    }

    fn column(&self, definition: &Value) -> Column {
        let heading = definition.get("name").and_then(Value::as_str).unwrap_or_default().to_uppercase();
        let priority = definition.get("priority").and_then(Value::as_i64).unwrap_or(0);
        Column { heading, shown: self.style.wide || priority == 0 }
    }

    fn headings(&self) -> Vec<String> {
        let mut cells: Vec<String> = self.style.namespaces.then(|| "NAMESPACE".to_string()).into_iter().collect();
        cells.extend(self.columns.iter().filter(|c| c.shown).map(|c| c.heading.clone()));
        let label = |name: &String| name.rsplit('/').next().unwrap_or_default().to_uppercase();
        cells.extend(self.style.label_columns.iter().map(label));
        cells.extend(self.style.labels.then(|| "LABELS".to_string()));
        cells
    }

    fn row(&self, row: &Value, kind: KindRef) -> Vec<String> {
        let metadata = row.pointer("/object/metadata");
        let meta = |field: &str| metadata.and_then(|m| m.get(field));
        let mut cells = Vec::new();
        if self.style.namespaces {
            cells.push(meta("namespace").and_then(Value::as_str).unwrap_or_default().to_string());
        }
        let values = row.get("cells").and_then(Value::as_array).into_iter().flatten();
        for (at, (value, column)) in values.zip(&self.columns).enumerate() {
            if !column.shown {
                continue;
            }
            let text = cell(value);
            cells.push(if at == 0 && self.style.kinds { format!("{}/{text}", kind.singular_resource()) } else { text });
        }
        let labels = meta("labels").and_then(Value::as_object);
        for name in &self.style.label_columns {
            cells.push(labels.and_then(|l| l.get(name)).and_then(Value::as_str).unwrap_or_default().to_string());
        }
        if self.style.labels {
            let all: Vec<String> = labels.into_iter().flatten().map(|(k, v)| format!("{k}={}", cell(v))).collect();
            cells.push(if all.is_empty() { "<none>".to_string() } else { all.join(",") });
        }
        cells
    }

    fn lay_out(&mut self, lines: &[Vec<String>]) -> String {
        for line in lines {
            for (at, cell) in line.iter().enumerate() {
                let wanted = (width(cell) + PADDING).max(MIN_WIDTH);
                match self.widths.get_mut(at) {
                    Some(known) => *known = wanted.max(*known),
                    None => self.widths.push(wanted),
                }
            }
        }
        let mut text = String::new();
        for line in lines {
            for (at, cell) in line.iter().enumerate() {
                text.push_str(cell);
                if at + 1 < line.len() {
                    pad(&mut text, self.widths.get(at).map_or(0, |w| w.saturating_sub(width(cell))));
                }
            }
            text.push('\n');
        }
        text
    }
}

/// A cell is one line; of a longer text the first is shown.
fn cell(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Null => "<none>".into(),
        other => other.to_string(),
    };
    match text.split_once('\n') {
        Some((first, _)) => format!("{first}..."),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::kind;
    use serde_json::json;

    fn table(rows: &[(&str, &str, &str)]) -> Value {
        let row = |(name, ready, ip): &(&str, &str, &str)| json!({"cells": [name, ready, ip], "object": {"metadata": {"name": name, "namespace": "default", "labels": {"app": "web", "x.io/tier": "a"}}}});
        json!({
            "columnDefinitions": [{"name": "Name"}, {"name": "Ready"}, {"name": "IP", "priority": 1}],
            "rows": rows.iter().map(row).collect::<Vec<_>>(),
        })
    }

    fn print(style: Style) -> String {
        Printer::new(style).print(&table(&[("web-1", "1/1", "10.244.1.2"), ("b", "0/1", "<none>")]), &kind::POD)
    }

    #[test]
    fn columns_as_kubectl_lays_them_out() {
        let style = Style { headings: true, ..Style::default() };
        assert_eq!(print(style.clone()), "NAME    READY\nweb-1   1/1\nb       0/1\n");
        assert_eq!(
            print(Style { wide: true, namespaces: true, ..style.clone() }),
            "NAMESPACE   NAME    READY   IP\ndefault     web-1   1/1     10.244.1.2\ndefault     b       0/1     <none>\n"
        );
        assert_eq!(
            print(Style { kinds: true, labels: true, label_columns: vec!["x.io/tier".into()], ..style }),
            "NAME        READY   TIER   LABELS\npod/web-1   1/1     a      app=web,x.io/tier=a\npod/b       0/1     a      app=web,x.io/tier=a\n"
        );
        assert_eq!(print(Style::default()), "web-1   1/1\nb       0/1\n");
    }

    #[test]
    fn a_watch_keeps_its_columns() {
        let mut printer = Printer::new(Style { headings: true, ..Style::default() });
        printer.print(&table(&[("a-longer-name", "1/1", "")]), &kind::POD);
        let event = json!({"columnDefinitions": null, "rows": [{"cells": ["web", "0/1", ""], "object": {}}]});
        assert_eq!(printer.print(&event, &kind::POD), "web             0/1\n");
    }
}
