//! `-f`: the objects in files, directories, URLs and standard input, as `crate::manifest` reads them.

use clap::Args;
use serde_json::Value;

use super::{Context, Failure};
use crate::object::kind::KindRef;

#[derive(Debug, Clone, Default, Args)]
pub struct FileArgs {
    /// A file, a directory, a URL or - for standard input
    #[arg(short, long, value_name = "FILE", value_delimiter = ',')]
    pub filename: Vec<String>,
    /// Directories with all that is below them
    #[arg(short = 'R', long)]
    pub recursive: bool,
    #[arg(short, long, hide = true)]
    pub kustomize: Option<String>,
}

impl FileArgs {
    pub fn is_given(&self) -> bool {
        !self.filename.is_empty() || self.kustomize.is_some()
    }
}

/// An object in a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    pub kind: KindRef,
    /// Empty for cluster-scoped kinds.
    pub namespace: String,
    pub name: String,
    pub object: Value,
    /// The file, as the user named it.
    pub source: String,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Documents {
    pub documents: Vec<Document>,
}

/// Reads all files; with a problem in one of them, nothing is read.
pub fn read(args: &FileArgs, cx: &Context) -> Result<Documents, Failure> {
    let _ = (args, cx);
    Err(Failure::error("files are not read yet"))
}
