//! stub
use crate::layout::Layout;
use crate::object::lab::Lab;
#[derive(PartialEq, Eq, Clone, Copy)]
pub enum Level {
    Error,
    Warning,
}
pub struct Finding {
    pub level: Level,
    pub what: String,
    pub why: String,
    pub fix: String,
}
pub fn check(_lab: &Lab, _layout: &Layout) -> Vec<Finding> {
    Vec::new()
}
