//! What `-f` names to the bytes behind it: files, directories, standard input.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::place::{Place, Problem};
use crate::object::nearest::nearest;

/// What a directory is searched for, as kubectl does.
const EXTENSIONS: [&str; 3] = ["json", "yaml", "yml"];

/// Far above any manifest (the largest known ones, with all of an operator's CRDs, have 5 MB).
const MAX_BYTES: u64 = 32 << 20;

/// Directories inside each other with `-R`.
const MAX_DIRECTORY_DEPTH: usize = 40;

/// How many of a directory's YAML files are named in a message.
const MAX_NAMED: usize = 8;

/// Where manifests come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A file, or a directory of files.
    Path(PathBuf),
    Stdin,
    /// `http://` or `https://`.
    Url(String),
    /// Bytes that the caller has, under the name they get in messages.
    Bytes {
        name: String,
        bytes: Vec<u8>,
    },
}

impl Input {
    /// From an argument of `-f`.
    pub fn from_argument(argument: &str) -> Self {
        let lower = argument.to_ascii_lowercase();
        if argument == "-" {
            Input::Stdin
        } else if lower.starts_with("http://") || lower.starts_with("https://") {
            Input::Url(argument.to_string())
        } else {
            Input::Path(PathBuf::from(argument))
        }
    }
}

/// How inputs are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// `-R`: also the directories in a directory.
    pub recursive: bool,
}

/// A file's bytes, under the name that messages use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub name: Arc<str>,
    pub bytes: Vec<u8>,
}

/// Reads one input: several sources when it is a directory.
pub fn read(input: &Input, options: Options) -> Vec<Result<Source, Problem>> {
    match input {
        Input::Bytes { name, bytes } => vec![Ok(Source { name: name.as_str().into(), bytes: bytes.clone() })],
        Input::Stdin => vec![read_stream("<stdin>".into(), io::stdin().lock())],
        Input::Url(url) => vec![read_url(url)],
        Input::Path(path) => match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => vec![Err(missing(path))],
            // A file taken for a directory: web.yaml/x
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => vec![Err(missing(path))],
            Err(error) => vec![Err(unreadable(path, &error))],
            Ok(metadata) if metadata.is_dir() => read_directory(path, options),
            Ok(_) => vec![read_file(path)],
        },
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    let message = format!("the path \"{}\" cannot be read: {error}", path.display());
    Problem { place: None, message, help: None }
}

fn read_file(path: &Path) -> Result<Source, Problem> {
    let file = fs::File::open(path).map_err(|error| unreadable(path, &error))?;
    read_stream(path.to_string_lossy().into(), file)
}

fn read_url(url: &str) -> Result<Source, Problem> {
    let limit = usize::try_from(MAX_BYTES).unwrap_or(usize::MAX);
    match super::url::fetch(url, limit) {
        Ok(bytes) => Ok(Source { name: url.into(), bytes }),
        Err(why) => Err(Problem {
            place: None,
            message: format!("unable to read URL \"{url}\": {why}"),
            help: Some("download the file where there is a network, and give its path".into()),
        }),
    }
}

fn read_stream(name: Arc<str>, stream: impl Read) -> Result<Source, Problem> {
    let mut bytes = Vec::new();
    let read = stream.take(MAX_BYTES + 1).read_to_end(&mut bytes);
    let problem = |message| Problem { place: Some(Place { file: name.clone(), position: None }), message, help: None };
    match read {
        Err(error) => Err(problem(format!("cannot be read: {error}"))),
        Ok(_) if bytes.len() as u64 > MAX_BYTES => Err(problem(format!("larger than {} MiB", MAX_BYTES >> 20))),
        Ok(_) => Ok(Source { name, bytes }),
    }
}

fn read_directory(path: &Path, options: Options) -> Vec<Result<Source, Problem>> {
    let (mut files, mut sources) = (Vec::new(), Vec::new());
    if let Err((path, error)) = collect_files(path, options.recursive, 0, &mut files) {
        sources.push(Err(unreadable(&path, &error)));
    } else if files.is_empty() {
        let message = format!(
            "the directory \"{}\" holds no file with a recognized extension [.json .yaml .yml]",
            path.display()
        );
        let help = (!options.recursive && holds_directories(path))
            .then(|| "it holds directories; -R reads them too".to_string());
        sources.push(Err(Problem { place: None, message, help }));
    }
    sources.extend(files.iter().map(|file| read_file(file)));
    sources
}

fn holds_directories(path: &Path) -> bool {
    fs::read_dir(path).is_ok_and(|entries| entries.flatten().any(|entry| entry.path().is_dir()))
}

/// In the order of names. A link to a directory is not followed, so that there is no way round in circles.
fn collect_files(
    directory: &Path,
    recursive: bool,
    depth: usize,
    files: &mut Vec<PathBuf>,
) -> Result<(), (PathBuf, io::Error)> {
    let failed = |error| (directory.to_path_buf(), error);
    if depth > MAX_DIRECTORY_DEPTH {
        return Err(failed(io::Error::other("too many directories inside each other")));
    }
    let mut entries = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        entries.push((entry.path(), entry.file_type().map_err(failed)?));
    }
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (path, file_type) in entries {
        if file_type.is_dir() {
            if recursive {
                collect_files(&path, recursive, depth + 1, files)?;
            }
        } else if has_extension(&path) && !path.is_dir() {
            files.push(path);
        }
    }
    Ok(())
}

fn has_extension(path: &Path) -> bool {
    path.extension().is_some_and(|extension| EXTENSIONS.iter().any(|known| extension == *known))
}

/// The problem with a path that does not exist: what it was meant to be, or what there is.
fn missing(path: &Path) -> Problem {
    let message = format!("the path \"{}\" does not exist", path.display());
    let help = match nearest_path(path) {
        Some(near) => Some(format!("did you mean {}?", near.display())),
        None => Some(what_there_is(path)),
    };
    Problem { place: None, message, help }
}

/// The existing path that is most like the one asked for: each part that does not exist is replaced by its nearest
/// sibling. `None` if some part has nothing near.
fn nearest_path(path: &Path) -> Option<PathBuf> {
    let mut found = PathBuf::new();
    let mut parts = path.components().peekable();
    while let Some(part) = parts.next() {
        let is_last = parts.peek().is_none();
        let asked = found.join(part);
        if !matches!(part, Component::Normal(_)) || (if is_last { asked.exists() } else { asked.is_dir() }) {
            found = asked;
            continue;
        }
        let wanted = part.as_os_str().to_str()?;
        let siblings = names_in(&found, |path| path.is_dir() || (is_last && path.is_file()));
        // A manifest is more likely to be meant than its neighbours.
        let manifests = siblings.iter().filter(|name| is_last && has_extension(Path::new(name)));
        let near = nearest(wanted, manifests.map(String::as_str))
            .or_else(|| nearest(wanted, siblings.iter().map(String::as_str)))?;
        found.push(near);
    }
    Some(found)
}

fn names_in(directory: &Path, keep: impl Fn(&Path) -> bool) -> BTreeSet<String> {
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter(|entry| keep(&entry.path())).filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// The manifests in the nearest directory that exists.
fn what_there_is(path: &Path) -> String {
    let directory = path.ancestors().skip(1).find(|a| a.as_os_str().is_empty() || a.is_dir()).unwrap_or(Path::new(""));
    let shown = if directory.as_os_str().is_empty() { "this directory".into() } else { directory.to_string_lossy() };
    let names: Vec<String> = names_in(directory, |path| path.is_file() && has_extension(path)).into_iter().collect();
    if names.is_empty() {
        return format!("there is no YAML file in {shown}");
    }
    let more = names.len().saturating_sub(MAX_NAMED);
    let listed = names.iter().take(MAX_NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("the YAML files in {shown} are {listed}{tail}")
}

#[cfg(test)]
#[path = "source_tests.rs"]
mod tests;
