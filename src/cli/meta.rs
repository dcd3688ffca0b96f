//! The command line about itself: shell completion, manual page, and the schema of the Lab document.

use clap::Args;
use clap_complete::Shell;

use super::{Failure, flags, print};
use crate::object::lab;

/// Print a completion script for a shell
///
/// bash: source <(lab completion bash)
#[derive(Debug, Args)]
pub struct CompletionArgs {
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Print the manual page (lab man | man -l -)
#[derive(Debug, Args)]
pub struct ManArgs {
    /// The page of one command: lab man "create deployment"
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
}

/// Print the JSON schema of a document of kind Lab, for editors
#[derive(Debug, Args)]
pub struct SchemaArgs {}

pub fn completion(args: &CompletionArgs) -> Result<(), Failure> {
    let mut command =
        if super::runs_as_kubectl() { flags::kubectl_command(super::program()) } else { flags::lab_command() };
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, super::program(), &mut script);
    print(&String::from_utf8_lossy(&script))
}

pub fn man(args: &ManArgs) -> Result<(), Failure> {
    let mut command = flags::lab_command();
    command.build();
    let mut page = &command;
    for word in args.command.iter().flat_map(|c| c.split_whitespace()) {
        page = page
            .find_subcommand(word)
            .ok_or_else(|| Failure::error(format!("{} has no command \"{word}\"", page.get_name())))?;
    }
    let mut text = Vec::new();
    clap_mangen::Man::new(page.clone()).render(&mut text)?;
    print(&String::from_utf8_lossy(&text))
}

pub fn schema() -> Result<(), Failure> {
    let schema = schemars::schema_for!(lab::Lab);
    let text =
        serde_json::to_string_pretty(&schema).map_err(|e| Failure::error(format!("the schema is no JSON: {e}")))?;
    print(&(text + "\n"))
}
