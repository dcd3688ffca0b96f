//! The command line: one file a verb family, a client of the API.

pub mod doctor;
pub mod down;
pub mod plan;
pub mod status;
pub mod up;
