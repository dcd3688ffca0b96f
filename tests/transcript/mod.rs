//! A terminal's transcript as a test: each command is run by a shell, and what it prints must be what stands below it.
//!
//! ```text
//! # A comment.
//! $ kubectl create deployment web --image=nginx
//! deployment.apps/web created
//!
//! $~ kubectl get pods
//! NAME                 READY   STATUS    RESTARTS   AGE
//! web-{id}-{id}   1/1     Running   0          {age}
//!
//! $ cat <<'END' > web.yaml
//! > kind: Service
//! > END
//!
//! $ kubectl get pod nobody
//! Error from server (NotFound): pods "nobody" not found
//! [exit 1]
//! ```
//!
//! - `$` runs a command, `>` goes on with it, `$~` repeats it until its output is the one expected.
//! - Both streams are taken together, in the order in which they are read.
//! - What varies is named in braces: `{age}`, `{ip}`, `{n}` digits, `{id}` of a name that was generated, `{time}`, and `{*}`
//!   for what else there is on the line. A `{name=...}` that was met before must be the same again: `{pod=id}`.
//! - `...` alone on a line stands for any lines, or none. Two or more blanks equal any other two or more.
//! - Without `[exit N]` a command must succeed.

#![allow(dead_code)] // Each test program uses its part.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Long enough for any machine; only a test that fails waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where the commands run.
pub struct Shell {
    pub directory: PathBuf,
    /// Name and value.
    pub variables: Vec<(String, String)>,
}

struct Step {
    line: usize,
    command: String,
    repeat: bool,
    expected: Vec<String>,
    code: i32,
}

/// Runs a transcript to its end; the first step that differs fails the test, with what was expected and what came.
pub fn play(file: &Path, shell: &Shell) {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut names = BTreeMap::new();
    for step in steps(&text) {
        let end = Instant::now() + PATIENCE;
        loop {
            let (code, printed) = shell.run(&substitute(&step.command, &names));
            let mut met = names.clone();
            let same = lines_match(&step.expected, &printed.lines().collect::<Vec<_>>(), &mut met);
            if same && code == step.code {
                names = met;
                break;
            }
            if !step.repeat || Instant::now() > end {
                let place = format!("{}:{}", file.display(), step.line);
                let expected = step.expected.join("\n");
                panic!(
                    "{place}: $ {}\n--- expected (exit {})\n{expected}\n--- came (exit {code})\n{printed}\n--- names: {names:?}",
                    step.command, step.code
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Shell {
    fn run(&self, command: &str) -> (i32, String) {
        let mut bash = Command::new("bash");
        // One pipe for both streams.
        bash.args(["-c", &format!("exec 2>&1\n{command}")]).stdin(Stdio::null()).current_dir(&self.directory);
        bash.envs(self.variables.iter().map(|(name, value)| (name, value)));
        let out = bash.output().expect("run bash");
        (out.status.code().unwrap_or(-1), String::from_utf8_lossy(&out.stdout).into_owned())
    }
}

fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let begin =
            line.strip_prefix("$~ ").map(|rest| (rest, true)).or(line.strip_prefix("$ ").map(|rest| (rest, false)));
        if let Some((command, repeat)) = begin {
            let (line, command) = (number + 1, command.to_string());
            steps.push(Step { line, command, repeat, expected: Vec::new(), code: 0 });
            continue;
        }
        // What stands before the first command, and comments.
        let Some(step) = steps.last_mut().filter(|_| !line.starts_with("# ")) else { continue };
        let code = line.strip_prefix("[exit ").and_then(|rest| rest.strip_suffix(']')).and_then(|n| n.parse().ok());
        match (line.strip_prefix('>').filter(|_| step.expected.is_empty()), code) {
            (Some(more), _) => {
                let _ = write!(step.command, "\n{}", more.strip_prefix(' ').unwrap_or(more));
            }
            (None, Some(code)) => step.code = code,
            (None, None) => step.expected.push(line.to_string()),
        }
    }
    for step in &mut steps {
        // The blank line before the next command.
        while step.expected.last().is_some_and(|line| line.trim().is_empty()) {
            step.expected.pop();
        }
    }
    steps
}

/// A name that was met stands for itself in later commands: `kubectl delete pod {pod}`.
fn substitute(command: &str, names: &BTreeMap<String, String>) -> String {
    names.iter().fold(command.to_string(), |command, (name, value)| command.replace(&format!("{{{name}}}"), value))
}

type Names = BTreeMap<String, String>;

fn lines_match(expected: &[String], printed: &[&str], names: &mut Names) -> bool {
    let printed = match printed {
        // So may the output end.
        [lines @ .., last] if last.trim().is_empty() => return lines_match(expected, lines, names),
        lines => lines,
    };
    match (expected.split_first(), printed.split_first()) {
        (None, None) => true,
        (Some((first, rest)), _) if first.trim() == "..." => (0..=printed.len()).any(|skipped| {
            let mut tried = names.clone();
            let matched = lines_match(rest, &printed[skipped..], &mut tried);
            if matched {
                *names = tried;
            }
            matched
        }),
        (Some((first, rest)), Some((line, others))) => {
            line_matches(&squeeze(first), &squeeze(line), names) && lines_match(rest, others, names)
        }
        _ => false,
    }
}

/// Columns are as wide as what stands in them.
fn squeeze(line: &str) -> String {
    let mut out = String::new();
    let mut blanks = 0;
    for c in line.trim_end().chars() {
        if c == ' ' {
            blanks += 1;
            continue;
        }
        // The indentation counts.
        let wide = if out.is_empty() { blanks } else { blanks.min(2) };
        out.extend(std::iter::repeat_n(' ', wide));
        blanks = 0;
        out.push(c);
    }
    out
}

fn line_matches(expected: &str, line: &str, names: &mut Names) -> bool {
    let Some((before, rest)) = expected.split_once('{') else { return expected == line };
    let Some((hole, after)) = rest.split_once('}').filter(|(hole, _)| is_hole(hole)) else {
        // A brace that is one.
        let length = before.len() + 1;
        return line.get(..length) == expected.get(..length)
            && line_matches(&expected[length..], &line[length..], names);
    };
    let Some(line) = line.strip_prefix(before) else { return false };
    let (name, class) = hole.split_once('=').map_or((None, hole), |(name, class)| (Some(name), class));
    if let Some(value) = names.get(name.unwrap_or(class)).cloned() {
        return line.strip_prefix(value.as_str()).is_some_and(|line| line_matches(after, line, names));
    }
    // The longest first.
    let ends = line.char_indices().map(|(at, _)| at).chain([line.len()]).rev();
    ends.filter(|end| fills(class, &line[..*end])).any(|end| {
        let mut tried = names.clone();
        if let Some(name) = name {
            tried.insert(name.to_string(), line[..end].to_string());
        }
        let matched = line_matches(after, &line[end..], &mut tried);
        if matched {
            *names = tried;
        }
        matched
    })
}

fn is_hole(hole: &str) -> bool {
    let class = hole.split_once('=').map_or(hole, |(_, class)| class);
    ["age", "ip", "n", "id", "time", "*"].contains(&class)
        || hole.chars().all(|c| c.is_ascii_lowercase()) && !hole.is_empty()
}

fn fills(class: &str, text: &str) -> bool {
    let all = |allowed: fn(char) -> bool| !text.is_empty() && text.chars().all(allowed);
    match class {
        "n" => all(|c| c.is_ascii_digit()),
        "age" => {
            all(|c| c.is_ascii_digit() || "dhms".contains(c))
                && text.starts_with(|c: char| c.is_ascii_digit())
                && text.ends_with(|c: char| !c.is_ascii_digit())
        }
        "ip" => text.parse::<std::net::IpAddr>().is_ok(),
        "id" => all(|c| c.is_ascii_alphanumeric()),
        "time" => all(|c| c.is_ascii_alphanumeric() || " :,+-.".contains(c)) && text.contains(':'),
        "*" => true,
        // A name that no earlier line has given a value.
        _ => false,
    }
}

#[test]
fn a_transcript_is_compared_as_a_reader_would() {
    let matches = |expected: &str, printed: &str| {
        let expected: Vec<String> = expected.lines().map(str::to_string).collect();
        lines_match(&expected, &printed.lines().collect::<Vec<_>>(), &mut Names::new())
    };
    assert!(matches("NAME      AGE\nweb-{id}-{id}   {age}", "NAME             AGE\nweb-7c9d-x2k4p   1m5s\n"));
    assert!(!matches("NAME      AGE\nweb-{id}   {age}", "NAME             AGE\nweb-7c9d-x2k4p   1m5s\n"));
    assert!(!matches("{age}", "12"));
    assert!(matches("a{*}", "a") && matches("a{*}", "a b c") && !matches("a{id}", "a"));
    assert!(matches("a\n...\nz", "a\nb\nc\nz"));
    assert!(!matches("a\n...\nz", "a\nb\nc"));
    assert!(matches("{x=id} {x=id}", "ab ab"));
    assert!(!matches("{x=id} {x=id}", "ab ac"));
    assert!(!matches("map[a:{b}]", "map[a:{b}]"), "a name without a value");
    assert!(matches("{\"a\":1}", "{\"a\":1}"));
    assert!(!matches("  indented", " indented"));
    assert!(!matches("one", "one\ntwo"));
}
