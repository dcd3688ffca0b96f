//! From a snapshot of objects to the one value the lab should be.

pub mod catalogue;
