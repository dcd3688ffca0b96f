//! nslab: a Kubernetes networking and storage lab on one Linux machine. ARCHITECTURE.md is the map of these rooms.

pub mod agent;
pub mod api;
pub mod applet;
pub mod cli;
pub mod control;
pub mod desired;
pub mod diff;
pub mod kernel;
pub mod layout;
pub mod manifest;
pub mod object;
pub mod pki;
pub mod plan;
pub mod report;
pub mod session;
pub mod spdy;
pub mod store;
pub mod supervisor;
