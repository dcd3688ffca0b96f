//! The program: reads its arguments, has them carried out, and ends with an exit code.

use std::ffi::OsString;
use std::process::ExitCode;

use nslab::cli::{self, LabCommand, Parsed};
use nslab::{applet, kernel, supervisor};

fn main() -> ExitCode {
    let argv: Vec<OsString> = std::env::args_os().collect();
    if let Some(code) = hidden(&argv) {
        return code;
    }
    let code = match cli::parse(argv) {
        Err(code) => code,
        Ok(Parsed::Kubectl(kubectl)) => cli::run_verb(kubectl.verb, &kubectl.global, None),
        Ok(Parsed::Lab(lab, name)) => match lab.command {
            LabCommand::Verb(verb) => cli::run_verb(verb, &lab.global, name.as_deref()),
            LabCommand::Up(args) => supervisor::commands::up(name.as_deref(), &args),
            LabCommand::Down(args) => supervisor::commands::down(name.as_deref(), &args),
            LabCommand::Plan(args) => supervisor::commands::plan(name.as_deref(), &args),
            LabCommand::Status(args) => supervisor::commands::status(name.as_deref(), &args),
            LabCommand::Doctor(args) => supervisor::commands::doctor(&args),
        },
    };
    ExitCode::from(code)
}

/// The processes of a lab that are this program too. They are started by the lab, never typed.
fn hidden(argv: &[OsString]) -> Option<ExitCode> {
    let words: Vec<String> = argv.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    match words.get(1)?.as_str() {
        "__supervise" => Some(supervisor::main(&words[2..])),
        "__node" => Some(kernel::runtime::node_main(&words[2..])),
        "__applet" => Some(applet::main(&words[2..])),
        _ => None,
    }
}
