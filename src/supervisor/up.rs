//! `lab up`: read, check, start, apply, wait.

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};

use super::commands::name_flag;
use super::doctor;
use super::dry_run::{DryRunError, check_for_new_lab};
use super::interrupt::{Phase, Phases};
use super::lock::Lock;
use super::start::{Orders, start};
use super::status::{fetch, fetch_settled};
use crate::cli::client::{As, Client, ClientError};
use crate::cli::path::{self, Query};
use crate::cli::up::{Progress, UpArgs, failure, summary, what_changed};
use crate::cli::{custom, output};
use crate::kernel::preflight::{Finding, Level};
use crate::layout::Layout;
use crate::manifest::{self, Document};
use crate::object::changes::changes;
use crate::object::lab::Lab;
use crate::object::{KindRef, Object, kind};
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

/// Reads and checks every file before anything is changed. `asked`: the lab's name on the command line; what kinds a
/// running lab serves, its API is asked.
pub fn read(asked: Option<&str>, files: &[std::path::PathBuf], recursive: bool) -> Result<Read, UpError> {
    let inputs: Vec<manifest::Input> =
        files.iter().map(|file| manifest::Input::from_argument(&file.to_string_lossy())).collect();
    let documents =
        manifest::read(&inputs, manifest::Options { recursive }).map_err(|problems| UpError(problems.to_string()))?;
    let name = named(asked, documents.iter().find_map(lab_of).and_then(|lab| lab.metadata.name.clone()));
    let running = OnceCell::new();
    let served = |version: &str, kind: &str| {
        let socket = Layout::new(&name).api_socket();
        let kinds = running.get_or_init(|| custom::ask(Client::new(&name, socket)).unwrap_or_default());
        kinds.iter().copied().find(|known: &KindRef| known.kind == kind && known.api_version() == version)
    };
    manifest::check(&documents, &served).map_err(|problems| UpError(problems.to_string()))?;
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
    let name = named(asked, read.lab.as_ref().and_then(|(lab, _)| lab.metadata.name.clone()));
    match crate::object::lab::name_error(&name) {
        None => Ok(name),
        Some(reason) => Err(UpError(reason)),
    }
}

fn named(asked: Option<&str>, written: Option<String>) -> String {
    asked.map(str::to_string).or(written).unwrap_or_else(super::commands::name_of_the_only_lab)
}

fn lab_of(document: &Document) -> Option<Arc<Lab>> {
    let is_lab = document.object.kind().is_some_and(|kind| *kind == kind::LAB);
    if is_lab { document.object.view::<Lab>().ok() } else { None }
}

pub fn up(
    asked: Option<&str>,
    args: &UpArgs,
    phases: &Phases,
    runtime: &tokio::runtime::Runtime,
) -> Result<(), UpError> {
    let mut progress = Progress::new(args);
    let read = read(asked, &args.files, args.recursive)?;
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
    phases.enter(Phase::Locked(layout.clone(), was_there));
    let started =
        bring_up(&layout, &read, args, phases, &mut progress).inspect_err(|_| forget_unstarted(&layout, was_there))?;
    phases.enter(Phase::Started(layout.clone()));
    let client = Client::new(&name, layout.api_socket());
    let mut timings = false;
    if !started {
        timings = runtime.block_on(change_lab(&client, read.lab.as_ref(), &mut progress))?;
        // What was ready before is no news.
        let before = runtime.block_on(fetch(&client)).map_err(because("look at the lab"))?;
        progress.know(&before);
    }
    let applied = runtime.block_on(apply(&client, &read.documents, &mut progress))?;
    let waited = match args.no_wait {
        true => None,
        false => Some(runtime.block_on(wait(&client, args, &mut progress))?),
    };
    progress.finish();
    if args.output.is_some() {
        // Without waiting it is as it is now.
        let now = || runtime.block_on(fetch(&client)).map_err(because("look at the lab"));
        let report = waited.as_ref().map_or_else(now, |(report, _)| Ok(report.clone()))?;
        let mut json = serde_json::to_value(&report).map_err(because("print the report"))?;
        json["applied"] = Value::Array(applied.clone());
        println!("{json:#}");
    }
    match waited {
        Some((_, Some(failure))) => return Err(failure),
        _ if args.output.is_some() => {}
        Some((report, None)) => {
            let changed = started || timings || applied.iter().any(is_change);
            print!("{}", summary(&report, progress.elapsed(), changed));
        }
        None => progress
            .line(&format!("lab \"{name}\" was not waited for; how far it is: sudo lab status{}", name_flag(&name))),
    }
    drop(lock);
    Ok(())
}

/// Where nothing was started, the lock's file must not look like a lab.
pub fn forget_unstarted(layout: &Layout, was_there: bool) {
    if !was_there && Lock::holder(&layout.supervisor_lock()).is_none() && !layout.record().exists() {
        let _ = std::fs::remove_dir_all(layout.run());
        let _ = std::fs::remove_dir(crate::layout::RUN);
    }
}

/// Starts the supervisor if none runs. True: the lab was not up.
fn bring_up(
    layout: &Layout,
    read: &Read,
    args: &UpArgs,
    phases: &Phases,
    progress: &mut Progress,
) -> Result<bool, UpError> {
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
    phases.enter(Phase::Started(layout.clone()));
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

/// A running lab takes new timings from its Lab document; true: it took some. Other nodes or addresses it cannot take,
/// and says so.
async fn change_lab(
    client: &Client,
    asked: Option<&(Lab, Arc<str>)>,
    progress: &mut Progress,
) -> Result<bool, UpError> {
    let Some((asked, place)) = asked else { return Ok(false) };
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
        let before = stored.clone();
        stored["timings"] = json!(asked.timings);
        let path = path::object(&kind::LAB, "", client.lab());
        let changed = client.json(Method::PUT, &path, As::Json, Some(("application/json", &stored))).await;
        changed.map_err(because("change the lab's timings"))?;
        let changes = match (before.as_object(), stored.as_object()) {
            (Some(before), Some(after)) => changes(&kind::LAB, before, after),
            _ => Vec::new(),
        };
        let what = what_changed(changes, None);
        progress.line(&format!("{}/{} configured{what}", kind::LAB.singular_resource(), client.lab()));
        return Ok(true);
    }
    Ok(false)
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

/// Applies all documents or none. What became of each, as the API says it.
async fn apply(client: &Client, documents: &[Document], progress: &mut Progress) -> Result<Vec<Value>, UpError> {
    if documents.is_empty() {
        return Ok(Vec::new());
    }
    let list: Vec<Value> = documents.iter().map(|document| document.object.to_value()).collect();
    let answer = client.post_path(APPLY_PATH, &json!(list)).await;
    let answer = answer.map_err(|error| UpError(refused(&error, documents)))?;
    let items = answer.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
    for item in &items {
        let text = |field: &str| item[field].as_str().unwrap_or_default();
        for warning in item["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            progress.note(warning);
        }
        if is_change(item) {
            let resource = output::singular_of(text("apiVersion"), text("kind"));
            let changes = serde_json::from_value(item["changes"].clone()).unwrap_or_default();
            let what = what_changed(changes, item["effect"].as_str());
            progress.line(&format!("{resource}/{} {}{what}", text("name"), text("outcome")));
        }
    }
    Ok(items)
}

fn is_change(item: &Value) -> bool {
    item["outcome"] != "unchanged"
}

/// Waits until the lab is ready, and gives up after the timeout or when it will not be: then with the reason.
async fn wait(client: &Client, args: &UpArgs, progress: &mut Progress) -> Result<(Report, Option<UpError>), UpError> {
    let mut stuck_since = None;
    loop {
        let report = fetch_settled(client, SETTLING).await.map_err(because("look at the lab"))?;
        progress.report(&report);
        if report.ready {
            return Ok((report, None));
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
            let why = format!("lab \"{}\" is not ready after {after:.1} s\n{}", report.lab, failure(&report));
            return Ok((report, Some(UpError(why))));
        }
        tokio::time::sleep(if waited < SOON { LOOK } else { LATER }).await;
    }
}

/// The document of a running lab, and whether this machine is on its LAN.
pub async fn lab_document(layout: &Layout) -> Option<(Lab, bool)> {
    let client = Client::new(layout.lab(), layout.api_socket());
    let object = Object::from_value(client.get(&kind::LAB, "", layout.lab()).await.ok()?)?;
    let lab = object.view::<Lab>().ok()?;
    Some(((*lab).clone(), object.annotation(kind::NO_HOST) != Some("true")))
}

/// Every object of a running lab; none when it is not up or may not be seen.
pub async fn objects_of(layout: &Layout) -> Vec<Arc<Object>> {
    let client = Client::new(layout.lab(), layout.api_socket());
    let mut objects = Vec::new();
    let mut kinds = kind::ALL.to_vec();
    for custom in custom::ask(client.clone()).unwrap_or_default() {
        if !kinds.contains(&custom) {
            kinds.push(custom);
        }
    }
    for kind in kinds {
        let Ok(items) = client.items(kind, None, &Query::default()).await else { return Vec::new() };
        objects.extend(items.into_iter().filter_map(Object::from_value).map(|object| Arc::new(object.of(kind))));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_lacks_something_is_refused_with_every_fix() {
        let finding = |level, what: &str| Finding {
            level,
            what: what.to_string(),
            why: "Services need it".to_string(),
            fix: "modprobe -a nft_fib_inet".to_string(),
        };
        let said = refuse_what_cannot_work(
            &[
                finding(Level::Error, "the kernel lacks a part of nftables"),
                finding(Level::Error, "the kernel lacks bridges"),
                finding(Level::Warning, "odd"),
            ],
            "class",
        );
        let said = said.unwrap_err().to_string();
        assert!(said.starts_with("lab \"class\" cannot run on this machine, and nothing was changed\n"), "{said}");
        assert_eq!(said.matches("\n  fix: modprobe -a nft_fib_inet").count(), 2, "{said}");
        assert!(!said.contains("odd"), "{said}");
        assert!(refuse_what_cannot_work(&[finding(Level::Warning, "odd")], "class").is_ok());
    }
}
