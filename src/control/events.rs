//! stub
use crate::object::{Object, Snapshot, Write};
use std::sync::Arc;
pub struct Announcement {
    pub about: Arc<Object>,
    pub warning: bool,
    pub reason: String,
    pub message: String,
    pub component: &'static str,
}
pub fn announce(_s: &Snapshot, _a: Vec<Announcement>, _now: jiff::Timestamp) -> Vec<Write> {
    Vec::new()
}
