//! The programs of this binary that run inside pods: servers that answer as the course's images do, byte for byte.
//! A container sees only its own host name, addresses and files. What a real cluster runs as a pod and needs to know
//! the cluster's objects, like the DNS server, asks the API for them as any client in a pod does (`kube`).
//!
//! They are started as `lab __applet NAME ARGS...`. They handle SIGTERM, SIGINT and SIGQUIT themselves, because the
//! kernel gives the first process of a pid namespace no default action for them, and end with 0 as the real images do.

mod agnhost;
mod course;
mod dns;
mod files;
pub mod kube;
mod log;
mod page;
mod pod;
mod serve;
mod url;

use std::fs::File;
use std::io::Write;

/// A built-in program.
pub struct Applet {
    /// What `lab __applet` and the catalogue of images call it.
    pub name: &'static str,
    /// The TCP ports it listens on without arguments.
    pub ports: &'static [u16],
    run: fn(&[String], Ready) -> Result<(), AppletError>,
}

const fn applet(
    name: &'static str,
    ports: &'static [u16],
    run: fn(&[String], Ready) -> Result<(), AppletError>,
) -> Applet {
    Applet { name, ports, run }
}

/// Every applet, by name.
pub const ALL: &[Applet] = &[
    applet("agnhost", &[], agnhost::run),
    applet("audit-trail", &[80], course::audit_trail),
    applet("chk-info", &[80, 443], course::chk_info),
    applet("dns", &[53], dns::run),
    applet("echo-hname", &[80, 443], course::echo_hname),
    applet("echo-ip", &[80, 443], course::echo_ip),
    applet("hello-world", &[], hello_world),
    applet("hpa-example", &[80], course::hpa_example),
    applet("httpd", &[80], files::httpd),
    applet("ingress-annotation-test", &[5000], course::ingress_annotation_test),
    applet("kubia", &[8080], course::kubia),
    applet("nginx", &[80], files::nginx),
    applet("pause", &[], pause),
    applet("rr-test", &[80], course::rr_test),
    applet("subicura-echo", &[3000], course::subicura_echo),
];

/// What the starter of an applet is told, once, when it can answer.
pub struct Ready(Option<File>);

impl Ready {
    /// Writes one byte and closes. Nobody may be listening any more, which is no reason not to serve.
    fn signal(self) {
        if let Some(mut file) = self.0 {
            let _ = file.write_all(b"\n");
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum AppletError {
    #[error("cannot start: {0}")]
    Start(#[source] std::io::Error),
    /// In the words of the image that the applet stands in for, which is what a reader will search for.
    #[error("{0}")]
    Said(String),
    #[error("Error: {0}")]
    Usage(String),
}

/// Runs the applet that `argv[0]` names until it ends or a signal ends it. `ready` is where to report that it can
/// answer. Errors go to stderr, which is the container's log.
pub fn main(argv: &[String], ready: Option<File>) -> u8 {
    let (name, args) = match argv.split_first() {
        Some((name, args)) => (name.as_str(), args),
        None => ("", [].as_slice()),
    };
    let Some(applet) = ALL.iter().find(|applet| applet.name == name) else {
        eprintln!("no applet is called \"{name}\"");
        return 127;
    };
    match (applet.run)(args, Ready(ready)) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{error}");
            1
        }
    }
}

fn pause(_: &[String], ready: Ready) -> Result<(), AppletError> {
    serve::until_told_to_end(ready, || Ok(std::future::pending()))
}

/// Prints and ends with 0, so that a pod of it with `restartPolicy: Always` is seen to be restarted.
fn hello_world(_: &[String], ready: Ready) -> Result<(), AppletError> {
    println!(
        "\nHello from a container!\n\
         This message shows that the lab started a process for this pod, in namespaces of its own.\n\n\
         It has nothing else to do and ends here with exit code 0. A pod whose restartPolicy is Always starts it\n\
         again, each time after a longer wait: that is the CrashLoopBackOff that kubectl shows.\n"
    );
    ready.signal();
    Ok(())
}
