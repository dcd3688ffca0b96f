use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::SignedDuration;
use std::os::unix::fs::PermissionsExt as _;

struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("nslab-pki-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        Dir(dir)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn bound(name: &str) -> Bound {
    Bound { name: name.to_string(), uid: format!("uid-of-{name}") }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn claims() -> Claims {
    Claims::new("shop", bound("cart"), Some(bound("web-1")), Vec::new(), at(0), SignedDuration::from_hours(1))
}

fn key() -> TokenKey {
    TokenKey::new(new_key("a key").unwrap().serialized_der()).unwrap()
}

#[test]
fn a_token_says_whose_it_is_in_kubernetes_words() {
    let key = key();
    let token = key.sign(&claims()).unwrap();
    assert_eq!(key.verify(&token, at(10)).unwrap(), claims_with_id(&token));
    let json = json_of(&token, 1);
    assert_eq!(json["iss"], "https://kubernetes.default.svc.cluster.local");
    assert_eq!(json["sub"], "system:serviceaccount:shop:cart");
    assert_eq!(json["kubernetes.io"]["namespace"], "shop");
    assert_eq!(json["kubernetes.io"]["serviceaccount"]["uid"], "uid-of-cart");
    assert_eq!(json["kubernetes.io"]["pod"]["name"], "web-1");
    assert_eq!(json["exp"].as_i64().unwrap() - json["iat"].as_i64().unwrap(), 3600);
    assert_eq!(json_of(&token, 0)["alg"], "ES256");
    // A version 4 UUID, another one each time.
    let id = json["jti"].as_str().unwrap();
    assert!(id.len() == 36 && id.as_bytes()[14] == b'4' && b"89ab".contains(&id.as_bytes()[19]), "{id}");
    assert_ne!(json_of(&key.sign(&claims()).unwrap(), 1)["jti"], json["jti"]);
}

fn json_of(token: &str, part: usize) -> serde_json::Value {
    let part = token.split('.').nth(part).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn claims_with_id(token: &str) -> Claims {
    Claims { jti: json_of(token, 1)["jti"].as_str().unwrap().to_string(), ..claims() }
}

#[test]
fn a_token_is_good_between_its_times() {
    let key = key();
    let token = key.sign(&claims()).unwrap();
    assert!(key.verify(&token, at(0)).is_ok());
    assert!(key.verify(&token, at(3599)).is_ok());
    assert_eq!(key.verify(&token, at(3600)), Err(TokenError::Expired));
    assert_eq!(key.verify(&token, at(-60)), Err(TokenError::Expired));
}

#[test]
fn a_token_of_another_key_is_refused() {
    let token = key().sign(&claims()).unwrap();
    assert_eq!(key().verify(&token, at(1)), Err(TokenError::Foreign));
}

#[test]
fn a_token_for_others_is_refused() {
    let key = key();
    let claims = Claims { aud: vec!["vault".into()], ..claims() };
    assert_eq!(key.verify(&key.sign(&claims).unwrap(), at(1)), Err(TokenError::Audience));
    let claims = Claims { iss: "https://elsewhere".into(), ..self::claims() };
    assert_eq!(key.verify(&key.sign(&claims).unwrap(), at(1)), Err(TokenError::Foreign));
}

/// No byte of a token can be changed, and nothing that is no token is taken for one.
#[test]
fn a_token_that_was_tampered_with_is_refused() {
    let key = key();
    let token = key.sign(&claims()).unwrap();
    for index in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        // The last character of a part has bits that decode to nothing: flip one that counts.
        bytes[index] = if bytes[index] == b'A' { b'Q' } else { b'A' };
        let tampered = String::from_utf8(bytes).unwrap();
        assert!(key.verify(&tampered, at(1)).is_err(), "byte {index}");
    }
    let parts: Vec<&str> = token.split('.').collect();
    let other = |claims: serde_json::Value| URL_SAFE_NO_PAD.encode(claims.to_string());
    let mut admin = json_of(&token, 1);
    admin["sub"] = "system:serviceaccount:kube-system:root".into();
    let unsigned = other(serde_json::json!({"alg": "none", "kid": json_of(&token, 0)["kid"]}));
    let hmac = other(serde_json::json!({"alg": "HS256", "kid": json_of(&token, 0)["kid"]}));
    for forged in [
        String::new(),
        ".".into(),
        "..".into(),
        "a.b.c".into(),
        parts[0].into(),
        format!("{}.{}", parts[0], parts[1]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{token}."),
        format!("{token}.{}", parts[2]),
        format!("{}.{}.{}", parts[0], other(admin), parts[2]),
        format!("{unsigned}.{}.", parts[1]),
        format!("{unsigned}.{}.{}", parts[1], parts[2]),
        format!("{hmac}.{}.{}", parts[1], parts[2]),
        "x".repeat(1 << 20),
    ] {
        assert!(key.verify(&forged, at(1)).is_err(), "{forged:.100}");
    }
}

#[test]
fn an_authority_is_made_once_and_kept_from_others() {
    let dir = Dir::new("once");
    let path = dir.0.join("pki");
    let first = Authority::open(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    for entry in fs::read_dir(&path).unwrap() {
        assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    let second = Authority::open(&path).unwrap();
    assert_eq!(first.ca_pem, second.ca_pem);
    let token = first.tokens.sign(&claims()).unwrap();
    assert!(second.tokens.verify(&token, at(1)).is_ok());

    // A directory that is not whole is of no use to anybody.
    fs::write(path.join(ADMIN_KEY), "").unwrap();
    let third = Authority::open(&path).unwrap();
    assert_ne!(third.ca_pem, first.ca_pem);
    assert!(third.tokens.verify(&token, at(1)).is_err());
    assert!(!path.with_extension("new").exists());
}

/// A client that trusts `authority`, and shows the administrator's certificate kept in `own` if there is one.
fn client(authority: &Authority, own: Option<&Path>) -> rustls::ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate.clone()).unwrap();
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let Some(dir) = own else { return builder.with_no_client_auth() };
    let certificate = CertificateDer::from_pem_file(dir.join(ADMIN_CERT)).unwrap();
    let key = PrivateKeyDer::from_pem_file(dir.join(ADMIN_KEY)).unwrap();
    builder.with_client_auth_cert(vec![certificate], key).unwrap()
}

/// Shakes hands without a network. Whether the server has seen a certificate.
fn handshake(server: &Arc<ServerConfig>, client: rustls::ClientConfig, name: &str) -> Result<bool, rustls::Error> {
    let mut server = rustls::ServerConnection::new(server.clone()).unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(client), name.to_string().try_into().unwrap()).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        server.read_tls(&mut bytes.as_slice()).unwrap();
        server.process_new_packets()?;
        let mut bytes = Vec::new();
        server.write_tls(&mut bytes).unwrap();
        client.read_tls(&mut bytes.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    Ok(server.peer_certificates().is_some())
}

#[test]
fn the_server_is_known_by_its_names_and_clients_by_their_certificates() {
    let (dir, foreign_dir) = (Dir::new("tls"), Dir::new("foreign"));
    let (path, foreign_path) = (dir.0.join("pki"), foreign_dir.0.join("pki"));
    Authority::open(&path).unwrap();
    // As it is after a restart.
    let authority = Authority::open(&path).unwrap();
    let foreign = Authority::open(&foreign_path).unwrap();
    let server = authority.server_config(&["kubernetes.default"], &["10.96.0.1".parse().unwrap()]).unwrap();
    assert_eq!(handshake(&server, client(&authority, None), "kubernetes.default"), Ok(false));
    assert_eq!(handshake(&server, client(&authority, Some(&path)), "10.96.0.1"), Ok(true));
    for (config, name) in [
        (client(&authority, None), "10.96.0.2"),
        (client(&authority, None), "example.com"),
        (client(&foreign, None), "kubernetes.default"),
        (client(&authority, Some(&foreign_path)), "kubernetes.default"),
    ] {
        assert!(handshake(&server, config, name).is_err(), "{name}");
    }
}
