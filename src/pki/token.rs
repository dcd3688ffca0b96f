//! Service accounts' tokens: JSON Web Tokens signed with ES256, with Kubernetes' claims.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Who signs, and for whom, as in a cluster that kubeadm made.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
/// The longest token that is looked at, in bytes.
const MAX_LENGTH: usize = 16 << 10;
/// Clocks of one machine agree; a token that is checked in the second it is made in must do.
const LEEWAY: SignedDuration = SignedDuration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("the token is no JSON Web Token of a service account")]
    Malformed,
    #[error("the token was not signed by this lab")]
    Foreign,
    #[error("the token has expired, or is not good yet")]
    Expired,
    #[error("the token is for another audience")]
    Audience,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    pub aud: Vec<String>,
    pub exp: i64,
    pub iat: i64,
    pub iss: String,
    pub jti: String,
    #[serde(rename = "kubernetes.io")]
    pub kubernetes: Account,
    pub nbf: i64,
    pub sub: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub namespace: String,
    /// The pod that the token is good for, and as long as it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Bound>,
    pub serviceaccount: Bound,
}

/// An object by name, and no later one of the same name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    pub name: String,
    pub uid: String,
}

impl Claims {
    pub fn new(
        namespace: &str,
        account: Bound,
        pod: Option<Bound>,
        audiences: Vec<String>,
        now: Timestamp,
        lifetime: SignedDuration,
    ) -> Self {
        let issued = now.as_second();
        Claims {
            aud: if audiences.is_empty() { vec![ISSUER.to_string()] } else { audiences },
            exp: issued.saturating_add(lifetime.as_secs()),
            iat: issued,
            iss: ISSUER.to_string(),
            jti: unique(),
            nbf: issued,
            sub: format!("system:serviceaccount:{namespace}:{}", account.name),
            kubernetes: Account { namespace: namespace.to_string(), pod, serviceaccount: account },
        }
    }
}

/// A random UUID.
fn unique() -> String {
    let bits = rand::random::<u128>();
    let bits = (bits & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    kid: String,
}

/// Signs tokens, and knows its own again.
pub struct TokenKey {
    key: EcdsaKeyPair,
    random: SystemRandom,
    kid: String,
    /// Encoded once: it is the same in all tokens.
    header: String,
}

const ALGORITHM: &str = "ES256";

impl TokenKey {
    /// `pkcs8`: a private key on the curve P-256.
    pub fn new(pkcs8: &[u8]) -> Result<Self, ring::error::KeyRejected> {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &random)?;
        let kid = URL_SAFE_NO_PAD.encode(Sha256::digest(key.public_key().as_ref()));
        let header = encode(&Header { alg: ALGORITHM.to_string(), kid: kid.clone() });
        Ok(TokenKey { key, random, kid, header })
    }

    pub fn sign(&self, claims: &Claims) -> Result<String, TokenError> {
        let mut token = format!("{}.{}", self.header, encode(claims));
        // Only for want of random numbers.
        let signature = self.key.sign(&self.random, token.as_bytes()).map_err(|_| TokenError::Malformed)?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }

    /// The claims of a token that this key has signed for the API, and that is good at `now`.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Claims, TokenError> {
        if token.len() > MAX_LENGTH {
            return Err(TokenError::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        let header: Header = decode(header)?;
        if header.alg != ALGORITHM || header.kid != self.kid {
            return Err(TokenError::Foreign);
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| TokenError::Malformed)?;
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.public_key().as_ref());
        key.verify(signed.as_bytes(), &signature).map_err(|_| TokenError::Foreign)?;
        let claims: Claims = decode(claims)?;
        if claims.iss != ISSUER {
            return Err(TokenError::Foreign);
        }
        let second = now.as_second();
        if second >= claims.exp || second.saturating_add(LEEWAY.as_secs()) < claims.nbf {
            return Err(TokenError::Expired);
        }
        match claims.aud.iter().any(|audience| audience == ISSUER) {
            true => Ok(claims),
            false => Err(TokenError::Audience),
        }
    }
}

fn encode(value: &impl Serialize) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(value).unwrap_or_default())
}

fn decode<T: for<'a> Deserialize<'a>>(text: &str) -> Result<T, TokenError> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenError::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| TokenError::Malformed)
}
