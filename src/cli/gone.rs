//! Waits until deleted objects are gone.

use std::time::Duration;

use serde_json::Value;

use super::client::{As, Client, ClientError};
use super::path::Query;
use super::{Context, Failure};
use crate::object::kind::KindRef;

/// An object that is being deleted. Another one that takes its name has another `uid`.
#[derive(Debug, Clone)]
pub struct Going {
    pub kind: KindRef,
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

/// Waits for all of them, at most for `timeout` together.
pub async fn wait(cx: &Context, going: &[Going], timeout: Option<Duration>) -> Result<(), Failure> {
    let all = async {
        for one in going {
            wait_for_one(&cx.client, one).await?;
        }
        Ok::<(), ClientError>(())
    };
    match timeout {
        None => Ok(all.await?),
        Some(timeout) => match tokio::time::timeout(timeout, all).await {
            Ok(result) => Ok(result?),
            Err(_) => Err(Failure::error("timed out waiting for the condition")),
        },
    }
}

async fn wait_for_one(client: &Client, going: &Going) -> Result<(), ClientError> {
    loop {
        let Some(object) = client.find(going.kind, &going.namespace, &going.name).await? else { return Ok(()) };
        let text = |at: &str| object.pointer(at).and_then(Value::as_str).unwrap_or_default();
        if !going.uid.is_empty() && text("/metadata/uid") != going.uid {
            return Ok(());
        }
        let since =
            Query::new().named(&going.name).with_some("resourceVersion", Some(text("/metadata/resourceVersion")));
        let mut events = match client.watch(going.kind, Some(&going.namespace), &since, As::Json).await {
            Ok(events) => events,
            // The version is too old to watch from: look again.
            Err(ClientError::Status(status)) if status.code == 410 => continue,
            Err(error) => return Err(error),
        };
        // The server may end a watch at any time; then the object is looked at again.
        loop {
            match events.event().await {
                Ok(Some((event, _))) if event == "DELETED" => return Ok(()),
                Ok(Some(_)) => {}
                Ok(None) | Err(ClientError::Status(_)) => break,
                Err(error) => return Err(error),
            }
        }
        // A server that ends every watch at once must not be asked in a tight loop.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
