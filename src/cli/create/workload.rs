//! `create deployment` and `create namespace`.

use clap::Args;
use serde_json::{Value, json};

use super::{Failure, HowArgs, metadata};

/// Create a Deployment
#[derive(Debug, Args)]
pub struct DeploymentArgs {
    #[arg(value_name = "NAME")]
    name: String,
    /// The container's image; several make several containers
    #[arg(long, required = true, value_delimiter = ',')]
    image: Vec<String>,
    /// How many pods
    #[arg(short, long, default_value_t = 1)]
    replicas: u32,
    /// The port that the container listens on
    #[arg(long)]
    port: Option<u16>,
    #[command(flatten)]
    pub how: HowArgs,
    /// What the container runs in place of the image's own command
    #[arg(last = true)]
    command: Vec<String>,
}

/// Create a Namespace
#[derive(Debug, Args)]
pub struct NamespaceArgs {
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    pub how: HowArgs,
}

pub fn namespace(args: &NamespaceArgs) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata(&args.name, json!({})), "spec": {}, "status": {}})
}

pub fn deployment(args: &DeploymentArgs) -> Result<Value, Failure> {
    if args.image.len() > 1 && !args.command.is_empty() {
        return Err(Failure::error("cannot specify multiple --image options and command"));
    }
    let mut containers: Vec<Value> = Vec::new();
    for image in &args.image {
        let base = container_name(image);
        let taken = |name: &str| containers.iter().any(|c| c["name"] == name);
        let name =
            (2..).map(|n| format!("{base}-{n}")).find(|name| !taken(name)).filter(|_| taken(&base)).unwrap_or(base);
        containers.push(json!({"image": image, "name": name, "resources": {}}));
    }
    if let Some(first) = containers.first_mut() {
        if let Some(port) = args.port {
            first["ports"] = json!([{ "containerPort": port }]);
        }
        if !args.command.is_empty() {
            first["command"] = json!(args.command);
        }
    }
    let labels = json!({"app": args.name});
    Ok(json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata(&args.name, labels.clone()),
        "spec": {
            "replicas": args.replicas,
            "selector": {"matchLabels": labels},
            "strategy": {},
            "template": {"metadata": {"creationTimestamp": null, "labels": labels}, "spec": {"containers": containers}},
        },
        "status": {},
    }))
}

/// The last part of the image's name, without tag and digest, as a container's name may be.
fn container_name(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    let name = last.split([':', '@']).next().unwrap_or(last).to_ascii_lowercase();
    name.replace(['_', '.'], "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_are_named_after_their_images() {
        for (image, name) in [
            ("sysnet4admin/echo-hname", "echo-hname"),
            ("nginx:1.25", "nginx"),
            ("registry.k8s.io/e2e-test-images/agnhost:2.39@sha256:abc", "agnhost"),
            ("localhost:5000/my_App.v1", "my-app-v1"),
        ] {
            assert_eq!(container_name(image), name, "{image}");
        }
    }

    #[test]
    fn several_images_of_one_name_are_several_containers() {
        let args = DeploymentArgs {
            name: "web".into(),
            image: vec!["nginx".into(), "nginx:1.25".into(), "redis".into()],
            replicas: 1,
            port: Some(80),
            how: HowArgs::default(),
            command: Vec::new(),
        };
        let containers = deployment(&args).unwrap()["spec"]["template"]["spec"]["containers"].clone();
        let names: Vec<&Value> = containers.as_array().unwrap().iter().map(|c| &c["name"]).collect();
        assert_eq!(names, ["nginx", "nginx-2", "redis"]);
        assert_eq!(containers[0]["ports"], json!([{"containerPort": 80}]));
    }
}
