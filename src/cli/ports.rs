//! Which port of a pod is meant by `8080`, `8080:80`, `:http`, and by a port of a Service.

use serde_json::Value;

use super::{Failure, hint};

/// A port here, 0 for any, and one of the pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forward {
    pub local: u16,
    pub remote: u16,
}

/// Reads `texts` for a pod that was named itself, or by the Service.
pub fn resolve(texts: &[String], pod: &Value, service: Option<&Value>) -> Result<Vec<Forward>, Failure> {
    texts.iter().map(|text| one(text, pod, service)).collect()
}

fn one(text: &str, pod: &Value, service: Option<&Value>) -> Result<Forward, Failure> {
    let (local, remote) = match text.split(':').collect::<Vec<_>>()[..] {
        [port] => (port, port),
        [local, remote] => (local, remote),
        _ => return Err(Failure::error(format!("invalid port format '{text}'"))),
    };
    if remote.is_empty() {
        return Err(Failure::error("remote port cannot be empty"));
    }
    let number = match remote.parse::<u32>() {
        Ok(number) => number,
        Err(_) => match service {
            Some(service) => {
                let name = hint::name_of(service);
                let missing = || Failure::error(format!("Service '{name}' does not have a named port '{remote}'"));
                number_of(ports(service).find(|port| text_of(port, "name") == remote), "port").ok_or_else(missing)?
            }
            None => container_port(pod, remote)?,
        },
    };
    let declared: Vec<&Value> = match service {
        Some(service) => ports(service).filter(|p| number_of(Some(p), "port") == Some(number)).collect(),
        None => container_ports(pod).filter(|p| number_of(Some(p), "containerPort") == Some(number)).collect(),
    };
    if !declared.is_empty() && declared.iter().all(|port| text_of(port, "protocol") == "UDP") {
        return Err(Failure::error(format!("UDP protocol is not supported for {remote}")));
    }
    let target = match service {
        Some(service) => target_port(service, declared.first().copied(), number, pod)?,
        None => number,
    };
    let local = match local {
        "" => "0".to_string(),
        // The Service's number, also where the pod's is another.
        same if same == remote => number.to_string(),
        other => other.to_string(),
    };
    let parse = |what: &str, text: &str| {
        let words = format!("error parsing {what} port '{text}': not a number from 0 to 65535");
        text.parse::<u16>().map_err(|_| Failure::error(words))
    };
    let forward = Forward { local: parse("local", &local)?, remote: parse("remote", &target.to_string())? };
    if forward.remote == 0 {
        return Err(Failure::error("remote port must be > 0"));
    }
    Ok(forward)
}

/// The port of the pod behind a port of the Service.
fn target_port(service: &Value, declared: Option<&Value>, number: u32, pod: &Value) -> Result<u32, Failure> {
    let name = hint::name_of(service);
    let declared =
        declared.ok_or_else(|| Failure::error(format!("Service {name} does not have a service port {number}")))?;
    if service.pointer("/spec/clusterIP").and_then(Value::as_str) == Some("None") {
        return Ok(number);
    }
    match declared.get("targetPort") {
        Some(Value::String(name)) => container_port(pod, name),
        target => {
            Ok(target.and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0).unwrap_or(number))
        }
    }
}

fn container_port(pod: &Value, name: &str) -> Result<u32, Failure> {
    let found = number_of(container_ports(pod).find(|port| text_of(port, "name") == name), "containerPort");
    let pod = hint::name_of(pod);
    found.ok_or_else(|| Failure::error(format!("Pod '{pod}' does not have a named port '{name}'")))
}

fn container_ports(pod: &Value) -> impl Iterator<Item = &Value> {
    let containers = pod.pointer("/spec/containers").and_then(Value::as_array).into_iter().flatten();
    containers.filter_map(|container| container.get("ports")?.as_array()).flatten()
}

fn ports(service: &Value) -> impl Iterator<Item = &Value> {
    service.pointer("/spec/ports").and_then(Value::as_array).into_iter().flatten()
}

fn text_of<'v>(port: &'v Value, field: &str) -> &'v str {
    port.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn number_of(port: Option<&Value>, field: &str) -> Option<u32> {
    port?.get(field)?.as_u64().and_then(|number| u32::try_from(number).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod() -> Value {
        json!({"metadata": {"name": "web-1"}, "spec": {"containers": [{"name": "c", "ports": [
            {"name": "http", "containerPort": 8080}, {"name": "dns", "containerPort": 53, "protocol": "UDP"}]}]}})
    }

    fn service(cluster_ip: &str) -> Value {
        json!({"metadata": {"name": "web"}, "spec": {"clusterIP": cluster_ip, "ports": [
            {"name": "plain", "port": 80, "targetPort": 8080}, {"name": "named", "port": 81, "targetPort": "http"},
            {"name": "same", "port": 82}, {"name": "udp", "port": 83, "protocol": "UDP"}]}})
    }

    fn read(text: &str, service: Option<&Value>) -> Result<(u16, u16), String> {
        let forward = one(text, &pod(), service).map_err(|failure| failure.to_string())?;
        Ok((forward.local, forward.remote))
    }

    #[test]
    fn ports_of_a_pod() {
        for (text, local, remote) in [
            ("80", 80, 80),
            ("8000:80", 8000, 80),
            (":80", 0, 80),
            ("0:80", 0, 80),
            ("9:http", 9, 8080),
            ("http", 8080, 8080),
        ] {
            assert_eq!(read(text, None), Ok((local, remote)), "{text}");
        }
        for (text, why) in [
            ("1:2:3", "invalid port format '1:2:3'"),
            ("80:", "remote port cannot be empty"),
            ("web", "Pod 'web-1' does not have a named port 'web'"),
            ("x:80", "error parsing local port 'x'"),
            ("80:70000", "error parsing remote port '70000'"),
            ("80:0", "remote port must be > 0"),
            ("5353:53", "UDP protocol is not supported for 53"),
        ] {
            let said = read(text, None).unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
        }
    }

    #[test]
    fn ports_of_a_service_lead_to_its_pods() {
        let service_ = service("10.96.0.7");
        for (text, local, remote) in
            [("80", 80, 8080), ("9000:81", 9000, 8080), ("named", 81, 8080), (":82", 0, 82), ("7:plain", 7, 8080)]
        {
            assert_eq!(read(text, Some(&service_)), Ok((local, remote)), "{text}");
        }
        assert_eq!(read("80", Some(&service("None"))), Ok((80, 80)));
        for (text, why) in [
            ("8080", "Service web does not have a service port 8080"),
            ("http", "Service 'web' does not have a named port 'http'"),
            ("83", "UDP protocol is not supported for 83"),
        ] {
            let said = read(text, Some(&service_)).unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
        }
    }
}
