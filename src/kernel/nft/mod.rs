//! Service address translation: nftables over netlink.
