//! Who it is that asks. Everybody who is known may do everything: RBAC objects are kept, but not enforced.

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use jiff::Timestamp;

use super::Api;
use crate::object::{KindRef, kind};
use crate::pki::{ADMIN, Bound, Claims, MASTERS};

/// What is known of the one who connects before a request is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Came through a door that is this user's alone, or showed a certificate.
    Known(User),
    /// Has to show a token.
    Unknown,
}

impl Caller {
    /// Who may reach the lab's own socket, or has a certificate that the lab's authority has signed for a client: the
    /// only such is the administrator's.
    pub fn administrator() -> Self {
        let groups = vec![MASTERS.to_string(), AUTHENTICATED.to_string()];
        Caller::Known(User { name: ADMIN.to_string(), uid: String::new(), groups })
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    pub name: String,
    /// Empty for one that is no object.
    pub uid: String,
    pub groups: Vec<String>,
}

const AUTHENTICATED: &str = "system:authenticated";

impl User {
    pub fn anonymous() -> Self {
        let groups = vec!["system:unauthenticated".to_string()];
        User { name: "system:anonymous".to_string(), uid: String::new(), groups }
    }

    fn of_account(claims: &Claims) -> Self {
        let namespace = &claims.kubernetes.namespace;
        User {
            name: claims.sub.clone(),
            uid: claims.kubernetes.serviceaccount.uid.clone(),
            groups: vec![
                "system:serviceaccounts".to_string(),
                format!("system:serviceaccounts:{namespace}"),
                AUTHENTICATED.to_string(),
            ],
        }
    }
}

/// The user behind a request; `None`: nobody that the lab knows.
pub fn user_of(api: &Api, caller: &Caller, headers: &HeaderMap) -> Option<User> {
    match caller {
        Caller::Known(user) => Some(user.clone()),
        Caller::Unknown => {
            let header = headers.get(AUTHORIZATION)?.to_str().ok()?;
            let (scheme, token) = header.split_once(' ')?;
            let token = scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())?;
            user_of_token(api, token)
        }
    }
}

/// A token is good for as long as the account and the pod that it was made for are there.
pub(super) fn user_of_token(api: &Api, token: &str) -> Option<User> {
    let claims = api.tokens.as_ref()?.verify(token, Timestamp::now()).ok()?;
    let snapshot = api.store.snapshot();
    let is_there = |kind: KindRef, bound: &Bound| {
        let found = snapshot.find(kind, &claims.kubernetes.namespace, &bound.name);
        found.is_some_and(|object| object.uid() == bound.uid)
    };
    let account = is_there(&kind::SERVICE_ACCOUNT, &claims.kubernetes.serviceaccount);
    let pod = claims.kubernetes.pod.as_ref().is_none_or(|pod| is_there(&kind::POD, pod));
    (account && pod).then(|| User::of_account(&claims))
}
