//! The API as its clients see it: served on a unix socket, over a store in memory.

mod applying;
mod bounds;
mod consistency;
mod custom;
mod dns;
mod forwards;
mod harness;
mod kinds;
mod logs;
mod managed;
mod objects;
mod openapi;
mod services;
mod sessions;
mod watches;
