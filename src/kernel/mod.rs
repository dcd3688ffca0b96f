//! The only room with system calls: namespaces, links, nftables, mounts, processes.
pub mod inherited;
pub mod net;
pub mod nft;
pub mod runtime;
