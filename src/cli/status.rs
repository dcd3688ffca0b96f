//! `lab status`: its arguments, and a lab's report as text.

use clap::Args;

use crate::report::Report;

/// Show every lab on this machine, and why anything is not ready.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// What to print: json, for programs.
    #[arg(short, long, value_name = "FORMAT", value_parser = ["json"])]
    pub output: Option<String>,
}

pub fn render(report: &Report) -> String {
    let state = if report.ready { "ready" } else { "not ready" };
    let mut text = format!("lab \"{}\": {state}\n", report.lab);
    let node = |n: &crate::report::NodeLine| {
        let role = if n.control_plane { ", control plane" } else { "" };
        let ready = if n.ready { "" } else { ", NOT READY" };
        format!("  node {} {}{role}{ready}\n", n.name, n.address)
    };
    text.extend(report.nodes.iter().map(node));
    let ready = report.pods.iter().filter(|pod| pod.ready).count();
    text.push_str(&format!("  pods: {ready} of {} ready\n", report.pods.len()));
    for s in &report.services {
        text.push_str(&format!(
            "  service {}/{} {} {} {} endpoints: {}\n",
            s.namespace, s.name, s.type_, s.cluster_ip, s.ports, s.endpoints
        ));
        text.extend(s.tries.iter().map(|t| format!("    {}    # {}\n", t.command, t.note)));
    }
    if !report.waiting.is_empty() {
        text.push_str("not ready:\n");
        for waiting in &report.waiting {
            text.push_str(&format!("  {}: {}\n", waiting.object, waiting.cause));
            if let Some(next) = &waiting.next {
                text.push_str(&format!("    next: {next}\n"));
            }
        }
    }
    text.extend(report.notes.iter().map(|note| format!("note: {note}\n")));
    if !report.not_acted_on.is_empty() {
        let kinds: Vec<String> = report.not_acted_on.iter().map(|(kind, n)| format!("{kind} ({n})")).collect();
        text.push_str(&format!("kept but not acted on: {}\n", kinds.join(", ")));
    }
    text
}
