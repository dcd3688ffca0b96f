//! From a path to what it names.

use super::custom;
use super::query::percent_decode;
use super::review::{self, Review};
use crate::object::kind::{self, KindRef};
use crate::store::Store;

#[derive(Debug, Clone, PartialEq)]
pub enum Route {
    /// `/healthz`, `/livez`, `/readyz` and what may stand below them.
    Health,
    Version,
    /// `/`
    Paths,
    /// `/api`
    CoreVersions,
    /// `/apis`
    Groups,
    /// `/apis/G`
    Group(String),
    /// `/api/v1`, `/apis/G/V`
    Resources {
        group: String,
        version: String,
    },
    /// Below `/openapi`.
    OpenApi(String),
    Objects(Target),
    /// `/apis/nslab.dev/v1alpha1/nodes/NAME/exec`
    NodeExec(String),
    LabStatus,
    LabApply,
    /// `/apis/nslab.dev/v1alpha1/dns-query`
    Resolve,
    Review(Review),
}

/// A kind's objects, one of them, or a part of one.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    pub kind: KindRef,
    pub namespace: Option<String>,
    pub name: Option<String>,
    pub subresource: Option<String>,
}

impl Target {
    pub fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or("")
    }
}

/// `None`: there is no such path. The store says which custom kinds there are.
pub fn route(path: &str, store: &Store) -> Option<Route> {
    let parts: Vec<String> = path.split('/').filter(|p| !p.is_empty()).map(|p| percent_decode(p, false)).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let lab = kind::LAB_GROUP;
    match parts.as_slice() {
        [] => Some(Route::Paths),
        ["healthz" | "livez" | "readyz", ..] => Some(Route::Health),
        ["version"] => Some(Route::Version),
        ["openapi", rest @ ..] => Some(Route::OpenApi(rest.join("/"))),
        ["api"] => Some(Route::CoreVersions),
        ["apis"] => Some(Route::Groups),
        ["apis", group, "v1alpha1", "nodes", node, "exec"] if *group == lab => Some(Route::NodeExec(node.to_string())),
        ["apis", group, "v1alpha1", "status"] if *group == lab => Some(Route::LabStatus),
        ["apis", group, "v1alpha1", "apply"] if *group == lab => Some(Route::LabApply),
        ["apis", group, "v1alpha1", "dns-query"] if *group == lab => Some(Route::Resolve),
        ["apis", group, version, plural] if let Some(review) = review::by_path(group, version, plural) => {
            Some(Route::Review(review))
        }
        ["apis", group, "v1", "namespaces", _, "localsubjectaccessreviews"] if *group == "authorization.k8s.io" => {
            Some(Route::Review(Review::SubjectAccess))
        }
        ["apis", group] => known_group(group, store).then(|| Route::Group(group.to_string())),
        ["api", version, rest @ ..] => resources("", version, rest, store),
        ["apis", group, version, rest @ ..] => resources(group, version, rest, store),
        _ => None,
    }
}

fn known_group(group: &str, store: &Store) -> bool {
    !group.is_empty() && custom::groups_and_versions(store).iter().any(|(known, _)| *known == group)
}

fn resources(group: &str, version: &str, rest: &[&str], store: &Store) -> Option<Route> {
    if rest.is_empty() {
        let is_known = || custom::groups_and_versions(store).contains(&(group, version));
        if (group, version) != ("", "v1") && !is_known() {
            return None;
        }
        return Some(Route::Resources { group: group.to_string(), version: version.to_string() });
    }
    let (namespace, rest) = match rest {
        // Below one namespace, but for what is the Namespace's own.
        ["namespaces", namespace, rest @ ..] if !matches!(rest, [] | ["status"] | ["finalize"]) => {
            (Some(namespace.to_string()), rest)
        }
        rest => (None, rest),
    };
    let (plural, name, subresource) = match rest {
        [plural] => (plural, None, None),
        [plural, name] => (plural, Some(name.to_string()), None),
        [plural, name, subresource] => (plural, Some(name.to_string()), Some(subresource.to_string())),
        _ => return None,
    };
    let kind = custom::by_resource(store, group, version, plural)?;
    // A namespaced object has no place outside a namespace, nor a cluster's object within one.
    let misplaced = kind.namespaced != namespace.is_some() && (namespace.is_some() || name.is_some());
    (!misplaced).then_some(Route::Objects(Target { kind, namespace, name, subresource }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(path: &str) -> Option<(&'static str, String)> {
        match route(path, &Store::in_memory())? {
            Route::Objects(t) => Some((
                t.kind.plural,
                format!("{:?} {:?} {:?}", t.namespace, t.name, t.subresource).replace("Some(", "(").replace('"', ""),
            )),
            _ => None,
        }
    }

    #[test]
    fn paths_name_kinds_namespaces_and_subresources() {
        for (path, expected) in [
            ("/api/v1/pods", Some(("pods", "None None None"))),
            ("/api/v1/namespaces/x/pods", Some(("pods", "(x) None None"))),
            ("/api/v1/namespaces/x/pods/web%2d1/log", Some(("pods", "(x) (web-1) (log)"))),
            ("/api/v1/namespaces/x", Some(("namespaces", "None (x) None"))),
            ("/api/v1/namespaces/x/finalize", Some(("namespaces", "None (x) (finalize)"))),
            ("/apis/apps/v1/namespaces/x/deployments/web/scale", Some(("deployments", "(x) (web) (scale)"))),
            ("/api/v1/nodes/w1", Some(("nodes", "None (w1) None"))),
            ("/api/v1/pods/web", None),
            ("/api/v1/namespaces/x/nodes", None),
            ("/apis/apps/v1beta1/deployments", None),
            ("/api/v1/deployments", None),
            ("/api/v1/namespaces/x/pods/a/log/more", None),
        ] {
            assert_eq!(target(path), expected.map(|(k, t)| (k, t.to_string())), "{path}");
        }
        assert_eq!(route("/apis/apps", &Store::in_memory()), Some(Route::Group("apps".into())));
        for (path, known) in [
            ("/api/v1", true),
            ("/apis/apps/v1", true),
            ("/apis/autoscaling/v1", true),
            ("/apis/authorization.k8s.io/v1", true),
            ("/api/v2", false),
            ("/apis/apps/v2", false),
        ] {
            assert_eq!(route(path, &Store::in_memory()).is_some(), known, "{path}");
        }
        assert_eq!(route("/apis/none", &Store::in_memory()), None);
        assert_eq!(
            route("/apis/nslab.dev/v1alpha1/nodes/client/exec", &Store::in_memory()),
            Some(Route::NodeExec("client".into()))
        );
    }
}
