//! `create service clusterip|nodeport|loadbalancer|externalname`.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Failure, HowArgs, metadata};

/// Create a Service for the pods with the label app=NAME
#[derive(Debug, Args)]
pub struct ServiceArgs {
    #[command(subcommand)]
    what: ServiceType,
}

#[derive(Debug, Subcommand)]
enum ServiceType {
    /// A Service with an address inside the cluster
    Clusterip(PortArgs),
    /// A Service with a port on every node
    Nodeport(PortArgs),
    /// A Service with an address on the LAN
    Loadbalancer(PortArgs),
    /// Another name for a host outside
    Externalname(ExternalArgs),
}

#[derive(Debug, Args)]
struct PortArgs {
    #[arg(value_name = "NAME")]
    name: String,
    /// PORT or PORT:TARGETPORT
    #[arg(long, value_delimiter = ',')]
    tcp: Vec<String>,
    /// The port on the nodes (nodeport only)
    #[arg(long)]
    node_port: Option<u16>,
    /// An address of your own, or None (clusterip only)
    #[arg(long)]
    clusterip: Option<String>,
    #[command(flatten)]
    how: HowArgs,
}

#[derive(Debug, Args)]
struct ExternalArgs {
    #[arg(value_name = "NAME")]
    name: String,
    #[arg(long)]
    external_name: String,
    #[arg(long, value_delimiter = ',')]
    tcp: Vec<String>,
    #[command(flatten)]
    how: HowArgs,
}

pub fn service(args: ServiceArgs) -> Result<(Value, HowArgs), Failure> {
    let (name, spec, how) = match args.what {
        ServiceType::Clusterip(args) => of_ports("ClusterIP", args)?,
        ServiceType::Nodeport(args) => of_ports("NodePort", args)?,
        ServiceType::Loadbalancer(args) => of_ports("LoadBalancer", args)?,
        ServiceType::Externalname(args) => {
            let mut spec = json!({"externalName": args.external_name, "type": "ExternalName"});
            if !args.tcp.is_empty() {
                spec["ports"] = ports(&args.tcp)?;
            }
            (args.name, spec, args.how)
        }
    };
    let mut spec = spec;
    let labels = json!({"app": name});
    spec["selector"] = labels.clone();
    let metadata = metadata(&name, labels);
    let object = json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec, "status": {"loadBalancer": {}}});
    Ok((object, how))
}

fn of_ports(service_type: &str, args: PortArgs) -> Result<(String, Value, HowArgs), Failure> {
    let headless = args.clusterip.as_deref() == Some("None");
    if args.tcp.is_empty() && !headless {
        return Err(
            Failure::error("at least one tcp port specifier must be provided").hint("add --tcp=PORT:TARGETPORT")
        );
    }
    let mut spec = json!({"type": service_type});
    if !args.tcp.is_empty() {
        spec["ports"] = ports(&args.tcp)?;
    }
    if let Some(node_port) = args.node_port.filter(|_| service_type == "NodePort") {
        for port in spec["ports"].as_array_mut().into_iter().flatten() {
            port["nodePort"] = node_port.into();
        }
    }
    if let Some(address) = &args.clusterip {
        spec["clusterIP"] = address.clone().into();
    }
    Ok((args.name, spec, args.how))
}

fn ports(specs: &[String]) -> Result<Value, Failure> {
    let port = |spec: &String| {
        let invalid = |what: &str| Failure::error(format!("{what} in --tcp={spec} is no port: 1 to 65535 is valid"));
        let (port, target) = spec.split_once(':').unwrap_or((spec, spec));
        let port: u16 = port.parse().ok().filter(|p| *p > 0).ok_or_else(|| invalid(port))?;
        let target = match target.parse::<u16>() {
            Ok(0) => return Err(invalid(target)),
            Ok(number) => Value::from(number),
            Err(_) => Value::from(target),
        };
        Ok(json!({"name": spec.replace(':', "-"), "port": port, "protocol": "TCP", "targetPort": target}))
    };
    specs.iter().map(port).collect::<Result<Vec<_>, _>>().map(Value::Array)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_named_by_what_they_are() {
        let made = ports(&["80".into(), "5678:http".into(), "443:8443".into()]).unwrap();
        let row = |p: &Value| format!("{} {} {}", p["name"], p["port"], p["targetPort"]);
        let rows: Vec<String> = made.as_array().unwrap().iter().map(row).collect();
        assert_eq!(rows, ["\"80\" 80 80", "\"5678-http\" 5678 \"http\"", "\"443-8443\" 443 8443"]);
        assert!(ports(&["99999".into()]).is_err());
        assert!(ports(&["80:0".into()]).is_err());
    }
}
