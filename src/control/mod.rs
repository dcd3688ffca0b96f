//! Controllers: one file each, pure functions from a snapshot to writes.
pub mod events;
