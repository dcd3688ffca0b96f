//! The rules for names, labels and annotations, in the words of Kubernetes' own validation library.
//!
//! A rule takes a text and returns what is wrong with it: nothing, one message, or several.

use super::field::{Errors, Field};

const LABEL_MAX: usize = 63;
const SUBDOMAIN_MAX: usize = 253;
const ANNOTATIONS_MAX: usize = 256 * 1024;
const PORT_NAME_MAX: usize = 15;

type Rule = fn(&str) -> Vec<String>;

fn message(what: &str, examples: &[&str], pattern: &str) -> String {
    let examples: String = examples
        .iter()
        .enumerate()
        .map(|(index, example)| format!("{}'{example}', ", if index > 0 { " or " } else { "" }))
        .collect();
    format!("{what} (e.g. {examples}regex used for validation is '{pattern}')")
}

fn too_long(most: usize) -> String {
    format!("must be no more than {most} characters")
}

fn is_lower_alphanumeric(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

/// `[a-z0-9]([-a-z0-9]*[a-z0-9])?`
fn is_dns_label(text: &str) -> bool {
    text.starts_with(is_lower_alphanumeric)
        && text.ends_with(is_lower_alphanumeric)
        && text.chars().all(|c| is_lower_alphanumeric(c) || c == '-')
}

pub fn dns1123_label(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > LABEL_MAX {
        wrong.push(too_long(LABEL_MAX));
    }
    if !is_dns_label(text) {
        wrong.push(message(
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and \
             end with an alphanumeric character",
            &["my-name", "123-abc"],
            "[a-z0-9]([-a-z0-9]*[a-z0-9])?",
        ));
    }
    wrong
}

pub fn dns1123_subdomain(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > SUBDOMAIN_MAX {
        wrong.push(too_long(SUBDOMAIN_MAX));
    }
    if !text.split('.').all(is_dns_label) {
        wrong.push(message(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must \
             start and end with an alphanumeric character",
            &["example.com"],
            "[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
        ));
    }
    wrong
}

/// `*.example.com`
pub fn wildcard_dns1123_subdomain(text: &str) -> Vec<String> {
    if text.strip_prefix("*.").is_some_and(|rest| rest.split('.').all(is_dns_label)) && text.len() <= SUBDOMAIN_MAX {
        return Vec::new();
    }
    vec![message(
        "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of \
         lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
        &["*.example.com"],
        "\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
    )]
}

pub fn dns1035_label(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > LABEL_MAX {
        wrong.push(too_long(LABEL_MAX));
    }
    if !is_dns_label(text) || !text.starts_with(|c: char| c.is_ascii_lowercase()) {
        wrong.push(message(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic \
             character, and end with an alphanumeric character",
            &["my-name", "abc-123"],
            "[a-z]([-a-z0-9]*[a-z0-9])?",
        ));
    }
    wrong
}

/// The lab's own limit: its name is part of the names of namespaces and of directories.
pub fn lab_name(text: &str) -> Vec<String> {
    const LAB_NAME_MAX: usize = 32;
    let mut wrong = dns1123_label(text);
    if text.len() > LAB_NAME_MAX {
        wrong.push(too_long(LAB_NAME_MAX));
    }
    wrong
}

/// A CronJob's name, to which 11 characters are added for each of its Jobs.
pub fn cron_job_name(text: &str) -> Vec<String> {
    const CRON_JOB_NAME_MAX: usize = 52;
    let mut wrong = dns1123_subdomain(text);
    if text.len() > CRON_JOB_NAME_MAX {
        wrong.push(too_long(CRON_JOB_NAME_MAX));
    }
    wrong
}

/// The names of RBAC's kinds, such as `system:node`: whatever can stand in a URL.
pub fn path_segment(text: &str) -> Vec<String> {
    if text == "." || text == ".." {
        return vec![format!("may not be '{text}'")];
    }
    ["/", "%"].into_iter().filter(|no| text.contains(*no)).map(|no| format!("may not contain '{no}'")).collect()
}

/// The part of a label's key or value that is a name: `[A-Za-z0-9]`, and `-_.` between.
fn is_label_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

/// `app`, `app.kubernetes.io/name`: the keys of labels and annotations.
pub fn qualified_name(text: &str) -> Vec<String> {
    const WHAT: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
                        alphanumeric character";
    const EXAMPLES: [&str; 3] = ["MyName", "my.name", "123-abc"];
    const PATTERN: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
    let mut wrong = Vec::new();
    let name = match text.split_once('/') {
        None => text,
        Some((_, name)) if name.contains('/') => {
            let general = message(&format!("a qualified name {WHAT}"), &EXAMPLES, PATTERN);
            return vec![format!(
                "{general} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
        Some((prefix, name)) => {
            if prefix.is_empty() {
                wrong.push("prefix part must be non-empty".into());
            } else {
                wrong.extend(dns1123_subdomain(prefix).into_iter().map(|message| format!("prefix part {message}")));
            }
            name
        }
    };
    if name.is_empty() {
        wrong.push("name part must be non-empty".into());
    } else if name.len() > LABEL_MAX {
        wrong.push(format!("name part {}", too_long(LABEL_MAX)));
    }
    if !is_label_word(name) {
        wrong.push(message(&format!("name part {WHAT}"), &EXAMPLES, PATTERN));
    }
    wrong
}

pub fn label_value(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > LABEL_MAX {
        wrong.push(too_long(LABEL_MAX));
    }
    if !text.is_empty() && !is_label_word(text) {
        wrong.push(message(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must \
             start and end with an alphanumeric character",
            &["MyValue", "my_value", "12345"],
            "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?",
        ));
    }
    wrong
}

/// The name of a container's port.
pub fn port_name(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut hold = |holds: bool, what: &str| {
        if !holds {
            wrong.push(what.to_string());
        }
    };
    hold(text.len() <= PORT_NAME_MAX, &too_long(PORT_NAME_MAX));
    hold(
        text.chars().all(|c| is_lower_alphanumeric(c) || c == '-'),
        "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
    );
    hold(text.contains(|c: char| c.is_ascii_lowercase()), "must contain at least one letter (a-z)");
    hold(!text.contains("--"), "must not contain consecutive hyphens");
    hold(!text.starts_with('-') && !text.ends_with('-'), "must not begin or end with a hyphen");
    wrong
}

pub fn environment_name(text: &str) -> Vec<String> {
    if text.chars().all(|c| matches!(c, ' '..='~') && c != '=') {
        return Vec::new();
    }
    vec!["a valid environment variable name must consist only of printable ASCII characters other than '='".into()]
}

/// The key of a ConfigMap or Secret.
pub fn config_key(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > SUBDOMAIN_MAX {
        wrong.push(too_long(SUBDOMAIN_MAX));
    }
    if text.is_empty() || !text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')) {
        wrong.push(message(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
            &["key.name", "KEY_NAME", "key-name"],
            "[-._a-zA-Z0-9]+",
        ));
    }
    match text {
        "." => wrong.push("must not be '.'".into()),
        _ if text.starts_with("..") => wrong.push("must not start with '..'".into()),
        _ => {}
    }
    wrong
}

/// A map of labels: the errors are about the map, and blame the label.
pub fn labels(field: &Field, errors: &mut Errors) {
    for (key, value) in field.texts() {
        let wrong_key = qualified_name(key).into_iter().map(|message| (key, message));
        let wrong_value = label_value(value).into_iter().map(|message| (value, message));
        for (shown, message) in wrong_key.chain(wrong_value) {
            let mut error = field.invalid_value(shown, message);
            error.blame = Some(format!("{}[{key}]", field.path));
            errors.push(error);
        }
    }
}

pub fn annotations(field: &Field, errors: &mut Errors) {
    let mut size = 0;
    for (key, value) in field.texts() {
        size += key.len() + value.len();
        for message in qualified_name(&key.to_lowercase()) {
            let mut error = field.invalid_value(key, message);
            error.blame = Some(format!("{}[{key}]", field.path));
            errors.push(error);
        }
    }
    if size > ANNOTATIONS_MAX {
        errors.push(field.too_long(format!("may not be more than {ANNOTATIONS_MAX} bytes")));
    }
}

/// A `LabelSelector`.
pub fn label_selector(field: &Field, errors: &mut Errors) {
    labels(&field.get("matchLabels"), errors);
    for expression in field.get("matchExpressions").items() {
        let (operator, values) = (expression.get("operator"), expression.get("values"));
        match (operator.text(), values.is_filled()) {
            ("In" | "NotIn", false) => {
                errors.push(values.required("must be specified when `operator` is 'In' or 'NotIn'"));
            }
            ("Exists" | "DoesNotExist", true) => {
                errors.push(values.forbidden("may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
            }
            ("In" | "NotIn" | "Exists" | "DoesNotExist", _) => {}
            (text, _) => errors.push(operator.invalid_value(text, "not a valid selector operator")),
        }
        let key = expression.get("key");
        key.follows(qualified_name, errors);
        for value in values.items() {
            value.follows(label_value, errors);
        }
    }
}

/// A name like `text` that the rule accepts: `hogehoge-service` for `hogehogeService`.
pub fn better_name(text: &str, rule: Rule) -> Option<String> {
    let mut better = String::with_capacity(text.len());
    let mut before = None::<char>;
    for c in text.chars() {
        let starts_word = c.is_uppercase() && before.is_some_and(|b| b.is_lowercase() || b.is_ascii_digit());
        if starts_word {
            better.push('-');
        }
        match c {
            c if c.is_ascii_alphanumeric() => better.push(c.to_ascii_lowercase()),
            '.' if !rule("a.b").is_empty() => better.push('-'),
            '-' | '.' => better.push(c),
            '_' | ' ' | '/' | ':' => better.push('-'),
            _ => return None,
        }
        before = Some(c);
    }
    while better.contains("--") {
        better = better.replace("--", "-");
    }
    let better = better.trim_matches(['-', '.']);
    // Too long a name is cut where it still ends well.
    (better != text && rule(better).is_empty()).then(|| format!("try \"{better}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_accept_and_refuse() {
        let long = "a".repeat(64);
        let cases: [(Rule, &[&str], &[&str]); 9] = [
            (dns1123_label, &["a", "1-a", "my-name"], &["", "A", "-a", "a-", "a.b", "a_b", "é", &long]),
            (dns1123_subdomain, &["a.b", "1", &long], &["a..b", ".a", "a.", "a.B", "a.-b"]),
            (dns1035_label, &["a1", "np-svc"], &["1a", "hogehogeService", "a.b", ""]),
            (qualified_name, &["app", "a.b/C_d", "A"], &["", "/a", "a/", "a/b/c", "A b", "B.c/d", "-a"]),
            (label_value, &["", "a_B.1"], &["-", "a b", &long]),
            (port_name, &["http", "a-1"], &["", "80", "HTTP", "a--b", "-a", "abcdefghijklmnop"]),
            (environment_name, &["A_B", "a b", "1"], &["a=b", "é", "a\n"]),
            (config_key, &["a.B_c-1"], &["", "a b", ".", "..a", "a/b"]),
            (lab_name, &["lab"], &["Lab", "a234567890123456789012345678901234"]),
        ];
        for (index, (rule, good, bad)) in cases.into_iter().enumerate() {
            for text in good {
                assert_eq!(rule(text), [""; 0], "rule {index} accepts {text:?}");
            }
            for text in bad {
                assert!(!rule(text).is_empty(), "rule {index} refuses {text:?}");
            }
        }
    }

    #[test]
    fn messages_are_kubernetes_own() {
        assert_eq!(
            dns1035_label("hogehogeService"),
            ["a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic \
              character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for \
              validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"]
        );
        assert_eq!(
            qualified_name("a b"),
            ["name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
              alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
              '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"]
        );
    }

    #[test]
    fn a_better_name_is_one_the_rule_accepts() {
        for (rule, text, expected) in [
            (dns1035_label as Rule, "hogehogeService", Some("try \"hogehoge-service\"")),
            (dns1035_label, "LB-Service", Some("try \"lb-service\"")),
            (dns1035_label, "my_svc.v1", Some("try \"my-svc-v1\"")),
            (dns1123_subdomain, "My_App.v1", Some("try \"my-app.v1\"")),
            (dns1035_label, "1web", None),
            (dns1035_label, "웹", None),
            (dns1035_label, "", None),
        ] {
            assert_eq!(better_name(text, rule).as_deref(), expected, "{text}");
        }
    }
}
