//! `create secret generic|tls|docker-registry`.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::config::{DataArgs, read_file};
use super::{Failure, HowArgs, metadata};

/// Create a Secret
#[derive(Debug, Args)]
pub struct SecretArgs {
    #[command(subcommand)]
    what: SecretType,
}

#[derive(Debug, Subcommand)]
enum SecretType {
    /// A Secret from literal values and files
    Generic(GenericArgs),
    /// A certificate and its key
    Tls(TlsArgs),
    /// What an image registry asks for
    DockerRegistry(DockerArgs),
}

#[derive(Debug, Args)]
struct GenericArgs {
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    data: DataArgs,
    /// The Secret's type
    #[arg(long = "type")]
    secret_type: Option<String>,
    #[command(flatten)]
    how: HowArgs,
}

#[derive(Debug, Args)]
struct TlsArgs {
    #[arg(value_name = "NAME")]
    name: String,
    /// The certificate, as PEM
    #[arg(long, value_name = "FILE", default_value = "", hide_default_value = true)]
    cert: String,
    /// Its key, as PEM
    #[arg(long, value_name = "FILE", default_value = "", hide_default_value = true)]
    key: String,
    #[command(flatten)]
    how: HowArgs,
}

#[derive(Debug, Args)]
struct DockerArgs {
    #[arg(value_name = "NAME")]
    name: String,
    #[arg(long, default_value = "https://index.docker.io/v1/")]
    docker_server: String,
    #[arg(long, default_value = "", hide_default_value = true)]
    docker_username: String,
    #[arg(long, default_value = "", hide_default_value = true)]
    docker_password: String,
    #[arg(long, default_value = "", hide_default_value = true)]
    docker_email: String,
    /// A ~/.docker/config.json
    #[arg(long, value_name = "[KEY=]FILE")]
    from_file: Vec<String>,
    #[command(flatten)]
    how: HowArgs,
}

const DOCKER_KEY: &str = ".dockerconfigjson";

pub fn secret(args: SecretArgs) -> Result<(Value, HowArgs), Failure> {
    match args.what {
        SecretType::Generic(args) => {
            let object = object(&args.name, args.secret_type.as_deref(), args.data.read()?);
            Ok((object, args.how))
        }
        SecretType::Tls(args) => Ok((tls(&args)?, args.how)),
        SecretType::DockerRegistry(args) => Ok((docker(&args)?, args.how)),
    }
}

fn object(name: &str, secret_type: Option<&str>, data: Vec<(String, Vec<u8>)>) -> Value {
    let mut object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata(name, json!({}))});
    for (key, bytes) in data {
        object["data"][key] = STANDARD.encode(bytes).into();
    }
    if let Some(secret_type) = secret_type {
        object["type"] = secret_type.into();
    }
    object
}

fn tls(args: &TlsArgs) -> Result<Value, Failure> {
    if args.cert.is_empty() || args.key.is_empty() {
        return Err(Failure::error("key and cert must be specified"));
    }
    let (cert, key) = (read_file(Path::new(&args.cert))?, read_file(Path::new(&args.key))?);
    pair(&cert, &key)?;
    Ok(object(&args.name, Some("kubernetes.io/tls"), vec![("tls.crt".into(), cert), ("tls.key".into(), key)]))
}

/// Do these belong together?
fn pair(cert: &[u8], key: &[u8]) -> Result<(), Failure> {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let certificates: Vec<CertificateDer> = CertificateDer::pem_slice_iter(cert).filter_map(Result::ok).collect();
    if certificates.is_empty() {
        return Err(Failure::error("tls: failed to find any PEM data in certificate input"));
    }
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|_| Failure::error("tls: failed to find any PEM data in key input"))?;
    let key = rustls::crypto::ring::sign::any_supported_type(&key)
        .map_err(|error| Failure::error(format!("tls: failed to parse private key: {error}")))?;
    match rustls::sign::CertifiedKey::new(certificates, key).keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(()),
        Err(rustls::Error::InconsistentKeys(_)) => Err(Failure::error("tls: private key does not match public key")),
        Err(error) => Err(Failure::error(format!("tls: failed to parse certificate: {error}"))),
    }
}

fn docker(args: &DockerArgs) -> Result<Value, Failure> {
    let secret_type = Some("kubernetes.io/dockerconfigjson");
    if !args.from_file.is_empty() {
        let named = |file: &String| if file.contains('=') { file.clone() } else { format!("{DOCKER_KEY}={file}") };
        let data = DataArgs { from_file: args.from_file.iter().map(named).collect(), ..DataArgs::default() };
        return Ok(object(&args.name, secret_type, data.read()?));
    }
    let DockerArgs { docker_username: user, docker_password: password, docker_server: server, .. } = args;
    if [user, password, server].iter().any(|text| text.is_empty()) {
        return Err(Failure::error(
            "either --from-file or the combination of --docker-username, --docker-password and --docker-server is required",
        ));
    }
    // In the order in which kubectl writes them.
    let quoted = |text: &str| Value::from(text).to_string();
    let email = match args.docker_email.as_str() {
        "" => String::new(),
        email => format!("\"email\":{},", quoted(email)),
    };
    let auth = STANDARD.encode(format!("{user}:{password}"));
    let text = format!(
        "{{\"auths\":{{{}:{{\"username\":{},\"password\":{},{email}\"auth\":{}}}}}}}",
        quoted(server),
        quoted(user),
        quoted(password),
        quoted(&auth)
    );
    Ok(object(&args.name, secret_type, vec![(DOCKER_KEY.into(), text.into_bytes())]))
}
