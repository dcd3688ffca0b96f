//! The only room with system calls: namespaces, links, nftables, mounts, processes.
pub mod net;
pub mod nft;
pub mod process;
pub mod runtime;
