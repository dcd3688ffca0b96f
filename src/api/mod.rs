//! The Kubernetes-shaped HTTP API over the store.
