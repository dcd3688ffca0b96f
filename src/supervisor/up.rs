//! `lab up`: read, check, start, apply, wait.

use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};

use super::doctor;
use super::dry_run::{DryRunError, check_for_new_lab};
use super::lock::Lock;
use super::start::{Orders, start};
use super::status::{fetch, fetch_settled};
use crate::cli::client::{As, Client, ClientError};
use crate::cli::path::{self, Query};
use crate::cli::up::{Progress, UpArgs, failure, summary};
use crate::kernel::preflight::{Finding, Level};
use crate::layout::Layout;
use crate::manifest::{self, Document};
use crate::object::lab::Lab;
use crate::object::{Object, kind};
use crate::report::Report;

/// Between two looks at a lab that is not ready yet.
const LOOK: Duration = Duration::from_millis(2);
/// After this long the looks become rarer.
const SOON: Duration = Duration::from_secs(1);
const LATER: Duration = Duration::from_millis(50);
/// While the kernel has not been brought up to the objects nothing can be ready, and looks are for the progress only.
const SETTLING: Duration = Duration::from_millis(100);

/// How long something that will not mend itself is given all the same.
const STUCK: Duration = Duration::from_millis(1500);
const APPLY_PATH: &str = "/apis/nslab.dev/v1alpha1/apply";

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
pub fn read(files: &[std::path::PathBuf], recursive: bool) -> Result<Read, UpError> {
    let inputs: Vec<manifest::Input> =
        files.iter().map(|file| manifest::Input::from_argument(&file.to_string_lossy())).collect();
    let documents =
        manifest::read(&inputs, manifest::Options { recursive }).map_err(|problems| UpError(problems.to_string()))?;
    manifest::check(&documents).map_err(|problems| UpError(problems.to_string()))?;
    let (labs, documents): (Vec<Document>, Vec<Document>) =
        documents.into_iter().partition(|d| d.object.kind().is_some_and(|k| *k == kind::LAB));
    let mut lab = None;
    for document in labs {
        if lab.is_some() {
            let problem = document.problem("", "a second Lab document: a lab has one", None);
            return Err(UpError(problem.to_string()));
        }
        let read = document.object.view::<Lab>().map_err(|error| {
            UpError(
                document.problem("", format!("the Lab document cannot be read: {}", error.reason), None).to_string(),
            )
        })?;
        if let Err(error) = read.complete_nodes() {
            return Err(UpError(document.problem(&error.path, error.to_string(), None).to_string()));
        }
        lab = Some(((*read).clone(), document.start().to_string().into()));
    }
    Ok(Read { lab, documents })
}

/// The lab's name: from the command line, else from the Lab document.
pub fn lab_name(asked: Option<&str>, read: &Read) -> Result<String, UpError> {
    let written = || read.lab.as_ref().and_then(|(lab, _)| lab.metadata.name.clone());
    let name = asked.map(str::to_string).or_else(written).unwrap_or_else(super::commands::name_of_the_only_lab);
    match crate::object::lab::name_error(&name) {
        None => Ok(name),
        Some(reason) => Err(UpError(reason)),
    }
}

pub fn up(asked: Option<&str>, args: &UpArgs, runtime: &tokio::runtime::Runtime) -> Result<(), UpError> {
    let mut progress = Progress::new(args);
    let read = read(&args.files, args.recursive)?;
    for document in &read.documents {
        for note in &document.notes {
            progress.note(&note.to_string());
        }
    }
    let name = lab_name(asked, &read)?;
    let layout = Layout::new(&name);
    if !crate::kernel::daemon::is_root() {
        let why = "it makes network namespaces, which only root may";
        return Err(UpError(format!("bring up lab \"{name}\": {why}; run it with sudo")));
    }
    let was_there = layout.run().exists();
    let lock = Lock::take(&layout.lock()).map_err(because(&format!("bring up lab \"{name}\"")))?;
    let started = bring_up(&layout, &read, args, &mut progress).inspect_err(|_| {
        // Nothing was started: the lock's file must not look like a lab.
        if !was_there && Lock::holder(&layout.supervisor_lock()).is_none() && !layout.record().exists() {
            let _ = std::fs::remove_dir_all(layout.run());
            let _ = std::fs::remove_dir(crate::layout::RUN);
        }
    })?;
    let client = Client::new(&name, layout.api_socket());
    if !started {
        runtime.block_on(change_lab(&client, read.lab.as_ref(), &mut progress))?;
        // What was ready before is no news.
        let before = runtime.block_on(fetch(&client)).map_err(because("look at the lab"))?;
        progress.know(&before);
    }
    let changes = runtime.block_on(apply(&client, &read.documents, &mut progress))?;
    if !args.no_wait {
        let report = runtime.block_on(wait(&client, args, &mut progress))?;
        progress.finish();
        let changed = started || changes > 0;
        match &args.output {
            Some(_) => println!("{}", serde_json::to_string_pretty(&report).map_err(because("print the report"))?),
            None => print!("{}", summary(&report, progress.elapsed(), changed)),
        }
    }
    drop(lock);
    Ok(())
}

/// Starts the supervisor if none runs. True: the lab was not up.
fn bring_up(layout: &Layout, read: &Read, args: &UpArgs, progress: &mut Progress) -> Result<bool, UpError> {
    let name = layout.lab();
    let lab = read.lab.as_ref().map(|(lab, _)| lab);
    if Lock::holder(&layout.supervisor_lock()).is_some() {
        return Ok(false);
    }
    let takes_over = layout.record().exists();
    if !takes_over {
        let default = Lab::default();
        let lab = lab.unwrap_or(&default);
        let new = !layout.store().exists();
        // The kernel's features are tried beside that: it takes as long.
        let (findings, checked) = std::thread::scope(|scope| {
            let examining = scope.spawn(|| doctor::examine(layout, lab, !args.no_host));
            let checked = if new { check_manifests(name, lab, &read.documents) } else { Ok(()) };
            (examining.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), checked)
        });
        checked?;
        refuse_what_cannot_work(&findings, name)?;
    }
    progress.line(&match takes_over {
        true => format!("lab \"{name}\" has no supervisor: a new one takes over what runs"),
        false => format!("starting lab \"{name}\""),
    });
    let orders = Orders { name: name.to_string(), lab: lab.cloned(), with_host: !args.no_host };
    start(layout, &orders).map_err(because(&format!("start lab \"{name}\"")))?;
    Ok(true)
}

/// Whether a lab that is not there yet would take these manifests.
fn check_manifests(name: &str, lab: &Lab, documents: &[Document]) -> Result<(), UpError> {
    let manifests: Vec<Value> = documents.iter().map(|document| document.object.to_value()).collect();
    let refused = |error: DryRunError| UpError(format!("nothing was applied\n{}", error.at_their_places(documents)));
    check_for_new_lab(name, lab, &manifests).map_err(refused)
}

/// A running lab takes new timings from its Lab document. Other nodes or addresses it cannot take, and says so.
async fn change_lab(client: &Client, asked: Option<&(Lab, Arc<str>)>, progress: &mut Progress) -> Result<(), UpError> {
    let Some((asked, place)) = asked else { return Ok(()) };
    let mut stored = client.get(&kind::LAB, "", client.lab()).await.map_err(because("read the lab's document"))?;
    let running: Lab = serde_json::from_value(stored.clone()).map_err(because("read the lab's document"))?;
    let what = match (asked.nodes == running.nodes, asked.networking == running.networking) {
        (true, true) => "",
        (false, true) => "nodes",
        (true, false) => "networking",
        (false, false) => "nodes and networking",
    };
    if !what.is_empty() {
        let lab = client.lab();
        return Err(UpError(format!(
            "{place}: the running lab \"{lab}\" has other {what}, which cannot be changed while it runs; nothing was \
             changed\n  help: take it down first (sudo lab down --name {lab}), or give another lab another --name"
        )));
    }
    if asked.timings != running.timings {
        stored["timings"] = json!(asked.timings);
        let path = path::object(&kind::LAB, "", client.lab());
        let changed = client.json(Method::PUT, &path, As::Json, Some(("application/json", &stored))).await;
        changed.map_err(because("change the lab's timings"))?;
        progress.line("lab timings configured");
    }
    Ok(())
}

fn refuse_what_cannot_work(findings: &[Finding], name: &str) -> Result<(), UpError> {
    let errors: Vec<String> = findings
        .iter()
        .filter(|finding| finding.level == Level::Error)
        .map(|finding| format!("{}: {}\n  fix: {}", finding.what, finding.why, finding.fix))
        .collect();
    if errors.is_empty() {
        return Ok(());
    }
    Err(UpError(format!("lab \"{name}\" cannot run on this machine, and nothing was changed\n{}", errors.join("\n"))))
}

/// Applies all documents or none. Returns how many were not as they are now.
async fn apply(client: &Client, documents: &[Document], progress: &mut Progress) -> Result<usize, UpError> {
    if documents.is_empty() {
        return Ok(0);
    }
    let list: Vec<Value> = documents.iter().map(|document| document.object.to_value()).collect();
    let answer = client.post_path(APPLY_PATH, &json!(list)).await;
    let answer = answer.map_err(|error| UpError(refused(&error, documents)))?;
    let mut changes = 0;
    for item in answer["items"].as_array().into_iter().flatten() {
        let outcome = item["outcome"].as_str().unwrap_or_default();
        let text = |field: &str| item[field].as_str().unwrap_or_default();
        for warning in item["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            progress.note(warning);
        }
        if outcome != "unchanged" {
            changes += 1;
            let kind = kind::by_api_version_kind(text("apiVersion"), text("kind"));
            let resource = kind.map_or_else(|| text("kind").to_string(), |kind| kind.singular_resource());
            progress.line(&format!("{resource}/{} {outcome}", text("name")));
        }
    }
    Ok(changes)
}

/// Waits until the lab is ready, says why when it will not be, and gives up after the timeout.
async fn wait(client: &Client, args: &UpArgs, progress: &mut Progress) -> Result<Report, UpError> {
    let mut stuck_since = None;
    loop {
        let report = fetch_settled(client, SETTLING).await.map_err(because("look at the lab"))?;
        progress.report(&report);
        if report.ready {
            return Ok(report);
        }
        let waited = progress.elapsed();
        let stuck = report.waiting.iter().any(|waiting| waiting.stuck);
        let for_good = match (stuck, stuck_since) {
            (false, _) => {
                stuck_since = None;
                false
            }
            (true, None) => {
                stuck_since = Some(waited);
                false
            }
            // What another controller or a restart is about to mend is mended within this.
            (true, Some(since)) => waited.saturating_sub(since) > STUCK,
        };
        if for_good || waited >= args.timeout.0 {
            progress.finish();
            let after = waited.as_secs_f64();
            return Err(UpError(format!(
                "lab \"{}\" is not ready after {after:.1} s\n{}",
                report.lab,
                failure(&report)
            )));
        }
        tokio::time::sleep(if waited < SOON { LOOK } else { LATER }).await;
    }
}

/// Every object of a running lab; none when it is not up or may not be seen.
pub async fn objects_of(layout: &Layout) -> Vec<Arc<Object>> {
    let client = Client::new(layout.lab(), layout.api_socket());
    let mut objects = Vec::new();
    for kind in kind::ALL {
        let Ok(items) = client.items(kind, None, &Query::default()).await else { return Vec::new() };
        objects.extend(items.into_iter().filter_map(Object::from_value).map(Arc::new));
    }
    objects
}

/// The API's refusal, each error at its place in the files.
fn refused(error: &ClientError, documents: &[Document]) -> String {
    let ClientError::Status(status) = error else { return error.to_string() };
    match at_their_places(&status.raw_causes, documents) {
        Some(lines) => format!("nothing was applied\n{lines}"),
        None => error.to_string(),
    }
}

/// The errors of a batch of manifests, each where it stands in the files; `None` if none of them says where it belongs.
pub fn at_their_places(causes: &[Value], documents: &[Document]) -> Option<String> {
    let mut lines = Vec::new();
    for cause in causes {
        let document = cause["index"].as_u64().and_then(|i| usize::try_from(i).ok()).and_then(|i| documents.get(i));
        let Some(document) = document else { continue };
        let fields = cause["details"]["causes"].as_array().map_or(&[][..], Vec::as_slice);
        if fields.is_empty() {
            lines.push(document.problem("", cause["message"].as_str().unwrap_or_default(), None).to_string());
        }
        for field in fields {
            let path = field["field"].as_str().unwrap_or_default();
            let message = format!("{path}: {}", field["message"].as_str().unwrap_or_default());
            lines.push(document.problem(path, message, None).to_string());
        }
    }
    (!lines.is_empty()).then(|| lines.join("\n"))
}
