//! The program: reads its arguments, does what they say, and ends with an exit code.

fn main() {
    let code = match nslab::cli::parse(std::env::args_os().collect()) {
        Ok(parsed) => nslab::cli::run(parsed),
        Err(code) => code,
    };
    std::process::exit(code.into());
}
