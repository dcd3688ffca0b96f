//! `lab up`: read, check, start, apply, wait.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::lock::Lock;
use super::start::{Orders, start};
use super::status::fetch;
use crate::cli::client::Client;
use crate::cli::up::{Progress, UpArgs, failure, summary};
use crate::kernel::preflight::{self, Level};
use crate::layout::Layout;
use crate::manifest::{self, Document};
use crate::object::kind;
use crate::object::lab::Lab;
use crate::report::Report;

/// Between two looks at a lab that is not ready yet.
const LOOK: Duration = Duration::from_millis(2);
/// After this long the looks become rarer.
const SOON: Duration = Duration::from_secs(1);
const LATER: Duration = Duration::from_millis(50);

/// Says what was tried and what to do; printed as it is.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UpError(pub String);

fn because<E: std::fmt::Display>(doing: &str) -> impl FnOnce(E) -> UpError + '_ {
    move |error| UpError(format!("{doing}: {error}"))
}

/// The manifests of a command line: the Lab document, if there is one, and all else.
pub struct Read {
    pub lab: Option<(Lab, Arc<str>)>,
    pub documents: Vec<Document>,
}

/// Reads and checks every file before anything is changed.
pub fn read(files: &[std::path::PathBuf]) -> Result<Read, UpError> {
    let inputs: Vec<manifest::Input> =
        files.iter().map(|file| manifest::Input::from_argument(&file.to_string_lossy())).collect();
    let documents = manifest::read(&inputs, manifest::Options::default()).map_err(|problems| UpError(problems.to_string()))?;
    let (labs, documents): (Vec<Document>, Vec<Document>) =
        documents.into_iter().partition(|d| d.object.kind().is_some_and(|k| *k == kind::LAB));
    let mut lab = None;
    for document in labs {
        if lab.is_some() {
            let problem = document.problem("", "a second Lab document: a lab has one", None);
            return Err(UpError(problem.to_string()));
        }
        let read = document.object.view::<Lab>().map_err(|error| {
            UpError(document.problem("", format!("the Lab document cannot be read: {}", error.reason), None).to_string())
        })?;
        if let Err(error) = read.complete_nodes() {
            return Err(UpError(document.problem(&error.path, error.to_string(), None).to_string()));
        }
        lab = Some(((*read).clone(), document.start().to_string().into()));
    }
    Ok(Read { lab, documents })
}

/// What `up` came to.
pub struct Up {
    pub report: Option<Report>,
}

pub fn up(name: Option<&str>, args: &UpArgs, runtime: &tokio::runtime::Runtime) -> Result<Up, UpError> {
    let mut progress = Progress::new(args);
    let read = read(&args.files)?;
    let lab_name = name.map(str::to_string).or_else(|| read.lab.as_ref().and_then(|(lab, _)| lab.metadata.name.clone()));
    let name = lab_name.unwrap_or_else(|| "lab".to_string());
    if let Some(reason) = crate::object::lab::name_error(&name) {
        return Err(UpError(reason));
    }
    let layout = Layout::new(&name);
    if !nix_root() {
        return Err(UpError("lab up makes network namespaces and needs root: run it with sudo".to_string()));
    }
    let lock = Lock::take(&layout.lock()).map_err(because(&format!("bring up lab \"{name}\"")))?;
    let started = bring_up(&layout, &read, args, &mut progress)?;
    let client = Client::new(&name, layout.api_socket());
    let changes = runtime.block_on(apply(&client, &read.documents, &mut progress))?;
    let report = if args.no_wait { None } else { Some(runtime.block_on(wait(&client, args, &mut progress))?) };
    progress.finish();
    drop(lock);
    match (&report, &args.output) {
        (Some(report), Some(_)) => {
            let text = serde_json::to_string_pretty(report).map_err(because("print the report"))?;
            println!("{text}");
        }
        (Some(report), None) => print!("{}", summary(report, progress.elapsed(), started || changes > 0)),
        (None, _) => {}
    }
    Ok(Up { report })
}
