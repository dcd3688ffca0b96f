//! `lab doctor`: what stands in the way of a lab on this machine, with the fix for each.

use crate::kernel::preflight::{self, Finding, Level};
use crate::layout::Layout;
use crate::object::lab::Lab;

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

pub fn examine() -> Vec<Finding> {
    preflight::check(&Lab::default(), &Layout::new(super::commands::DEFAULT_NAME))
}
