//! The loop: snapshot, plan, diff, kernel, status.

pub mod kubelet;
