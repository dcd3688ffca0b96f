//! The commands of `lab` that start, stop and examine labs: what they print, and their exit codes.

use std::io::{IsTerminal, Write};

use crate::cli::doctor::DoctorArgs;
use crate::cli::down::DownArgs;
use crate::cli::plan::{PlanArgs, render};
use crate::cli::status::StatusArgs;
use crate::cli::up::UpArgs;
use crate::layout::Layout;
use crate::object::lab::Lab;

use super::interrupt::{Phases, Signals};
use super::{doctor, down, dry_run, status, up};

pub const DEFAULT_NAME: &str = "lab";

/// The lab that is meant where none is named: the only one there is, else the one that `lab up` makes.
pub fn name_of_the_only_lab() -> String {
    match down::labs().as_slice() {
        [only] => only.clone(),
        _ => DEFAULT_NAME.to_string(),
    }
}

fn tokio() -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| format!("start: {e}"))
}

fn fail(message: impl std::fmt::Display) -> u8 {
    eprintln!("error: {message}");
    1
}

/// The flag that a command about this lab needs, with a blank before it.
pub fn name_flag(lab: &str) -> String {
    if lab == DEFAULT_NAME { String::new() } else { format!(" --name {lab}") }
}

/// The work is done by a thread of its own, which ends with this program: a signal is answered at once, whatever the
/// work is waiting for.
pub fn up(name: Option<&str>, args: UpArgs) -> u8 {
    let runtime = match tokio() {
        Ok(runtime) => runtime,
        Err(error) => return fail(error),
    };
    let (done, result) = tokio::sync::oneshot::channel();
    let (phases, name) = (Phases::default(), name.map(str::to_string));
    let its_phases = phases.clone();
    let work = move || {
        let up = tokio().map_err(up::UpError).and_then(|runtime| up::up(name.as_deref(), &args, &its_phases, &runtime));
        // Whoever waits for it is there as long as this program.
        let _ = done.send(up);
    };
    runtime.block_on(async {
        let mut signals = match Signals::new() {
            Ok(signals) => signals,
            Err(error) => return fail(format!("wait for signals: {error}")),
        };
        if let Err(error) = std::thread::Builder::new().name("up".to_string()).spawn(work) {
            return fail(format!("start a thread: {error}"));
        }
        tokio::select! {
            ended = result => match ended {
                Ok(Ok(())) => 0,
                Ok(Err(error)) => fail(error),
                Err(_) => fail("lab up ended early; this is a bug of lab"),
            },
            code = signals.next() => {
                let said = phases.interrupted();
                if std::io::stdout().is_terminal() {
                    // Over the line of the progress and the ^C in it.
                    print!("\r\x1b[K");
                    let _ = std::io::stdout().flush();
                }
                eprintln!("{said}");
                code
            }
        }
    })
}

pub fn down(name: Option<&str>, args: &DownArgs) -> u8 {
    let labs = if args.all { down::labs() } else { vec![name.map_or_else(name_of_the_only_lab, str::to_string)] };
    if labs.is_empty() {
        println!("There is no lab on this machine: nothing to take down.");
    }
    let mut code = 0;
    for lab in labs {
        match down::down(&lab, args.volumes) {
            Ok(done) => {
                print!("{}", down::render(&done));
                if !done.is_clean() {
                    code = 1;
                }
            }
            Err(error) => code = fail(error),
        }
    }
    code
}

pub fn plan(name: Option<&str>, args: &PlanArgs) -> u8 {
    match try_plan(name, args) {
        Ok(()) => 0,
        Err(error) => fail(error),
    }
}

fn try_plan(name: Option<&str>, args: &PlanArgs) -> Result<(), String> {
    let read = up::read(name, &args.files, args.recursive).map_err(|e| e.to_string())?;
    for note in read.documents.iter().flat_map(|document| &document.notes) {
        eprintln!("{note}");
    }
    let name = up::lab_name(name, &read).map_err(|e| e.to_string())?;
    let layout = Layout::new(&name);
    let base = tokio()?.block_on(up::objects_of(&layout));
    if base.is_empty() && layout.run().exists() {
        eprintln!(
            "note: lab \"{name}\" is there, but its objects cannot be seen (sudo?): this is the plan of a new one"
        );
    }
    let lab = read.lab.clone().map_or_else(Lab::default, |(lab, _)| lab);
    let manifests: Vec<_> = read.documents.iter().map(|document| document.object.to_value()).collect();
    let run = dry_run::dry_run(&name, base, &lab, !args.no_host, &manifests, &super::machine());
    let run = run.map_err(|error| error.at_their_places(&read.documents))?;
    let json = |value: Result<String, serde_json::Error>| value.map_err(|e| format!("print the plan: {e}"));
    match args.output.as_deref() {
        None => print!("{}", render(&run.steps)),
        Some("desired") => println!("{}", json(serde_json::to_string_pretty(&run.desired))?),
        Some(_) => {
            let step = |s: &crate::diff::Step| serde_json::json!({"action": s.action.to_string(), "reason": s.reason});
            let steps: Vec<_> = run.steps.iter().map(step).collect();
            println!("{}", json(serde_json::to_string_pretty(&steps))?);
        }
    }
    Ok(())
}

pub fn status(name: Option<&str>, args: &StatusArgs) -> u8 {
    let runtime = match tokio() {
        Ok(runtime) => runtime,
        Err(error) => return fail(error),
    };
    let labs = status::all(&runtime, name);
    if args.output.is_some() {
        let value = |lab: &status::LabStatus| match &lab.report {
            Ok(report) => serde_json::to_value(report).unwrap_or_default(),
            Err(error) => serde_json::json!({"lab": lab.lab, "ready": false, "error": error}),
        };
        println!("{:#}", serde_json::Value::Array(labs.iter().map(value).collect()));
    } else {
        for lab in &labs {
            match &lab.report {
                Ok(report) => print!("{}", crate::cli::status::render(report)),
                Err(error) => println!("lab \"{}\": {error}", lab.lab),
            }
        }
        if labs.is_empty() {
            match name {
                Some(name) => {
                    println!("There is no lab \"{name}\" on this machine; start it with: sudo lab up --name {name}")
                }
                None => println!("There is no lab on this machine; start one with: sudo lab up"),
            }
        }
    }
    u8::from(labs.iter().any(|lab| !lab.report.as_ref().is_ok_and(|report| report.ready)))
}

/// For the lab that `lab up` would mean, and for what any lab has left.
pub fn doctor(name: Option<&str>, args: &DoctorArgs) -> u8 {
    let name = name.map_or_else(name_of_the_only_lab, str::to_string);
    let layout = Layout::new(&name);
    // One that runs may have other subnets than a new one would get.
    let runs = tokio().ok().and_then(|runtime| runtime.block_on(up::lab_document(&layout)));
    let (lab, with_host) = runs.unwrap_or((Lab::default(), true));
    let findings = doctor::examine(&layout, &lab, with_host);
    let (text, broken) = doctor::render(&findings);
    if args.output.is_some() {
        println!("{:#}", doctor::to_json(&findings));
    } else {
        print!("{text}");
    }
    u8::from(broken)
}
