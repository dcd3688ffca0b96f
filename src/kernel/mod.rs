//! The only room with system calls: namespaces, links, nftables, mounts, processes.
pub mod conntrack;
pub mod net;
pub mod netlink;
pub mod nft;
pub mod runtime;
