//! The query part of a URL.

use super::status::ApiError;
use crate::object::selector::{FieldSelector, Selector};

/// Decoded `name=value` pairs in their order; a name may stand more than once.
#[derive(Debug, Clone, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    pub fn parse(text: &str) -> Self {
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent_decode(name, true), percent_decode(value, true))
        };
        Query(text.split('&').filter(|p| !p.is_empty()).map(pair).collect())
    }

    /// The first value of `name`; an empty one counts as not given.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str()).filter(|v| !v.is_empty())
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// `true`, `1`, and the name without a value, as the API server reads them.
    pub fn flag(&self, name: &str) -> bool {
        let value = self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
        value.is_some_and(|v| !matches!(v.to_ascii_lowercase().as_str(), "false" | "0"))
    }

    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, ApiError> {
        let parse = |v: &str| {
            v.parse().map_err(|_| ApiError::bad_request(format!("parameter {name}: \"{v}\" is no number it can take")))
        };
        self.get(name).map(parse).transpose()
    }

    /// `dryRun=All`.
    pub fn dry_run(&self) -> Result<bool, ApiError> {
        match self.get("dryRun") {
            None => Ok(false),
            Some("All") => Ok(true),
            Some(other) => {
                Err(ApiError::bad_request(format!("dryRun: Unsupported value: \"{other}\": supported values: \"All\"")))
            }
        }
    }
}

/// What narrows a list or a watch to some of a kind's objects.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// `None`: all namespaces, or a cluster-scoped kind.
    pub namespace: Option<String>,
    pub labels: Selector,
    pub fields: FieldSelector,
}

impl Filter {
    pub fn new(namespace: Option<&str>, query: &Query) -> Result<Self, ApiError> {
        let bad = |error: crate::object::selector::SelectorError| ApiError::bad_request(error.to_string());
        Ok(Filter {
            namespace: namespace.map(str::to_string),
            labels: query.get("labelSelector").map(Selector::parse).transpose().map_err(bad)?.unwrap_or_default(),
            fields: query.get("fieldSelector").map(FieldSelector::parse).transpose().map_err(bad)?.unwrap_or_default(),
        })
    }

    /// Whether it takes in the objects of `namespace`; `None` when that depends on the object.
    pub fn takes_in(&self, namespace: &str) -> Option<bool> {
        let is_all = self.labels.is_empty() && self.fields.is_empty();
        is_all.then(|| self.namespace.as_ref().is_none_or(|wanted| wanted == namespace))
    }

    pub fn matches(&self, object: &crate::object::Object) -> bool {
        self.namespace.as_ref().is_none_or(|n| n == object.namespace())
            && self.labels.matches(object.labels())
            && self.fields.matches(object)
    }
}

/// Undoes percent encoding; what is no valid escape stays as it is, and bytes that are no UTF-8 become U+FFFD.
pub fn percent_decode(text: &str, plus_is_space: bool) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escaped = (byte == b'%').then(|| bytes.get(at + 1..at + 3)).flatten();
        let escaped = escaped.filter(|hex| hex.iter().all(u8::is_ascii_hexdigit));
        let value = escaped.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match (byte, value) {
            (_, Some(value)) => {
                decoded.push(value);
                at += 2;
            }
            (b'+', None) if plus_is_space => decoded.push(b' '),
            (other, None) => decoded.push(other),
        }
        at += 1;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_and_kept_in_order() {
        let query = Query::parse("command=sh&command=-c&command=echo+a%26b%20%zz%c3%a9&stdin=true&tty=0&x=");
        assert_eq!(query.all("command").collect::<Vec<_>>(), ["sh", "-c", "echo a&b %zzé"]);
        assert!(query.flag("stdin") && !query.flag("tty") && !query.flag("nothing"));
        assert_eq!(query.get("x"), None);
        assert!(Query::parse("limit=many").number::<u32>("limit").is_err());
    }
}
