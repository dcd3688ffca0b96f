//! Paths of the API: `/api/v1/namespaces/default/pods/web`, and what stands behind the question mark.

use std::fmt::Write as _;

use crate::object::kind::KindRef;

/// `namespace` is ignored for cluster-scoped kinds; `None` is all namespaces.
pub fn collection(kind: KindRef, namespace: Option<&str>) -> String {
    let root = if kind.group.is_empty() { "/api" } else { "/apis/" };
    let version = kind.version;
    match namespace {
        Some(namespace) if kind.namespaced => {
            format!("{root}{}/{version}/namespaces/{}/{}", kind.group, escape(namespace), kind.plural)
        }
        _ => format!("{root}{}/{version}/{}", kind.group, kind.plural),
    }
}

pub fn object(kind: KindRef, namespace: &str, name: &str) -> String {
    format!("{}/{}", collection(kind, Some(namespace)), escape(name))
}

/// The parameters of a request, in the order they were added.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query(Vec<(&'static str, String)>);

impl Query {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.0.push((name, value.into()));
        self
    }

    /// Adds nothing when `value` is empty, which is what an option that was not given is.
    pub fn with_some(self, name: &'static str, value: Option<&str>) -> Self {
        match value {
            Some(value) if !value.is_empty() => self.with(name, value),
            _ => self,
        }
    }

    /// Only the object of this name.
    pub fn named(self, name: &str) -> Self {
        self.with("fieldSelector", format!("metadata.name={name}"))
    }

    pub fn on(&self, path: &str) -> String {
        let mut text = path.to_string();
        for (at, (name, value)) in self.0.iter().enumerate() {
            let _ = write!(text, "{}{name}={}", if at == 0 { '?' } else { '&' }, escape(value));
        }
        text
    }
}

/// Percent-encodes all but what RFC 3986 calls unreserved.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::kind;

    #[test]
    fn paths_are_kubernetes_own() {
        assert_eq!(object(&kind::POD, "default", "web-1"), "/api/v1/namespaces/default/pods/web-1");
        assert_eq!(object(&kind::NODE, "default", "w1-k8s"), "/api/v1/nodes/w1-k8s");
        assert_eq!(collection(&kind::DEPLOYMENT, None), "/apis/apps/v1/deployments");
        assert_eq!(collection(&kind::DEPLOYMENT, Some("a/b")), "/apis/apps/v1/namespaces/a%2Fb/deployments");
        let query =
            Query::new().with("watch", "true").with_some("labelSelector", Some("a in (b, c)")).with_some("x", None);
        assert_eq!(query.on("/p"), "/p?watch=true&labelSelector=a%20in%20%28b%2C%20c%29");
    }
}
