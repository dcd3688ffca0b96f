use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("__node") => ExitCode::from(nslab::kernel::runtime::node_main()),
        // Stands in until the built-in servers are merged.
        Some("__applet") if arguments.next().as_deref() == Some("echo-hname") => stand_in(),
        _ => ExitCode::from(2),
    }
}

fn stand_in() -> ExitCode {
    use std::io::Write;
    let Ok(listener) = std::net::TcpListener::bind("0.0.0.0:80") else {
        eprintln!("cannot bind to 0.0.0.0:80");
        return ExitCode::FAILURE;
    };
    println!("listening");
    if let Ok(mut ready) = std::fs::OpenOptions::new().write(true).open("/proc/self/fd/3") {
        let _ = ready.write_all(b"\n");
    }
    for mut stream in listener.incoming().flatten() {
        let _ = stream.write_all(b"hello\n");
    }
    ExitCode::SUCCESS
}
