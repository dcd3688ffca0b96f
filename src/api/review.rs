//! Questions about who one is and what one may do (`kubectl auth whoami`, `kubectl auth can-i`), and tokens on demand
//! (`kubectl create token`).

use hyper::{Method, Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::auth;
use super::body::Body;
use super::respond;
use super::route::Target;
use super::serve::Call;
use super::status::{ApiError, Cause};
use super::write::body_of;
use crate::object::kind;
use crate::pki::{Bound, Claims};

/// A kind that is only ever created, and answered with itself and a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Review {
    SelfSubject,
    SelfSubjectAccess,
    SubjectAccess,
    SelfSubjectRules,
    Token,
}

/// By its path below `/apis`.
pub fn by_path(group: &str, version: &str, plural: &str) -> Option<Review> {
    match (group, version, plural) {
        ("authentication.k8s.io", "v1", "selfsubjectreviews") => Some(Review::SelfSubject),
        ("authorization.k8s.io", "v1", "selfsubjectaccessreviews") => Some(Review::SelfSubjectAccess),
        ("authorization.k8s.io", "v1", "subjectaccessreviews") => Some(Review::SubjectAccess),
        ("authorization.k8s.io", "v1", "selfsubjectrulesreviews") => Some(Review::SelfSubjectRules),
        ("authentication.k8s.io", "v1", "tokenreviews") => Some(Review::Token),
        _ => None,
    }
}

/// How kinds stand in discovery that are never stored: group, version, plural, kind, and whether they are namespaced.
pub const CREATE_ONLY: [(&str, &str, &str, &str, bool); 6] = [
    ("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", false),
    ("authentication.k8s.io", "v1", "tokenreviews", "TokenReview", false),
    ("authorization.k8s.io", "v1", "localsubjectaccessreviews", "LocalSubjectAccessReview", true),
    ("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", false),
    ("authorization.k8s.io", "v1", "selfsubjectrulesreviews", "SelfSubjectRulesReview", false),
    ("authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", false),
];

const WHY: &str = "the lab keeps RBAC objects but does not enforce them: everybody who is known may do everything";

pub async fn answer(review: Review, call: Call) -> Result<Response<Body>, ApiError> {
    if call.request.method() != Method::POST {
        return Err(ApiError::method_not_allowed());
    }
    let (user, api) = (call.user.clone(), call.api.clone());
    let mut asked = json_body(call).await?;
    asked["status"] = match review {
        Review::SelfSubject => {
            let mut info = json!({"username": user.name, "groups": user.groups});
            if !user.uid.is_empty() {
                info["uid"] = user.uid.into();
            }
            asked["metadata"] =
                json!({"creationTimestamp": Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()});
            json!({ "userInfo": info })
        }
        Review::Token => {
            let token = asked.pointer("/spec/token").and_then(Value::as_str).unwrap_or("");
            match auth::user_of_token(&api, token) {
                Some(user) => json!({"authenticated": true,
                    "user": {"username": user.name, "uid": user.uid, "groups": user.groups}}),
                None => json!({"error": "invalid bearer token", "user": {}}),
            }
        }
        Review::SelfSubjectAccess | Review::SubjectAccess => json!({"allowed": true, "reason": WHY}),
        Review::SelfSubjectRules => json!({
            "incomplete": false,
            "nonResourceRules": [{"nonResourceURLs": ["*"], "verbs": ["*"]}],
            "resourceRules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}],
        }),
    };
    Ok(respond::json_with(StatusCode::CREATED, &asked))
}

async fn json_body(call: Call) -> Result<Value, ApiError> {
    let bytes = body_of(call).await?;
    let value: Value = serde_json::from_slice(&bytes)
        .map_err(|error| ApiError::bad_request(format!("the body is no JSON: {error}")))?;
    match value.is_object() {
        true => Ok(value),
        false => Err(ApiError::bad_request("the body is no JSON object")),
    }
}

/// Kubernetes' bounds of a token's life, in seconds, and its default.
const SHORTEST: i64 = 600;
const LONGEST: i64 = 1 << 32;
const DEFAULT: i64 = 3_600;

/// A token for a ServiceAccount, bound to a pod if the request names one.
pub async fn token(target: Target, call: Call) -> Result<Response<Body>, ApiError> {
    let api = call.api.clone();
    let account = api.find(&Target { subresource: None, ..target.clone() })?;
    let mut asked = json_body(call).await?;
    let keys = api.tokens.clone().ok_or_else(|| ApiError::internal("this API signs no tokens"))?;
    let seconds = asked.pointer("/spec/expirationSeconds").and_then(Value::as_i64).unwrap_or(DEFAULT);
    let refused = |why: &str| {
        let cause = Cause::invalid("spec.expirationSeconds", &seconds.into(), why);
        Err(ApiError::invalid(target.kind, account.name(), vec![cause]))
    };
    if seconds < SHORTEST {
        return refused("may not specify a duration less than 10 minutes");
    }
    if seconds > LONGEST {
        return refused("may not specify a duration larger than 2^32 seconds");
    }
    let text = |at: &str| asked.pointer(at).and_then(Value::as_str);
    let pod = match (text("/spec/boundObjectRef/kind"), text("/spec/boundObjectRef/name")) {
        (Some("Pod"), Some(name)) => {
            let snapshot = api.store.snapshot();
            let found = snapshot.find(&kind::POD, target.namespace(), name);
            let pod = found.ok_or_else(|| ApiError::not_found(&kind::POD, name))?;
            Some(Bound { name: name.to_string(), uid: pod.uid().to_string() })
        }
        (None | Some(""), _) => None,
        (Some(_), _) => return Err(ApiError::bad_request("the lab binds tokens to Pods only")),
    };
    let audiences = asked.pointer("/spec/audiences").and_then(Value::as_array).into_iter().flatten();
    let audiences = audiences.filter_map(Value::as_str).map(str::to_string).collect();
    let bound = Bound { name: account.name().to_string(), uid: account.uid().to_string() };
    let lifetime = SignedDuration::from_secs(seconds);
    let claims = Claims::new(target.namespace(), bound, pod, audiences, Timestamp::now(), lifetime);
    let token = keys.sign(&claims).map_err(ApiError::internal)?;
    let ends = Timestamp::from_second(claims.exp).map_err(ApiError::internal)?;
    asked["status"] = json!({"token": token, "expirationTimestamp": ends.to_string()});
    Ok(respond::json_with(StatusCode::CREATED, &asked))
}
