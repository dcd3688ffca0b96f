//! `lab plan`: its arguments, and the steps as text.

use std::path::PathBuf;

use clap::Args;

use crate::diff::Step;

/// Show what `lab up` would do, step by step with the reasons, without doing it. Needs no root.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Manifests: files, directories, URLs, or - for standard input.
    #[arg(value_name = "FILE|DIR|URL|-")]
    pub files: Vec<PathBuf>,
    /// Directories with all that is below them.
    #[arg(short = 'R', long)]
    pub recursive: bool,
    /// Do not plug this machine into the lab's LAN.
    #[arg(long)]
    pub no_host: bool,
    /// What to print: json for the steps, or desired for everything that the lab would then have.
    #[arg(short, long, value_name = "FORMAT", value_parser = ["json", "desired"])]
    pub output: Option<String>,
}

/// The steps, numbered, with the reasons in a column of their own.
pub fn render(steps: &[Step]) -> String {
    if steps.is_empty() {
        return "Nothing to do: the lab is as the manifests say.\n".to_string();
    }
    let actions: Vec<String> = steps.iter().map(|step| step.action.to_string()).collect();
    let width = actions.iter().map(|a| a.chars().count()).max().unwrap_or(0).min(72);
    let number = steps.len().to_string().len();
    let lines = steps.iter().zip(&actions).enumerate();
    lines.map(|(i, (step, action))| format!("{:>number$}  {action:<width$}  # {}\n", i + 1, step.reason)).collect()
}
