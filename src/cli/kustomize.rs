//! Kustomizations: `-k`, and the verb `kustomize`. What builds them is kustomize itself, or Kubernetes' own kubectl: there
//! is no other implementation of it that could be relied on.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use clap::Args;

use super::{Failure, print};

/// Build a kustomization and print it (by kustomize or Kubernetes' own kubectl, which must be installed)
#[derive(Debug, Args)]
pub struct KustomizeArgs {
    /// The directory with the kustomization.yaml
    #[arg(value_name = "DIR", default_value = ".")]
    directory: String,
    /// A file for the result
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub fn run(args: &KustomizeArgs) -> Result<(), Failure> {
    let built = build(&args.directory)?;
    match &args.output {
        None => print(&built),
        Some(path) => std::fs::write(path, built)
            .map_err(|error| Failure::error(format!("cannot write {}: {error}", path.display()))),
    }
}

/// The manifests that the kustomization in `directory` comes to.
pub fn build(directory: &str) -> Result<String, Failure> {
    let Some((program, verb)) = builder() else {
        let failure = Failure::error(format!("cannot build the kustomization {directory}: kustomize is not installed"));
        return Err(failure
            .hint("install kustomize (https://kustomize.io), or Kubernetes' own kubectl")
            .hint("or build it elsewhere (kustomize build DIR > all.yaml), and use -f all.yaml"));
    };
    let output = Command::new(&program).args([verb, directory]).env(ASKED, "1").stdin(Stdio::null()).output();
    let output = output.map_err(|error| Failure::error(format!("cannot run {}: {error}", program.display())))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr).trim().to_string();
        let words = words.strip_prefix("error: ").or(words.strip_prefix("Error: ")).unwrap_or(&words).to_string();
        return Err(Failure::error(words));
    }
    String::from_utf8(output.stdout).map_err(|_| Failure::error(format!("{} wrote no text", program.display())))
}

/// Says that a program like this one has asked: copies of it under the name kubectl are not to ask each other for ever.
const ASKED: &str = "NSLAB_KUSTOMIZE";

/// The program, and its word for this.
fn builder() -> Option<(PathBuf, &'static str)> {
    if std::env::var_os(ASKED).is_some() {
        return None;
    }
    let own = std::env::current_exe().ok()?.canonicalize().ok()?;
    let directories: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    let find = |name: &str| {
        let mut paths = directories.iter().map(|directory| directory.join(name));
        // This program may be called kubectl too.
        paths.find(|path| path.is_file() && path.canonicalize().is_ok_and(|path| path != own))
    };
    find("kustomize").map(|path| (path, "build")).or_else(|| find("kubectl").map(|path| (path, "kustomize")))
}
