//! Which nodes a pod may run on, and what a node that it may not run on says to that.

use serde_json::{Map, Value, json};

use crate::control::conditions;
use crate::object::Object;
use crate::object::selector::Selector;

/// A node, with what is asked of it for every pod.
pub(super) struct Candidate<'a> {
    node: &'a Object,
    taints: Vec<Taint>,
    /// How many pods it may have.
    most_pods: usize,
}

struct Taint {
    key: String,
    value: String,
    effect: String,
}

const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

impl<'a> Candidate<'a> {
    pub fn new(node: &'a Object) -> Self {
        let text = |taint: &Value, field| taint.get(field).and_then(Value::as_str).unwrap_or_default().to_string();
        let list = node.at(&["spec", "taints"]).and_then(Value::as_array);
        let mut taints: Vec<Taint> = list
            .into_iter()
            .flatten()
            .map(|t| Taint { key: text(t, "key"), value: text(t, "value"), effect: text(t, "effect") })
            .filter(|taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute"))
            .collect();
        // Upstream the node controller puts a taint on a node that is not ready; here its condition counts as one.
        let ready = conditions::find(node, "Ready").map(|c| conditions::text(c, "status"));
        let key = match ready {
            None | Some("True") => None,
            Some("False") => Some("node.kubernetes.io/not-ready"),
            Some(_) => Some("node.kubernetes.io/unreachable"),
        };
        if let Some(key) = key.filter(|key| taints.iter().all(|taint| taint.key != *key)) {
            taints.push(Taint { key: key.into(), value: String::new(), effect: "NoSchedule".into() });
        }
        let most_pods = match node.at(&["status", "allocatable", "pods"]) {
            Some(Value::String(text)) => text.parse().ok(),
            Some(value) => value.as_u64().and_then(|n| usize::try_from(n).ok()),
            None => None,
        };
        Candidate { node, taints, most_pods: most_pods.unwrap_or(usize::MAX) }
    }

    /// Why the pod may not run here, where `pods` are already, in upstream's words.
    pub fn refusal(&self, needs: &Needs, ports_are_free: bool, pods: usize) -> Option<String> {
        if self.node.at(&["spec", "unschedulable"]) == Some(&Value::Bool(true)) {
            let taint = Taint { key: UNSCHEDULABLE.into(), value: String::new(), effect: "NoSchedule".into() };
            if !needs.tolerates(&taint) {
                return Some("node(s) were unschedulable".into());
            }
        }
        let untolerated = |taint: &&Taint| taint.key != UNSCHEDULABLE && !needs.tolerates(taint);
        if let Some(Taint { key, value, .. }) = self.taints.iter().find(untolerated) {
            return Some(format!("node(s) had untolerated taint {{{key}: {value}}}"));
        }
        if !needs.accepts(self.node) {
            return Some("node(s) didn't match Pod's node affinity/selector".into());
        }
        if !ports_are_free {
            return Some("node(s) didn't have free ports for the requested pod ports".into());
        }
        (pods >= self.most_pods).then(|| "Too many pods".into())
    }
}

/// What a pod asks of its node.
pub(super) struct Needs<'a> {
    tolerations: Vec<&'a Map<String, Value>>,
    node_selector: Selector,
    /// `nodeSelectorTerms` of the required node affinity, of which one has to hold.
    terms: Option<Vec<Term>>,
}

struct Term {
    labels: Selector,
    /// Over `metadata.name`.
    fields: Selector,
}

impl<'a> Needs<'a> {
    pub fn of(pod: &'a Object) -> Self {
        let tolerations = pod.at(&["spec", "tolerations"]).and_then(Value::as_array);
        let node_selector = pod.at(&["spec", "nodeSelector"]).and_then(Value::as_object);
        let required = ["spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution"];
        let terms = pod.at(&required).and_then(|r| r.get("nodeSelectorTerms")).and_then(Value::as_array);
        Needs {
            tolerations: tolerations.into_iter().flatten().filter_map(Value::as_object).collect(),
            node_selector: node_selector.map(Selector::from_map).unwrap_or_default(),
            terms: terms.map(|terms| terms.iter().filter_map(Term::read).collect()),
        }
    }

    fn tolerates(&self, taint: &Taint) -> bool {
        self.tolerations.iter().any(|toleration| {
            let text = |field| toleration.get(field).and_then(Value::as_str).unwrap_or_default();
            let fits = |field, is: &str| text(field).is_empty() || text(field) == is;
            let value_fits = match text("operator") {
                "Exists" => true,
                _ => !text("key").is_empty() && text("value") == taint.value,
            };
            fits("effect", &taint.effect) && fits("key", &taint.key) && value_fits
        })
    }

    fn accepts(&self, node: &Object) -> bool {
        let name = json!({"metadata.name": node.name()});
        let fits = |term: &Term| term.labels.matches(node.labels()) && term.fields.matches(name.as_object());
        self.node_selector.matches(node.labels()) && self.terms.as_ref().is_none_or(|terms| terms.iter().any(fits))
    }
}

impl Term {
    /// `None` for a term that matches nothing: an empty one, or one that cannot be read.
    fn read(term: &Value) -> Option<Self> {
        let part = |field: &str| {
            let expressions = term.get(field).cloned().unwrap_or_else(|| json!([]));
            Selector::from_label_selector(&json!({ "matchExpressions": expressions })).ok()
        };
        let term = Term { labels: part("matchExpressions")?, fields: part("matchFields")? };
        (!term.labels.is_empty() || !term.fields.is_empty()).then_some(term)
    }
}
