//! `lab down`: its arguments.

use clap::Args;

/// Take a lab down and prove that nothing of it is left.
#[derive(Debug, Args)]
pub struct DownArgs {
    /// Every lab on this machine.
    #[arg(long)]
    pub all: bool,
    /// Also remove the data that pods wrote to their nodes' hostPath volumes.
    #[arg(long)]
    pub volumes: bool,
}
