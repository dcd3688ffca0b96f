//! Kubernetes' remote command protocol: binary WebSocket messages whose first byte is a channel.

use hyper::body::Bytes;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::session::{Exit, SessionError};

pub const STDIN: u8 = 0;
pub const STDOUT: u8 = 1;
pub const STDERR: u8 = 2;
/// Carries one `Status` at the end.
pub const ERROR: u8 = 3;
/// Carries `{"Width":80,"Height":24}`.
pub const RESIZE: u8 = 4;
/// Version 5: carries the number of a channel that ends.
pub const CLOSE: u8 = 255;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    V4,
    V5,
}

impl Protocol {
    pub const NAMES: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];

    /// The first that both know, of a client's `Sec-WebSocket-Protocol`.
    pub fn choose(offered: &str) -> Option<Self> {
        offered.split(',').find_map(|name| match name.trim() {
            "v5.channel.k8s.io" => Some(Protocol::V5),
            "v4.channel.k8s.io" => Some(Protocol::V4),
            _ => None,
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            Protocol::V5 => Self::NAMES[0],
            Protocol::V4 => Self::NAMES[1],
        }
    }
}

pub fn message(channel: u8, data: &[u8]) -> Message {
    let mut bytes = Vec::with_capacity(data.len() + 1);
    bytes.push(channel);
    bytes.extend_from_slice(data);
    Message::Binary(Bytes::from(bytes))
}

/// How the command ended, for the channel [`ERROR`].
pub fn ended(exit: Exit) -> Value {
    if exit.code == 0 {
        return json!({"metadata": {}, "status": "Success"});
    }
    json!({
        "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
        "message": format!("command terminated with non-zero exit code: exit status {}", exit.code),
        "details": {"causes": [{"reason": "ExitCode", "message": exit.code.to_string()}]},
    })
}

pub fn failed(error: &SessionError) -> Value {
    let message = match error {
        SessionError::NotRunning(why) => why.clone(),
        SessionError::CannotStart(why) => format!("error executing command in container: {why}"),
    };
    json!({
        "metadata": {}, "status": "Failure", "reason": "InternalError", "code": 500,
        "message": format!("Internal error occurred: {message}"),
        "details": {"causes": [{"message": message}]},
    })
}

/// Columns and rows of a message of the channel [`RESIZE`].
pub fn size(data: &[u8]) -> Option<(u16, u16)> {
    let size: Value = serde_json::from_slice(data).ok()?;
    let of = |name: &str| size.get(name).and_then(Value::as_u64).and_then(|n| u16::try_from(n).ok());
    Some((of("Width")?, of("Height")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_common_protocol_is_taken() {
        assert_eq!(Protocol::choose("v5.channel.k8s.io, v4.channel.k8s.io"), Some(Protocol::V5));
        assert_eq!(Protocol::choose("v4.channel.k8s.io,channel.k8s.io"), Some(Protocol::V4));
        assert_eq!(Protocol::choose("base64.channel.k8s.io"), None);
    }

    #[test]
    fn sizes_are_read_and_nonsense_is_not() {
        assert_eq!(size(br#"{"Width":80,"Height":24}"#), Some((80, 24)));
        for bad in [&b"{}"[..], b"", br#"{"Width":-1,"Height":24}"#, br#"{"Width":70000,"Height":1}"#] {
            assert_eq!(size(bad), None);
        }
    }
}
