//! The objects that a verb is for, as its arguments name them.

use clap::Args;

use super::files::FileArgs;

#[derive(Debug, Args)]
pub struct TargetArgs {
    /// TYPE NAME..., TYPE/NAME..., or TYPE alone
    #[arg(value_name = "TYPE[/NAME]")]
    pub resources: Vec<String>,
    #[command(flatten)]
    pub files: FileArgs,
    /// All objects with these labels
    #[arg(short = 'l', long)]
    pub selector: Option<String>,
}
