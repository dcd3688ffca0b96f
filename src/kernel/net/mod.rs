//! Network namespaces, links, addresses and routes over rtnetlink.
