//! Long lists in pages: all pages of one list show the same moment.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::status::ApiError;
use crate::object::Snapshot;

/// How long a snapshot waits for its next page.
const KEPT_FOR: Duration = Duration::from_secs(300);
/// How many snapshots wait at most. Each keeps the objects that were changed since.
const KEPT: usize = 8;

/// Snapshots that somebody is in the middle of listing.
#[derive(Default)]
pub struct Pages(VecDeque<(Instant, Snapshot)>);

impl Pages {
    pub fn keep(&mut self, snapshot: &Snapshot) {
        let now = Instant::now();
        let version = snapshot.resource_version();
        self.0.retain(|(since, kept)| now.duration_since(*since) < KEPT_FOR && kept.resource_version() != version);
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back((now, snapshot.clone()));
    }

    pub fn at(&self, resource_version: u64) -> Option<Snapshot> {
        self.0.iter().find(|(_, kept)| kept.resource_version() == resource_version).map(|(_, kept)| kept.clone())
    }
}

/// Where a page begins: after an object, at a resourceVersion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub resource_version: u64,
    pub namespace: String,
    pub name: String,
}

impl Token {
    pub fn encode(&self) -> String {
        let token = json!({"v": "meta.k8s.io/v1", "rv": self.resource_version, "after": [self.namespace, self.name]});
        URL_SAFE_NO_PAD.encode(token.to_string())
    }

    pub fn decode(text: &str) -> Result<Self, ApiError> {
        let bad = || ApiError::bad_request("continue key is not valid: it is not one this server gave");
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| bad())?;
        let token: Value = serde_json::from_slice(&bytes).map_err(|_| bad())?;
        let text = |index: usize| token.get("after").and_then(|a| a.get(index)).and_then(Value::as_str);
        Ok(Token {
            resource_version: token.get("rv").and_then(Value::as_u64).ok_or_else(bad)?,
            namespace: text(0).ok_or_else(bad)?.to_string(),
            name: text(1).ok_or_else(bad)?.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_as_they_were() {
        let token = Token { resource_version: 7, namespace: "default".into(), name: "web-1".into() };
        assert_eq!(Token::decode(&token.encode()), Ok(token));
        for bad in ["", "x", "e30", "bnVsbA"] {
            assert!(Token::decode(bad).is_err(), "{bad}");
        }
    }
}
