//! `lab doctor`: what stands in the way of a lab on this machine, with the fix for each.

use crate::kernel::preflight::{self, Finding, Level, Subnet, Wanted};
use crate::kernel::runtime;
use crate::layout::Layout;
use crate::object::lab::{Lab, Subnets};

/// The findings as text, and whether any of them keeps a lab from working.
pub fn render(findings: &[Finding]) -> (String, bool) {
    let mut text = String::new();
    for finding in findings {
        let level = match finding.level {
            Level::Error => "error",
            Level::Warning => "warning",
        };
        text.push_str(&format!("{level}: {}: {}\n  fix: {}\n", finding.what, finding.why, finding.fix));
    }
    let broken = findings.iter().any(|finding| finding.level == Level::Error);
    if findings.is_empty() {
        text.push_str("All is well: a lab can run here.\n");
    }
    (text, broken)
}

pub fn to_json(findings: &[Finding]) -> serde_json::Value {
    let one = |finding: &Finding| {
        let level = if finding.level == Level::Error { "error" } else { "warning" };
        serde_json::json!({"level": level, "what": finding.what, "why": finding.why, "fix": finding.fix})
    };
    findings.iter().map(one).collect()
}

/// What stands in the way of this lab.
pub fn examine(layout: &Layout, lab: &Lab, with_host: bool) -> Vec<Finding> {
    let networking = &lab.networking;
    let all = [
        (&networking.lan_subnet, "LAN", "lanSubnet"),
        (&networking.pod_subnet, "pod", "podSubnet"),
        (&networking.service_subnet, "service", "serviceSubnet"),
    ];
    let of = |(subnets, role, field): (&Subnets, _, _)| {
        subnets.iter().map(move |net| Subnet { net, role, field }).collect::<Vec<_>>()
    };
    let wanted = Wanted {
        subnets: all.into_iter().flat_map(of).collect(),
        host: with_host,
        nodes: lab.complete_nodes().map_or(0, |nodes| nodes.len()),
        // How many pods there will be is not known before they are asked for.
        pods: 0,
    };
    let mut findings = preflight::check(layout, &wanted);
    if let Err(error) = runtime::preflight() {
        let what = "pods cannot use this machine's programs".to_string();
        let fix = "see the reason".to_string();
        findings.push(Finding { level: Level::Error, what, why: error.to_string(), fix });
    }
    findings
}
