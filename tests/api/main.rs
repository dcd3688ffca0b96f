//! The API as its clients see it: served on a unix socket, over a store in memory.

mod applying;
mod custom;
mod harness;
mod kinds;
mod logs;
mod objects;
mod services;
mod sessions;
mod watches;
