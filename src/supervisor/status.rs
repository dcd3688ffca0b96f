//! `lab status`: every lab on this machine.

use std::time::Duration;

use crate::cli::client::{As, Client};
use crate::kernel::teardown;
use crate::layout::Layout;
use crate::report::Report;

use super::commands::name_flag;
use super::lock::Lock;

pub const STATUS_PATH: &str = "/apis/nslab.dev/v1alpha1/status";

/// A lab, and how it is doing; an error text when nobody answers for it.
pub struct LabStatus {
    pub lab: String,
    pub report: Result<Report, String>,
}

pub fn all(runtime: &tokio::runtime::Runtime, only: Option<&str>) -> Vec<LabStatus> {
    let labs = super::down::labs().into_iter().filter(|lab| only.is_none_or(|only| only == lab));
    labs.map(|lab| {
        let report = runtime.block_on(one(&lab));
        LabStatus { lab, report }
    })
    .collect()
}

async fn one(lab: &str) -> Result<Report, String> {
    let (layout, name) = (Layout::new(lab), name_flag(lab));
    let runs = Lock::holder(&layout.supervisor_lock()).is_some();
    let left = teardown::left(&layout);
    if !runs && !left.is_empty() {
        return Err(format!("it is not wholly down: {}; look again with: sudo lab down{name}", left.join("; ")));
    }
    if layout.run().exists() && !runs {
        return Err(format!(
            "its supervisor is not running: sudo lab up{name} takes it over, sudo lab down{name} removes it"
        ));
    }
    if !runs && layout.store().exists() {
        return Err(format!(
            "nothing of it runs, as after a restart of this machine: sudo lab up{name} makes it again with its objects, \
             sudo lab down{name} removes them"
        ));
    }
    if !runs {
        return Err(format!("it is down; data is kept in {}", layout.state().display()));
    }
    fetch(&Client::new(lab, layout.api_socket())).await
}

pub async fn fetch(client: &Client) -> Result<Report, String> {
    fetch_path(client, STATUS_PATH).await
}

/// As [`fetch`], but as soon as the kernel has been brought up to the objects, or after `patience`.
pub async fn fetch_settled(client: &Client, patience: Duration) -> Result<Report, String> {
    fetch_path(client, &format!("{STATUS_PATH}?settledWithinMilliseconds={}", patience.as_millis())).await
}

async fn fetch_path(client: &Client, path: &str) -> Result<Report, String> {
    let value = client.get_path(path, As::Json).await.map_err(|error| error.to_string())?;
    serde_json::from_value(value).map_err(|error| format!("read the lab's status: {error}"))
}
