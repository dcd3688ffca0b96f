use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("__node") => ExitCode::from(nslab::kernel::runtime::node_main(stand_in)),
        _ => ExitCode::from(2),
    }
}

/// Stands in until the built-in servers are merged.
fn stand_in(argv: &[String]) -> u8 {
    use std::io::Write;
    if argv.first().is_none_or(|name| name != "echo-hname") {
        return 2;
    }
    let Ok(listener) = std::net::TcpListener::bind("0.0.0.0:80") else {
        eprintln!("cannot bind to 0.0.0.0:80");
        return 1;
    };
    println!("listening");
    if let Ok(mut ready) = std::fs::OpenOptions::new().write(true).open("/proc/self/fd/3") {
        let _ = ready.write_all(b"\n");
    }
    for mut stream in listener.incoming().flatten() {
        let _ = stream.write_all(b"hello\n");
    }
    0
}
