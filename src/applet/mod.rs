//! Programs of this binary that run inside pods.
