//! `lab up`: its arguments, and what it shows while it works and when it is done.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;

use crate::object::changes::Change;
use crate::object::lab::Period;
use crate::report::Report;

/// Start the lab if it is not up, apply manifests, and wait until all is ready.
#[derive(Debug, Args)]
pub struct UpArgs {
    /// Manifests: files, directories, URLs, or - for standard input.
    #[arg(value_name = "FILE|DIR|URL|-")]
    pub files: Vec<PathBuf>,
    /// Directories with all that is below them.
    #[arg(short = 'R', long)]
    pub recursive: bool,
    /// How long to wait until all is ready, such as 500ms, 30s, 5m.
    #[arg(long, default_value = "60s", value_name = "TIME")]
    pub timeout: Period,
    /// Do not wait until all is ready.
    #[arg(long)]
    pub no_wait: bool,
    /// Do not plug this machine into the lab's LAN.
    #[arg(long)]
    pub no_host: bool,
    /// What to print: json, for programs.
    #[arg(short, long, value_name = "FORMAT", value_parser = ["json"])]
    pub output: Option<String>,
}

/// How many changed fields of an object are named.
const SHOWN_CHANGES: usize = 3;

/// Tells a user what happens: a line that is rewritten on a terminal, plain lines elsewhere, nothing for programs.
pub struct Progress {
    mode: Mode,
    started: Instant,
    ready_pods: BTreeSet<String>,
    shown: bool,
}

#[derive(PartialEq)]
enum Mode {
    Silent,
    Plain,
    Live,
}

impl Progress {
    pub fn new(args: &UpArgs) -> Self {
        let mode = match &args.output {
            Some(_) => Mode::Silent,
            None if std::io::stdout().is_terminal() => Mode::Live,
            None => Mode::Plain,
        };
        Progress { mode, started: Instant::now(), ready_pods: BTreeSet::new(), shown: false }
    }

    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// A line that stays.
    pub fn line(&mut self, text: &str) {
        if self.mode != Mode::Silent {
            self.clear();
            print_line(text);
        }
    }

    /// Something that is not an error but should be known; on standard error, so that it is seen with -o json too.
    pub fn note(&mut self, text: &str) {
        self.clear();
        eprintln!("{text}");
    }

    /// Pods that are ready in `report` are not told of again.
    pub fn know(&mut self, report: &Report) {
        let ready = report.pods.iter().filter(|pod| pod.ready);
        self.ready_pods.extend(ready.map(|pod| format!("{}/{}", pod.namespace, pod.name)));
    }

    /// What is still waited for.
    pub fn report(&mut self, report: &Report) {
        for pod in report.pods.iter().filter(|pod| pod.ready) {
            let name = format!("{}/{}", pod.namespace, pod.name);
            if self.ready_pods.insert(name.clone()) && self.mode != Mode::Silent && pod.namespace != "kube-system" {
                self.line(&format!("pod {name} is ready on {} ({})", pod.node, pod.address));
            }
        }
        if self.mode == Mode::Live && !report.ready {
            self.clear();
            let first = report.waiting.first();
            let what = first.map_or("the kernel".to_string(), |w| format!("{}: {}", w.object, w.cause));
            let more = report.waiting.len().saturating_sub(1);
            let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
            let text: String = format!("waiting for {what}{more}").chars().take(100).collect();
            print!("{text}");
            let _ = std::io::stdout().flush();
            self.shown = true;
        }
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            print!("\r\x1b[K");
        }
    }

    pub fn finish(&mut self) {
        self.clear();
        let _ = std::io::stdout().flush();
    }
}

/// A closed pipe (`lab up | head`) is no reason to stop making the lab.
fn print_line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// `: spec.replicas 2 -> 3, spec.template.spec.containers[web].image nginx:1.14 -> nginx:1.16 (new pods)`; what comes
/// behind the name of an object that was configured.
pub fn what_changed(changes: Vec<Change>, effect: Option<&str>) -> String {
    if changes.is_empty() {
        return String::new();
    }
    let more = changes.len().saturating_sub(SHOWN_CHANGES);
    let shown: Vec<String> = changes.iter().take(SHOWN_CHANGES).map(ToString::to_string).collect();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let effect = effect.map(|effect| format!(" ({effect})")).unwrap_or_default();
    format!(": {}{more}{effect}", shown.join(", "))
}

/// The short summary that ends a successful `up`.
pub fn summary(report: &Report, elapsed: Duration, changed: bool) -> String {
    let pods = report.pods.iter().filter(|pod| pod.namespace != "kube-system").count();
    let services: Vec<_> = report.services.iter().filter(|s| s.namespace != "kube-system").collect();
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let mut text = format!(
        "{} lab \"{}\" is ready in {:.2} s: {}, {}, {}.\n",
        if changed { "The" } else { "Nothing changed: the" },
        report.lab,
        elapsed.as_secs_f64(),
        count(report.nodes.len(), "node"),
        count(pods, "pod"),
        count(services.len(), "Service"),
    );
    let nodes: Vec<String> = report.nodes.iter().map(|n| format!("{} {}", n.name, n.address)).collect();
    text.push_str(&format!("Nodes: {}\n", nodes.join(", ")));
    let name = if report.lab == super::labs::DEFAULT { String::new() } else { format!(" --name {}", report.lab) };
    text.push_str(&format!("kubectl finds it after: sudo lab kubeconfig --merge{name}\n"));
    let tries: Vec<_> = services.iter().flat_map(|s| s.tries.iter().map(move |t| (s, t))).collect();
    if !tries.is_empty() {
        text.push_str("Try:\n");
        for (service, one) in tries.iter().take(8) {
            text.push_str(&format!("  {}    # {}/{}, {}\n", one.command, service.namespace, service.name, one.note));
        }
        if tries.len() > 8 {
            text.push_str("  ... more with: sudo lab status\n");
        }
    }
    let without: Vec<_> = services.iter().filter(|s| s.endpoints == 0 && s.type_ != "ExternalName").collect();
    for service in without {
        text.push_str(&format!(
            "Service {}/{} has no endpoints: connections to it are refused.\n",
            service.namespace, service.name
        ));
    }
    for note in &report.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    text
}

/// What stops a lab from becoming ready, one object a paragraph.
pub fn failure(report: &Report) -> String {
    let mut text = String::new();
    for waiting in &report.waiting {
        text.push_str(&format!("{}: {}\n", waiting.object, waiting.cause));
        if let Some(next) = &waiting.next {
            text.push_str(&format!("  next: {next}\n"));
        }
    }
    if text.is_empty() {
        text.push_str("the kernel has not been brought up to the objects yet\n");
    }
    // Whoever prints it ends the line.
    text.truncate(text.trim_end().len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_changes_are_named_and_the_others_counted() {
        let change = |n: i64| Change { field: format!("data.f{n}"), from: Some(n.into()), to: Some((n + 1).into()) };
        let of = |n: i64, effect| what_changed((0..n).map(change).collect(), effect);
        assert_eq!(of(0, None), "");
        assert_eq!(of(1, Some("new pods")), ": data.f0 0 -> 1 (new pods)");
        assert_eq!(of(5, None), ": data.f0 0 -> 1, data.f1 1 -> 2, data.f2 2 -> 3 and 2 more");
    }
}
