//! A node as a process: pid 1 of the node, which starts and watches its containers.
