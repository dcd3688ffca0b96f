//! The events at the end of a description.

use serde_json::Value;

use super::page::{Page, age, number, text};

/// When an event was seen last.
pub fn last_time(event: &Value) -> String {
    let times = ["/series/lastObservedTime", "/lastTimestamp", "/eventTime", "/firstTimestamp"];
    times.iter().map(|at| text(event, at)).find(|t| !t.is_empty()).unwrap_or_default().to_string()
}

pub fn write(page: &mut Page, events: &[Value]) {
    if events.is_empty() {
        page.field(0, "Events", "<none>");
        return;
    }
    page.line(0, "Events:");
    page.line(1, "Type\tReason\tAge\tFrom\tMessage");
    page.line(1, "----\t------\t----\t----\t-------");
    for event in events {
        let from = match text(event, "/source/component") {
            "" => text(event, "/reportingComponent"),
            component => component,
        };
        let from = match text(event, "/source/host") {
            "" => from.to_string(),
            host => format!("{from}, {host}"),
        };
        let message = text(event, "/message").trim().replace('\n', " ");
        let (kind, reason) = (text(event, "/type"), text(event, "/reason"));
        page.line(1, &format!("{kind}\t{reason}\t{}\t{from}\t{message}", ages(event)));
    }
}

/// `12s`, or `12s (x3 over 5m)` of one that came again.
pub fn ages(event: &Value) -> String {
    let count = number(event, "/series/count").max(number(event, "/count"));
    let last = age(&last_time(event));
    let first = match text(event, "/firstTimestamp") {
        "" => text(event, "/eventTime"),
        first => first,
    };
    if count > 1 && !first.is_empty() { format!("{last} (x{count} over {})", age(first)) } else { last }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn events_stand_in_columns() {
        let event = json!({"type": "Warning", "reason": "BackOff", "source": {"component": "kubelet", "host": "w1-k8s"},
            "message": "Back-off restarting\n", "lastTimestamp": "2020-01-01T00:00:00Z", "count": 3, "firstTimestamp": "2020-01-01T00:00:00Z"});
        let mut page = Page::default();
        write(&mut page, &[event]);
        let text = page.text();
        let words: Vec<Vec<&str>> =
            text.lines().map(|l| l.split("  ").map(str::trim).filter(|w| !w.is_empty()).collect()).collect();
        assert_eq!(words[1], ["Type", "Reason", "Age", "From", "Message"]);
        assert_eq!(words[3][0..2], ["Warning", "BackOff"]);
        assert!(words[3][2].contains("(x3 over "), "{text}");
        assert_eq!(words[3][3..], ["kubelet, w1-k8s", "Back-off restarting"]);
        let mut page = Page::default();
        write(&mut page, &[]);
        assert_eq!(page.text(), "Events:  <none>\n");
    }
}
