//! The `lab` binary.

use std::process::ExitCode;

use nslab::{applet, kernel::inherited};

fn main() -> ExitCode {
    let argv: Vec<String> = std::env::args().collect();
    match argv.get(1).map(String::as_str) {
        Some("__applet") => {
            let ready = inherited::take(inherited::READY_FD);
            applet::main(argv.get(2..).unwrap_or_default(), ready)
        }
        _ => ExitCode::SUCCESS,
    }
}
