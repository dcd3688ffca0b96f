//! The loop: snapshot, plan, diff, kernel, status.
