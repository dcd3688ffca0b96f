//! `lab doctor`: its arguments.

use clap::Args;

/// Check this machine: kernel features, limits, subnets that clash, leftovers; each finding with its fix.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// What to print: json, for programs.
    #[arg(short, long, value_name = "FORMAT", value_parser = ["json"])]
    pub output: Option<String>,
}
