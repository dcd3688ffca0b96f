//! What people do to YAML when they copy it from a web page, and what to tell them.

use super::place::Position;
use super::yaml::{self, YamlError};

/// An error of a parser in the words of somebody who has seen it before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    pub position: Position,
    pub message: String,
    pub help: Option<String>,
}

/// Makes leading lines such as `// web.yaml` comments, and says where they stand. YAML would glue them to the line that
/// follows and complain about that one.
pub fn comment_out_leading_slashes(text: &str) -> (String, Vec<u32>) {
    let (mut mended, mut lines, mut leading) = (String::with_capacity(text.len()), Vec::new(), true);
    for (line, number) in text.split_inclusive('\n').zip(1u32..) {
        let content = line.trim();
        if leading && content.starts_with("//") {
            // The same number of characters, so that columns stay what they are.
            mended.push_str(&line.replacen("//", "# ", 1));
            lines.push(number);
        } else {
            leading = leading && (content.is_empty() || content.starts_with('#') || content.starts_with("---"));
            mended.push_str(line);
        }
    }
    (mended, lines)
}

/// The number of the line that begins the content, if that line is `...`: what is left of a longer file.
pub fn excerpt_line(text: &str) -> Option<u32> {
    let is_content = |line: &str| !line.is_empty() && !line.starts_with('#') && line != "---";
    let (line, number) = text.lines().map(str::trim).zip(1u32..).find(|(line, _)| is_content(line))?;
    matches!(line, "..." | "…").then_some(number)
}

/// Does a line of text look like one typed at a shell's prompt? The words that say so.
pub fn shell_command(text: &str) -> Option<&str> {
    let line = text.trim_start();
    let words: Vec<&str> = line.split_whitespace().take(2).collect();
    match words.as_slice() {
        ["$" | "#" | "PS>" | "%", _] => line.get(..line.find(words[1])? + words[1].len()),
        ["kubectl" | "k" | "lab" | "sudo" | "docker" | "curl" | "minikube" | "helm" | "vi" | "cat", _] => {
            Some(words[0])
        }
        _ => None,
    }
}

/// The parser's error, or a better one if the text shows what is behind it.
pub fn explain(text: &str, first_line: u32, error: YamlError) -> Explained {
    let known = tab_indentation(text, first_line, &error)
        .or_else(|| line_that(text, first_line, fence))
        .or_else(|| line_that(text, first_line, slash_comment))
        .or_else(|| line_that(text, first_line, prompt))
        .or_else(|| line_that(text, first_line, odd_blank));
    known.unwrap_or_else(|| {
        let help = template(text).or_else(|| colon_without_blank(text, first_line, error.position));
        Explained { position: error.position, message: error.message, help }
    })
}

/// The first line that `judge` has something to say about: the column where, the message and the help.
fn line_that(text: &str, first_line: u32, judge: fn(&str) -> Option<(usize, String, String)>) -> Option<Explained> {
    text.lines().zip(first_line..).find_map(|(line, number)| {
        let (characters, message, help) = judge(line)?;
        let column = u32::try_from(characters).unwrap_or(u32::MAX).saturating_add(1);
        Some(Explained { position: Position { line: number, column }, message, help: Some(help) })
    })
}

fn indentation(line: &str) -> &str {
    line.get(..line.len() - line.trim_start().len()).unwrap_or_default()
}

fn tab_indentation(text: &str, first_line: u32, error: &YamlError) -> Option<Explained> {
    let tab_of = |line: &str| indentation(line).chars().position(|c| c == '\t').filter(|_| !line.trim().is_empty());
    // Lines after the error are not to blame.
    let suspects = text.lines().zip(first_line..).take_while(|(_, number)| *number <= error.position.line);
    let (column, line) = suspects.filter_map(|(line, number)| Some((tab_of(line)?, number))).next()?;
    let spaced = text.replace('\t', "  ");
    let count = text.lines().filter(|line| tab_of(line).is_some()).count();
    let lines = if count == 1 { "this line is".to_string() } else { format!("{count} lines are") };
    let help = if yaml::read(&spaced, first_line).is_ok() {
        format!("{lines} indented so; replacing each TAB by 2 spaces parses: sed -i 's/\\t/  /g' FILE")
    } else {
        format!("{lines} indented so; use spaces")
    };
    Some(Explained {
        position: Position { line, column: u32::try_from(column).unwrap_or(u32::MAX).saturating_add(1) },
        message: "indented with a TAB; YAML allows only spaces".into(),
        help: Some(help),
    })
}

fn slash_comment(line: &str) -> Option<(usize, String, String)> {
    line.trim_start().starts_with("//").then(|| {
        let message = "\"//\" does not start a comment in YAML".to_string();
        (indentation(line).chars().count(), message, "use \"#\"".to_string())
    })
}

fn fence(line: &str) -> Option<(usize, String, String)> {
    let content = line.trim_start();
    (content.starts_with("```") || content.starts_with("~~~")).then(|| {
        let message = "this is Markdown, not YAML".to_string();
        (0, message, "keep only the lines between the two code fences".to_string())
    })
}

fn prompt(line: &str) -> Option<(usize, String, String)> {
    let command = shell_command(line).filter(|_| line.starts_with("$ ") || line.starts_with("kubectl "))?;
    let message = format!("a line that begins with \"{command}\" is a shell command, not YAML");
    Some((0, message, "run it in a shell; keep only the YAML in the file".to_string()))
}

fn odd_blank(line: &str) -> Option<(usize, String, String)> {
    let column = indentation(line).chars().position(|c| !matches!(c, ' ' | '\t' | '\r'))?;
    let odd = indentation(line).chars().nth(column).map_or(0, u32::from);
    let message = format!("indented with the character U+{odd:04X}, which looks like a space and is none");
    Some((column, message, "web pages contain such characters; type the indentation anew with spaces".to_string()))
}

fn template(text: &str) -> Option<String> {
    text.contains("{{")
        .then(|| "\"{{\" is a template's; render it first (helm template ...) and apply the result".into())
}

/// `name:web` makes the next line wrong: `name:web` is text, and text cannot have fields.
fn colon_without_blank(text: &str, first_line: u32, error: Position) -> Option<String> {
    let before = text.lines().zip(first_line..).take_while(|(_, number)| *number <= error.line);
    let glued = |line: &str| {
        let word = line.trim().trim_start_matches("- ");
        let (name, value) = word.split_once(':')?;
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric());
        let is_glued = value.starts_with(|c: char| c.is_alphanumeric() || c == '"') && !value.contains(':');
        (is_name && is_glued).then(|| format!("\"{name}: {value}\""))
    };
    // The last such line at or before the error.
    let (line, wanted) = before.filter_map(|(line, number)| Some((number, glued(line)?))).last()?;
    (line + 1 >= error.line).then(|| format!("is a blank missing after the colon in line {line}? Write {wanted}"))
}
