//! `expose`: a Service for the pods of a workload, its ports read from their containers.

use clap::Args;
use serde_json::{Map, Value, json};

use super::create::{self, HowArgs};
use super::{Context, Failure, files, hint, pods, resource};
use crate::object::kind::{self, KindRef};

/// Make a Service for a deployment, replicaset, replicationcontroller, pod or service
#[derive(Debug, Args)]
pub struct ExposeArgs {
    /// TYPE NAME or TYPE/NAME
    #[arg(value_name = "TYPE[/NAME]")]
    resources: Vec<String>,
    #[command(flatten)]
    files: files::FileArgs,
    /// The Service's ports: 80 or 80,443; the containers' own if not given
    #[arg(long)]
    port: Option<String>,
    /// The port, or its name, that the containers listen on; --port if not given
    #[arg(long)]
    target_port: Option<String>,
    /// TCP, UDP or SCTP
    #[arg(long)]
    protocol: Option<String>,
    /// ClusterIP, NodePort, LoadBalancer or ExternalName
    #[arg(long = "type", value_name = "TYPE")]
    service_type: Option<String>,
    /// The Service's name; that of the exposed object if not given
    #[arg(long = "name", value_name = "NAME")]
    service_name: Option<String>,
    /// The labels of the pods; the exposed object's own if not given
    #[arg(long)]
    selector: Option<String>,
    /// Labels for the Service
    #[arg(short = 'l', long)]
    labels: Option<String>,
    /// An address of your own, or None
    #[arg(long)]
    cluster_ip: Option<String>,
    /// An address that is routed to a node by other means
    #[arg(long)]
    external_ip: Option<String>,
    /// The address on the LAN
    #[arg(long)]
    load_balancer_ip: Option<String>,
    /// None or ClientIP
    #[arg(long)]
    session_affinity: Option<String>,
    #[command(flatten)]
    how: HowArgs,
}

const TYPES: [&str; 4] = ["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"];

pub async fn run(args: ExposeArgs, cx: &Context) -> Result<(), Failure> {
    let mut exposed = Vec::new();
    if args.files.is_given() {
        for document in files::read(&args.files, files::Purpose::Name, cx)? {
            exposed.push((document.kind, cx.client.get(document.kind, &document.namespace, &document.name).await?));
        }
    } else {
        if args.resources.is_empty() {
            return Err(super::nothing_given());
        }
        let resources = resource::parse(&args.resources, "expose")?;
        if resources.names() == 0 {
            return Err(Failure::error("resource(s) were provided, but no name was specified"));
        }
        for asked in resources.asked {
            for name in &asked.names {
                exposed.push((asked.kind, pods::get(cx, asked.kind, name).await?));
            }
        }
    }
    let mut failures = Vec::new();
    for (kind, object) in exposed {
        let done = match service(&args, kind, &object) {
            Ok(service) => create::submit_as(service, &kind::SERVICE, &args.how, cx, "exposed").await.map(|_| ()),
            Err(failure) => Err(failure),
        };
        failures.extend(done.err());
    }
    Failure::all(failures)
}

/// The Service for `object`.
fn service(args: &ExposeArgs, kind: KindRef, object: &Value) -> Result<Value, Failure> {
    let exposable = [&kind::SERVICE, &kind::POD, &kind::DEPLOYMENT, &kind::REPLICA_SET, &kind::REPLICATION_CONTROLLER];
    if !exposable.contains(&kind) {
        let failure = Failure::error(format!("cannot expose a {}", kind.kind));
        return Err(failure.hint("what can be exposed: pod, service, replicationcontroller, deployment, replicaset"));
    }
    let name = args.service_name.clone().unwrap_or_else(|| hint::name_of(object).chars().take(63).collect());
    let selector = match &args.selector {
        Some(text) => {
            labels(text).ok_or_else(|| Failure::error(format!("couldn't parse --selector {text}: write a=b,c=d")))?
        }
        None => selector(kind, object)?,
    };
    let ports = ports(args, kind, object)?;
    let own = match &args.labels {
        Some(text) => {
            labels(text).ok_or_else(|| Failure::error(format!("couldn't parse --labels {text}: write a=b,c=d")))?
        }
        None => object.pointer("/metadata/labels").and_then(Value::as_object).cloned().unwrap_or_default(),
    };
    let mut spec = json!({"selector": selector, "ports": ports});
    if let Some(service_type) = &args.service_type {
        if !TYPES.contains(&service_type.as_str()) {
            let supported = "\"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\"";
            let failure = Failure::verbatim(format!(
                "The Service \"{name}\" is invalid: spec.type: Unsupported value: \"{service_type}\": supported values: \
                 {supported}"
            ));
            let near = crate::object::nearest::nearest(service_type, TYPES);
            return Err(failure.hints(near.map(|near| format!("did you mean --type={near}?"))));
        }
        spec["type"] = service_type.as_str().into();
    }
    let mut set = |field: &str, value: &Option<String>| {
        if let Some(value) = value {
            spec[field] = value.as_str().into();
        }
    };
    set("clusterIP", &args.cluster_ip);
    set("loadBalancerIP", &args.load_balancer_ip);
    set("sessionAffinity", &args.session_affinity);
    if let Some(address) = &args.external_ip {
        spec["externalIPs"] = json!([address]);
    }
    let metadata = create::metadata(&name, Value::Object(own));
    Ok(
        json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec, "status": {"loadBalancer": {}}}),
    )
}

/// `a=b,c=d`
fn labels(text: &str) -> Option<Map<String, Value>> {
    let pair = |part: &str| {
        let (key, value) = part.split_once('=')?;
        (!key.is_empty()).then(|| (key.to_string(), Value::from(value)))
    };
    text.split(',').filter(|part| !part.is_empty()).map(pair).collect()
}

fn selector(kind: KindRef, object: &Value) -> Result<Map<String, Value>, Failure> {
    let found = if kind == &kind::POD {
        object.pointer("/metadata/labels")
    } else if [&kind::SERVICE, &kind::REPLICATION_CONTROLLER].contains(&kind) {
        object.pointer("/spec/selector")
    } else {
        let expressions = object.pointer("/spec/selector/matchExpressions").and_then(Value::as_array);
        if expressions.is_some_and(|e| !e.is_empty()) {
            let reason =
                format!("couldn't convert expressions - \"{}\" to map-based selector format", json!(expressions));
            return Err(no_selector(&reason).hint("say which labels with --selector=a=b"));
        }
        object.pointer("/spec/selector/matchLabels")
    };
    match found.and_then(Value::as_object).filter(|labels| !labels.is_empty()) {
        Some(labels) => Ok(labels.clone()),
        None => {
            let what = kind.singular();
            let lacks = if kind == &kind::POD { "labels" } else { "selector" };
            let failure = no_selector(&format!("the {what} has no {lacks} and cannot be exposed"));
            let name = hint::name_of(object);
            Err(match kind == &kind::POD {
                true => failure.hint(format!("{} label pod {name} app={name}", super::program())),
                false => failure,
            })
        }
    }
}

fn no_selector(reason: &str) -> Failure {
    Failure::error(format!("couldn't retrieve selectors via --selector flag or introspection: {reason}"))
}

/// A port of the exposed object, and its protocol.
type Declared = (i64, String);

/// What the containers say they listen on; of a Service its own ports.
fn declared(kind: KindRef, object: &Value) -> Vec<Declared> {
    let list = |at: &str| object.pointer(at).and_then(Value::as_array).cloned().unwrap_or_default();
    let (ports, field) = if kind == &kind::SERVICE {
        (list("/spec/ports"), "port")
    } else {
        let at = if kind == &kind::POD { "/spec/containers" } else { "/spec/template/spec/containers" };
        let containers = list(at);
        let ports = containers.iter().filter_map(|c| c.get("ports").and_then(Value::as_array)).flatten().cloned();
        (ports.collect(), "containerPort")
    };
    let port = |p: &Value| {
        let protocol = p.get("protocol").and_then(Value::as_str).unwrap_or("TCP");
        Some((p.get(field)?.as_i64()?, protocol.to_string()))
    };
    ports.iter().filter_map(port).collect()
}

fn ports(args: &ExposeArgs, kind: KindRef, object: &Value) -> Result<Vec<Value>, Failure> {
    let declared = declared(kind, object);
    let mut wanted: Vec<i64> = Vec::new();
    match args.port.as_deref().filter(|port| !port.is_empty()) {
        Some(text) => {
            for part in text.split(',') {
                let number = part.trim().parse::<i64>().ok().filter(|p| (1..=65535).contains(p));
                wanted.push(number.ok_or_else(|| {
                    Failure::error(format!("invalid port \"{part}\" in --port={text}: 1 to 65535 is valid"))
                })?);
            }
        }
        None => {
            for (port, _) in &declared {
                if !wanted.contains(port) {
                    wanted.push(*port);
                }
            }
        }
    }
    // Headless Services need no port.
    if wanted.is_empty() && args.cluster_ip.as_deref() != Some("None") {
        let name = hint::name_of(object);
        let failure = Failure::error("couldn't find port via --port flag or introspection");
        let what = kind.singular();
        return Err(failure.hint(format!(
            "the containers of {what} {name} declare no containerPort: add --port=80 or what they listen on"
        )));
    }
    let mut entries: Vec<(i64, String, Option<String>)> = Vec::new();
    let several_ports = wanted.len() > 1;
    for (at, port) in wanted.into_iter().enumerate() {
        let of_port = declared.iter().filter(|(number, _)| *number == port).map(|(_, protocol)| protocol.clone());
        let protocols: Vec<String> = match &args.protocol {
            Some(protocol) => vec![protocol.clone()],
            None => of_port.collect(),
        };
        let base = several_ports.then(|| format!("port-{}", at + 1));
        match protocols.as_slice() {
            [] => entries.push((port, "TCP".into(), base)),
            [one] => entries.push((port, one.clone(), base)),
            several => entries.extend(several.iter().map(|protocol| {
                let name = format!("{}-{}", base.as_deref().unwrap_or("port-1"), protocol.to_ascii_lowercase());
                (port, protocol.clone(), Some(name))
            })),
        }
    }
    let entry = |(port, protocol, name): (i64, String, Option<String>)| {
        let target = match &args.target_port {
            Some(target) => target.parse::<i64>().map_or_else(|_| Value::from(target.as_str()), Value::from),
            None => Value::from(port),
        };
        let mut entry = json!({"port": port, "protocol": protocol, "targetPort": target});
        if let Some(name) = name {
            entry["name"] = name.into();
        }
        entry
    };
    Ok(entries.into_iter().map(entry).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Only {
        #[command(flatten)]
        args: ExposeArgs,
    }

    fn deployment(ports: Value) -> Value {
        json!({"kind": "Deployment", "metadata": {"name": "np-pods", "labels": {"app": "np-pods"}}, "spec": {
            "selector": {"matchLabels": {"app": "np-pods"}},
            "template": {"spec": {"containers": [{"name": "a", "ports": ports}]}}}})
    }

    fn expose(line: &str, kind: KindRef, object: &Value) -> Result<Value, String> {
        let args = Only::parse_from(line.split(' ')).args;
        service(&args, kind, object).map_err(|f| f.to_string())
    }

    #[test]
    fn the_notes_services() {
        let np = expose(
            "x deployment np-pods --type=NodePort --name=np-svc-v2 --port=80",
            &kind::DEPLOYMENT,
            &deployment(json!([])),
        )
        .unwrap();
        assert_eq!(
            np["metadata"],
            json!({"creationTimestamp": null, "name": "np-svc-v2", "labels": {"app": "np-pods"}})
        );
        assert_eq!(
            np["spec"],
            json!({"type": "NodePort", "selector": {"app": "np-pods"}, "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}]})
        );
        let two = expose("x deployment a --port=80,443", &kind::DEPLOYMENT, &deployment(json!([]))).unwrap();
        assert_eq!(
            two["spec"]["ports"],
            json!([{"name": "port-1", "port": 80, "protocol": "TCP", "targetPort": 80},
                   {"name": "port-2", "port": 443, "protocol": "TCP", "targetPort": 443}])
        );
    }

    #[test]
    fn ports_come_from_the_containers() {
        let made = expose("x deploy a", &kind::DEPLOYMENT, &deployment(json!([{"containerPort": 3000}]))).unwrap();
        assert_eq!(made["spec"]["ports"], json!([{"port": 3000, "protocol": "TCP", "targetPort": 3000}]));
        let dns =
            deployment(json!([{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 53, "protocol": "TCP"}]));
        let made = expose("x deploy a", &kind::DEPLOYMENT, &dns).unwrap();
        let names: Vec<&Value> = made["spec"]["ports"].as_array().unwrap().iter().map(|p| &p["name"]).collect();
        assert_eq!(names, ["port-1-udp", "port-1-tcp"]);
        assert_eq!(
            expose("x deploy a", &kind::DEPLOYMENT, &deployment(json!([]))).unwrap_err(),
            "error: couldn't find port via --port flag or introspection\nhint: the containers of deployment np-pods declare \
             no containerPort: add --port=80 or what they listen on"
        );
    }

    #[test]
    fn what_cannot_be_exposed() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": []}});
        assert!(
            expose("x pod p --port=80", &kind::POD, &pod)
                .unwrap_err()
                .contains("the pod has no labels and cannot be exposed")
        );
        assert!(
            expose("x node p --port=80", &kind::NODE, &pod).unwrap_err().starts_with("error: cannot expose a Node")
        );
        let object = deployment(json!([]));
        assert!(expose("x deploy p --port=0", &kind::DEPLOYMENT, &object).unwrap_err().contains("invalid port \"0\""));
        assert!(
            expose("x deploy p --port=80 --type=nodeport", &kind::DEPLOYMENT, &object)
                .unwrap_err()
                .ends_with("did you mean --type=NodePort?")
        );
    }
}
