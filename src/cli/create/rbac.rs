//! `create role`, `clusterrole`, `rolebinding` and `clusterrolebinding`. The lab keeps them and enforces nothing.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::{Map, Value, json};

use super::{Failure, HowArgs, metadata};
use crate::object::kind;

const RBAC: &str = "rbac.authorization.k8s.io";

/// Create a Role
#[derive(Debug, Args)]
pub struct RoleArgs {
    #[command(flatten)]
    rule: RuleArgs,
    #[command(flatten)]
    pub how: HowArgs,
}

/// Create a ClusterRole
#[derive(Debug, Args)]
pub struct ClusterRoleArgs {
    #[command(flatten)]
    rule: RuleArgs,
    /// /healthz, /logs/*, ...
    #[arg(long, value_delimiter = ',')]
    non_resource_url: Vec<String>,
    /// The labels of the ClusterRoles that this one puts together: KEY=VALUE,...
    #[arg(long, value_delimiter = ',')]
    aggregation_rule: Vec<String>,
    #[command(flatten)]
    pub how: HowArgs,
}

#[derive(Debug, Args)]
struct RuleArgs {
    #[arg(value_name = "NAME")]
    name: String,
    /// get, list, watch, ...
    #[arg(long, value_delimiter = ',')]
    verb: Vec<String>,
    /// pods, deployments.apps, pods/log, ...
    #[arg(long, value_delimiter = ',')]
    resource: Vec<String>,
    /// Only the objects with these names
    #[arg(long)]
    resource_name: Vec<String>,
}

/// Create a RoleBinding
#[derive(Debug, Args)]
pub struct RoleBindingArgs {
    #[arg(value_name = "NAME")]
    name: String,
    /// The Role that is bound
    #[arg(long)]
    role: Option<String>,
    /// The ClusterRole that is bound
    #[arg(long)]
    clusterrole: Option<String>,
    #[command(flatten)]
    subjects: SubjectArgs,
    #[command(flatten)]
    pub how: HowArgs,
}

/// Create a ClusterRoleBinding
#[derive(Debug, Args)]
pub struct ClusterRoleBindingArgs {
    #[arg(value_name = "NAME")]
    name: String,
    /// The ClusterRole that is bound
    #[arg(long)]
    clusterrole: String,
    #[command(flatten)]
    subjects: SubjectArgs,
    #[command(flatten)]
    pub how: HowArgs,
}

#[derive(Debug, Args)]
struct SubjectArgs {
    #[arg(long)]
    user: Vec<String>,
    #[arg(long)]
    group: Vec<String>,
    /// NAMESPACE:NAME
    #[arg(long)]
    serviceaccount: Vec<String>,
}

const VERBS: [&str; 16] = [
    "*",
    "get",
    "delete",
    "list",
    "create",
    "update",
    "patch",
    "watch",
    "proxy",
    "deletecollection",
    "use",
    "bind",
    "escalate",
    "impersonate",
    "approve",
    "sign",
];
const URL_VERBS: [&str; 8] = ["*", "get", "post", "put", "delete", "patch", "head", "options"];

pub fn role(args: &RoleArgs) -> Result<Value, Failure> {
    let RuleArgs { name, verb, resource, .. } = &args.rule;
    if verb.is_empty() {
        return Err(Failure::error("at least one verb must be specified"));
    }
    if resource.is_empty() {
        return Err(Failure::error("at least one resource must be specified"));
    }
    Ok(object("Role", name, "rules", args.rule.rules()?.into()))
}

pub fn cluster_role(args: &ClusterRoleArgs) -> Result<Value, Failure> {
    let RuleArgs { name, verb, resource, resource_name } = &args.rule;
    let urls = &args.non_resource_url;
    if !args.aggregation_rule.is_empty() {
        if ![verb, resource, resource_name, urls].iter().all(|list| list.is_empty()) {
            return Err(Failure::error(
                "aggregation rule must be specified without nonResourceURLs, verbs, resources or resourceNames",
            ));
        }
        let pair = |text: &String| match text.split_once('=') {
            Some((key, value)) => Ok((key.to_string(), Value::from(value))),
            None => Err(Failure::error(format!("malformed pair, expect string=string: {text}"))),
        };
        let labels: Map<String, Value> = args.aggregation_rule.iter().map(pair).collect::<Result<_, _>>()?;
        let mut role = object("ClusterRole", name, "rules", Value::Null);
        role["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": labels}]});
        return Ok(role);
    }
    if verb.is_empty() {
        return Err(Failure::error("at least one verb must be specified"));
    }
    if resource.is_empty() && urls.is_empty() {
        return Err(Failure::error("one of resource or nonResourceURL must be specified"));
    }
    let mut rules = args.rule.rules()?;
    if !urls.is_empty() {
        if let Some(verb) = verb.iter().find(|verb| !URL_VERBS.contains(&verb.as_str())) {
            return Err(Failure::error(format!("invalid verb: '{verb}' for nonResourceURL")));
        }
        if urls.iter().any(|url| url != "*" && !url.starts_with('/')) {
            return Err(Failure::error("nonResourceURL should start with /"));
        }
        rules.push(json!({"nonResourceURLs": urls, "verbs": args.rule.verbs()}));
    }
    Ok(object("ClusterRole", name, "rules", rules.into()))
}

fn object(kind: &str, name: &str, field: &str, value: Value) -> Value {
    json!({"apiVersion": format!("{RBAC}/v1"), "kind": kind, "metadata": metadata(name, json!({})), field: value})
}

impl RuleArgs {
    fn verbs(&self) -> Vec<&str> {
        if self.verb.iter().any(|verb| verb == "*") {
            return vec!["*"];
        }
        let mut verbs: Vec<&str> = Vec::new();
        for verb in &self.verb {
            if !verbs.contains(&verb.as_str()) {
                verbs.push(verb);
            }
        }
        verbs
    }

    /// A rule for each group that a resource is of.
    fn rules(&self) -> Result<Vec<Value>, Failure> {
        let verbs = self.verbs();
        if !self.resource.is_empty() {
            for verb in verbs.iter().filter(|verb| !VERBS.contains(verb)) {
                eprintln!("Warning: '{verb}' is not a standard resource verb");
            }
        }
        let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for text in &self.resource {
            let (word, part) = text.split_once('/').map_or((text.as_str(), None), |(word, part)| (word, Some(part)));
            if word.is_empty() {
                return Err(Failure::error("resource must be specified if apiGroup/subresource specified"));
            }
            let (group, plural) = match (word.split_once('.'), kind::by_word(word)) {
                (_, Some(kind)) => (kind.group.to_string(), kind.plural.to_string()),
                (None, None) if word == "*" => (String::new(), word.to_string()),
                (Some((plural, group)), None) => {
                    let message = format!("the server doesn't have a resource type \"{plural}\" in group \"{group}\"");
                    return Err(Failure::error(message));
                }
                (None, None) => {
                    return Err(super::super::resource::kind_of(word).err().unwrap_or_else(|| {
                        Failure::error(format!("the server doesn't have a resource type \"{word}\""))
                    }));
                }
            };
            let resource = part.map_or(plural.clone(), |part| format!("{plural}/{part}"));
            let resources = groups.entry(group).or_default();
            if !resources.contains(&resource) {
                resources.push(resource);
            }
        }
        let rule = |(group, resources): (String, Vec<String>)| {
            let mut rule = json!({"apiGroups": [group], "resources": resources, "verbs": verbs});
            if !self.resource_name.is_empty() {
                rule["resourceNames"] = json!(self.resource_name);
            }
            rule
        };
        Ok(groups.into_iter().map(rule).collect())
    }
}

pub fn role_binding(args: &RoleBindingArgs) -> Result<Value, Failure> {
    let (kind, role) = match (&args.role, &args.clusterrole) {
        (Some(role), None) => ("Role", role),
        (None, Some(role)) => ("ClusterRole", role),
        _ => return Err(Failure::error("exactly one of clusterrole or role must be specified")),
    };
    binding("RoleBinding", &args.name, kind, role, &args.subjects)
}

pub fn cluster_role_binding(args: &ClusterRoleBindingArgs) -> Result<Value, Failure> {
    binding("ClusterRoleBinding", &args.name, "ClusterRole", &args.clusterrole, &args.subjects)
}

fn binding(kind: &str, name: &str, of: &str, role: &str, args: &SubjectArgs) -> Result<Value, Failure> {
    let reference = json!({"apiGroup": RBAC, "kind": of, "name": role});
    let mut binding = object(kind, name, "roleRef", reference);
    let subjects = subjects(&args.user, &args.group, &args.serviceaccount, "")?;
    if !subjects.is_empty() {
        binding["subjects"] = subjects.into();
    }
    Ok(binding)
}

/// The subjects of a binding; `namespace` is that of ServiceAccounts that name none, which without it they must.
pub fn subjects(
    users: &[String],
    groups: &[String],
    accounts: &[String],
    namespace: &str,
) -> Result<Vec<Value>, Failure> {
    let mut subjects = Vec::new();
    for (kind, names) in [("User", users), ("Group", groups)] {
        subjects.extend(names.iter().map(|name| json!({"apiGroup": RBAC, "kind": kind, "name": name})));
    }
    for account in accounts {
        let (of, name) = account.split_once(':').unwrap_or_default();
        let of = if of.is_empty() { namespace } else { of };
        if of.is_empty() || name.is_empty() || name.contains(':') {
            return Err(Failure::error("serviceaccount must be <namespace>:<name>"));
        }
        subjects.push(json!({"kind": "ServiceAccount", "name": name, "namespace": of}));
    }
    Ok(subjects)
}
