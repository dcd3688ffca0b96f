//! The lab's own certificate authority and what it vouches for: the API's server, the administrator, and service
//! accounts.
//!
//! Made once a lab, kept in a directory that only root may read, gone with `lab down`. The server's certificate is not
//! kept: each supervisor makes one for the addresses that the nodes have then.

mod lazy;
mod token;

pub use lazy::Lazy;
pub use token::{Account, Bound, Claims, ISSUER, TokenError, TokenKey};

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::{Timestamp, ToSpan, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::layout::{ADMIN_CERT, ADMIN_KEY, CA_CERT};

/// The administrator's user and group: what kubeadm calls them.
pub const ADMIN: &str = "kubernetes-admin";
pub const MASTERS: &str = "system:masters";
/// How long what is signed here is good for; a lab does not live as long.
const YEARS: i64 = 10;

/// The files that are for the supervisor alone.
const CA_KEY: &str = "ca.key";
const ACCOUNTS_KEY: &str = "sa.key";

#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    #[error("{doing} {}: {source}", path.display())]
    File { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("make {what}: {why}")]
    Make { what: &'static str, why: String },
}

fn making<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> PkiError {
    move |error| PkiError::Make { what, why: error.to_string() }
}

/// A lab's certificate authority, and the key that its service accounts' tokens are signed with.
pub struct Authority {
    ca: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    /// The authority's certificate, as clients want it.
    pub ca_pem: Arc<str>,
    pub tokens: Arc<TokenKey>,
}

impl Authority {
    /// The one in `dir`, made now if there is none, or no whole one. `dir` appears whole or not at all.
    pub fn open(dir: &Path) -> Result<Self, PkiError> {
        match Self::load(dir) {
            Some(authority) => Ok(authority),
            None => Self::create(dir),
        }
    }

    fn load(dir: &Path) -> Option<Self> {
        let text = |name: &str| fs::read_to_string(dir.join(name)).ok();
        let ca = KeyPair::from_pem(&text(CA_KEY)?).ok()?;
        let ca_pem = text(CA_CERT)?;
        let certificate = CertificateDer::from_pem_slice(ca_pem.as_bytes()).ok()?;
        let accounts = KeyPair::from_pem(&text(ACCOUNTS_KEY)?).ok()?;
        // A machine that lost its power may have kept names without contents.
        if [ADMIN_CERT, ADMIN_KEY].iter().any(|name| text(name).is_none_or(|text| text.is_empty())) {
            return None;
        }
        Self::of(ca, certificate, ca_pem, &accounts).ok()
    }

    fn of(
        ca: KeyPair,
        certificate: CertificateDer<'static>,
        ca_pem: String,
        accounts: &KeyPair,
    ) -> Result<Self, PkiError> {
        let tokens = TokenKey::new(accounts.serialized_der()).map_err(making("the service accounts' key"))?;
        let ca = Issuer::new(authority_params(), ca);
        Ok(Authority { ca, certificate, ca_pem: ca_pem.into(), tokens: Arc::new(tokens) })
    }

    fn create(dir: &Path) -> Result<Self, PkiError> {
        let ca_key = new_key("the certificate authority's key")?;
        let certificate = authority_params().self_signed(&ca_key).map_err(making("the certificate authority"))?;
        let accounts = new_key("the service accounts' key")?;
        let files =
            [(CA_CERT, certificate.pem()), (CA_KEY, ca_key.serialize_pem()), (ACCOUNTS_KEY, accounts.serialize_pem())];
        let authority = Self::of(ca_key, certificate.der().clone(), certificate.pem(), &accounts)?;
        let (admin, admin_key) = authority.sign("the administrator's certificate", |params| {
            params.distinguished_name.push(DnType::OrganizationName, MASTERS);
            params.distinguished_name.push(DnType::CommonName, ADMIN);
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        })?;
        let admin = [(ADMIN_CERT, admin.pem()), (ADMIN_KEY, admin_key.serialize_pem())];
        write_whole(dir, files.into_iter().chain(admin))?;
        Ok(authority)
    }

    fn sign(
        &self,
        what: &'static str,
        fill: impl FnOnce(&mut CertificateParams),
    ) -> Result<(rcgen::Certificate, KeyPair), PkiError> {
        let key = new_key(what)?;
        let mut params = params();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        fill(&mut params);
        let certificate = params.signed_by(&key, &self.ca).map_err(making(what))?;
        Ok((certificate, key))
    }

    /// What a server of the API at these names and addresses needs. A client may show a certificate, and one that the
    /// authority did not sign ends the handshake.
    pub fn server_config(&self, names: &[&str], addresses: &[IpAddr]) -> Result<Arc<ServerConfig>, PkiError> {
        const WHAT: &str = "the API server's certificate";
        let names = names.iter().map(|name| Ok(SanType::DnsName((*name).try_into().map_err(making(WHAT))?)));
        let mut all = names.collect::<Result<Vec<_>, PkiError>>()?;
        all.extend(addresses.iter().copied().map(SanType::IpAddress));
        let (certificate, key) = self.sign(WHAT, |params| {
            params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            params.subject_alt_names = all;
        })?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).map_err(making(WHAT))?;
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .allow_unauthenticated()
            .build()
            .map_err(making(WHAT))?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(making(WHAT))?
            .with_client_cert_verifier(clients)
            .with_single_cert(vec![certificate.der().clone()], key)
            .map_err(making(WHAT))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

fn new_key(what: &'static str) -> Result<KeyPair, PkiError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(making(what))
}

/// Good from yesterday on, so that a clock that is set back a little does no harm.
fn params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let day = |date: jiff::civil::Date| {
        let of = |number: i8| u8::try_from(number).unwrap_or(1);
        rcgen::date_time_ymd(date.year().into(), of(date.month()), of(date.day()))
    };
    params.not_before = day(today.saturating_sub(1.day()));
    params.not_after = day(today.saturating_add(YEARS.years()));
    params
}

/// The same each time: what is signed names the authority by these.
fn authority_params() -> CertificateParams {
    let mut params = params();
    params.distinguished_name.push(DnType::CommonName, "kubernetes");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// Writes the files aside and puts them in place of whatever `dir` was.
fn write_whole(dir: &Path, files: impl Iterator<Item = (&'static str, String)>) -> Result<(), PkiError> {
    let failed = |doing, path: &Path| {
        let path = path.to_path_buf();
        move |source| PkiError::File { doing, path, source }
    };
    let aside = dir.with_extension("new");
    for old in [&aside, &dir.to_path_buf()] {
        match fs::remove_dir_all(old) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove", old)(error)),
            _ => {}
        }
    }
    DirBuilder::new().recursive(true).mode(0o700).create(&aside).map_err(failed("make", &aside))?;
    for (name, text) in files {
        let path = aside.join(name);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(failed("write", &path))?;
    }
    fs::rename(&aside, dir).map_err(failed("write", dir))
}

#[cfg(test)]
mod tests;
