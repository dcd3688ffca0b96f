//! The text of a description: lines whose cells are parted by TABs, and the fields that all objects have.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::cli::tabs;

/// Lines in the making.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
}

/// Stands for a TAB that parts no columns: a character that Unicode gives to nobody.
const TAB: &str = "\u{f0009}";

/// A longer value of an annotation is cut.
const LONGEST_ANNOTATION: usize = 140;

impl Page {
    /// A line, two blanks further in a level.
    pub fn line(&mut self, level: usize, text: &str) {
        tabs::pad(&mut self.text, level * 2);
        self.text.push_str(text);
        self.text.push('\n');
    }

    /// `NAME:<TAB>VALUE`
    pub fn field(&mut self, level: usize, name: &str, value: impl AsRef<str>) {
        self.line(level, &format!("{name}:\t{}", value.as_ref()));
    }

    /// Text of a user's own, of any number of lines.
    pub fn verbatim(&mut self, text: &str) {
        self.text.push_str(&text.replace('\t', TAB));
        self.text.push('\n');
    }

    pub fn blank(&mut self) {
        self.text.push('\n');
    }

    /// One value a line, all in the second column.
    pub fn list(&mut self, level: usize, name: &str, values: &[String]) {
        let Some((first, rest)) = values.split_first() else { return self.field(level, name, "<none>") };
        self.field(level, name, first);
        for value in rest {
            self.line(0, &format!("\t{value}"));
        }
    }

    pub fn labels(&mut self, level: usize, object: &Value) {
        self.list(level, "Labels", &pairs(object.pointer("/metadata/labels"), "="));
    }

    pub fn annotations(&mut self, level: usize, object: &Value) {
        let mut lines = pairs(object.pointer("/metadata/annotations"), ": ");
        lines.retain(|line| !line.starts_with(LAST_APPLIED));
        for line in &mut lines {
            if line.chars().count() > LONGEST_ANNOTATION {
                *line = line.chars().take(LONGEST_ANNOTATION).collect::<String>() + "...";
            }
            *line = line.replace('\n', "\\n");
        }
        self.list(level, "Annotations", &lines);
    }

    pub fn name_and_namespace(&mut self, object: &Value) {
        self.field(0, "Name", text(object, "/metadata/name"));
        self.field(0, "Namespace", text(object, "/metadata/namespace"));
    }

    pub fn text(self) -> String {
        tabs::align(&self.text, 0, 2).replace(TAB, "\t")
    }

    /// With its TABs, as kubectl prints the template of a revision.
    pub fn unaligned(self) -> String {
        self.text.replace(TAB, "\t")
    }
}

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// `a=b` for each entry of a map, in the order of the names.
pub fn pairs(map: Option<&Value>, separator: &str) -> Vec<String> {
    let entries = map.and_then(Value::as_object).into_iter().flatten();
    entries.map(|(k, v)| format!("{k}{separator}{}", crate::cli::jsonpath::to_text(v))).collect()
}

/// `a=b,c=d`, or `<none>`.
pub fn joined(map: Option<&Value>) -> String {
    let pairs = pairs(map, "=");
    if pairs.is_empty() { "<none>".to_string() } else { pairs.join(",") }
}

/// Empty when there is no such text.
pub fn text<'v>(value: &'v Value, at: &str) -> &'v str {
    value.pointer(at).and_then(Value::as_str).unwrap_or_default()
}

/// A text, a number or a truth, as it is printed.
pub fn shown(value: &Value, at: &str) -> String {
    value.pointer(at).map(crate::cli::jsonpath::to_text).unwrap_or_default()
}

pub fn number(value: &Value, at: &str) -> i64 {
    value.pointer(at).and_then(Value::as_i64).unwrap_or(0)
}

pub fn list<'v>(value: &'v Value, at: &str) -> &'v [Value] {
    value.pointer(at).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

pub fn or_none(text: &str) -> &str {
    if text.is_empty() { "<none>" } else { text }
}

/// `Mon, 02 Jan 2006 15:04:05 +0900`, in the user's own zone.
pub fn time(text: &str) -> String {
    match text.parse::<Timestamp>() {
        Ok(time) => time.to_zoned(TimeZone::system()).strftime("%a, %d %b %Y %H:%M:%S %z").to_string(),
        Err(_) => text.to_string(),
    }
}

/// How long ago, as kubectl's AGE column has it.
pub fn age(text: &str) -> String {
    match text.parse::<Timestamp>() {
        Ok(time) => duration(Timestamp::now().as_second().saturating_sub(time.as_second())),
        Err(_) => "<unknown>".to_string(),
    }
}

/// A number of seconds, in the two units that matter.
pub fn duration(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    let two = |big: i64, unit: &str, small: i64, small_unit: &str| {
        let mut text = format!("{big}{unit}");
        if small > 0 {
            let _ = write!(text, "{small}{small_unit}");
        }
        text
    };
    match () {
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => two(minutes, "m", seconds % 60, "s"),
        () if hours < 3 => format!("{minutes}m"),
        () if hours < 8 => two(hours, "h", minutes % 60, "m"),
        () if hours < 48 => format!("{hours}h"),
        () if days < 8 => two(days, "d", hours % 24, "h"),
        () if days < 2 * 365 => format!("{days}d"),
        () if days < 8 * 365 => two(days / 365, "y", days % 365, "d"),
        () => format!("{}y", days / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ages_as_kubectl_writes_them() {
        for (seconds, text) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (599, "9m59s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (18_060, "5h1m"),
            (172_799, "47h"),
            (176_400, "2d1h"),
            (864_000, "10d"),
            (86_400 * 365 * 3, "3y"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn fields_stand_in_columns() {
        let object = json!({"metadata": {"name": "web", "namespace": "default", "labels": {"a": "1", "b": "2"},
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}}});
        let mut page = Page::default();
        page.name_and_namespace(&object);
        page.labels(0, &object);
        page.annotations(0, &object);
        assert_eq!(
            page.text(),
            "Name:         web\nNamespace:    default\nLabels:       a=1\n              b=2\nAnnotations:  <none>\n"
        );
    }
}
