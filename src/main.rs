//! The program: reads its arguments, has them carried out, and ends with an exit code.

use std::ffi::OsString;
use std::process::ExitCode;

use nslab::cli::{self, MachineCommand};
use nslab::supervisor::commands;
use nslab::{applet, kernel, supervisor};

fn main() -> ExitCode {
    let argv: Vec<OsString> = std::env::args_os().collect();
    if let Some(code) = hidden(&argv) {
        return code;
    }
    ExitCode::from(match cli::parse(argv) {
        Ok(parsed) => cli::run(parsed, machine),
        Err(code) => code,
    })
}

/// What starts, stops and examines labs.
fn machine(command: MachineCommand, lab: Option<&str>) -> u8 {
    match command {
        MachineCommand::Up(args) => commands::up(lab, args),
        MachineCommand::Down(args) => commands::down(lab, &args),
        MachineCommand::Plan(args) => commands::plan(lab, &args),
        MachineCommand::Status(args) => commands::status(lab, &args),
        MachineCommand::Doctor(args) => commands::doctor(lab, &args),
    }
}

/// The processes of a lab that are this program too. They are started by the lab, never typed.
fn hidden(argv: &[OsString]) -> Option<ExitCode> {
    let words: Vec<String> = argv.iter().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let (first, rest) = words.split_first()?;
    match first.as_str() {
        "__supervise" => Some(supervisor::main(rest)),
        "__node" => Some(ExitCode::from(kernel::runtime::node_main(applet_main))),
        "__applet" => Some(ExitCode::from(applet_main(rest))),
        _ => None,
    }
}

/// A built-in server, as the main process of a container.
fn applet_main(argv: &[String]) -> u8 {
    applet::main(argv, kernel::inherited::take(kernel::inherited::READY_FD))
}
