//! `cp`: files between here and a container, as kubectl does it: by a `tar` that runs in the container.

mod archive;

use std::path::{Path, PathBuf};

use clap::Args;
use hyper::body::Bytes;
use serde_json::Value;
use tokio::sync::mpsc;

use super::path::{self, Query};
use super::{Context, Failure, hint, pods, stream};
use crate::object::kind;

/// How many pieces of an archive wait to be taken.
const WAITING: usize = 4;

/// Copy files to and from a container, which must have tar
#[derive(Debug, Args)]
pub struct CpArgs {
    /// From and to: a path here, and [NAMESPACE/]POD:PATH
    #[arg(value_name = "PATH")]
    paths: Vec<String>,
    /// The container; the pod's first if not given
    #[arg(short, long)]
    container: Option<String>,
    /// Owner and permissions are those of a new file in the container
    #[arg(long)]
    no_preserve: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Place {
    Here(String),
    Pod { namespace: Option<String>, name: String, path: String },
}

impl Place {
    fn read(text: &str) -> Result<Place, Failure> {
        let wrong = || Failure::error("filespec must match the canonical format: [[namespace/]pod:]file/path");
        let Some((pod, path)) = text.split_once(':') else { return Ok(Place::Here(text.to_string())) };
        if pod.is_empty() {
            return Err(wrong());
        }
        let (namespace, name) = match pod.split('/').collect::<Vec<_>>()[..] {
            [name] => (None, name),
            [namespace, name] => (Some(namespace.to_string()), name),
            _ => return Err(wrong()),
        };
        Ok(Place::Pod { namespace, name: name.to_string(), path: path.to_string() })
    }

    fn path(&self) -> &str {
        match self {
            Place::Here(path) | Place::Pod { path, .. } => path,
        }
    }
}

pub async fn run(args: CpArgs, cx: &Context) -> Result<(), Failure> {
    let [from, to] = &args.paths[..] else { return Err(Failure::error("source and destination are required")) };
    let (from, to) = (Place::read(from)?, Place::read(to)?);
    if from.path().is_empty() || to.path().is_empty() {
        return Err(Failure::error("filepath can not be empty"));
    }
    match (from, to) {
        (Place::Pod { .. }, Place::Pod { .. }) => {
            Err(Failure::error("one of src or dest must be a local file specification"))
        }
        (Place::Here(_), Place::Here(_)) => {
            Err(Failure::error("one of src or dest must be a remote file specification"))
        }
        (Place::Pod { namespace, name, path }, Place::Here(to)) => {
            let container = Container::find(cx, namespace, &name, args.container.as_deref()).await?;
            copy_from(&container, &path, Path::new(&to)).await
        }
        (Place::Here(from), Place::Pod { namespace, name, path }) => {
            // Looked at first: what is not there needs no pod.
            std::fs::symlink_metadata(&from)
                .map_err(|_| Failure::error(format!("{from} doesn't exist in local filesystem")))?;
            let container = Container::find(cx, namespace, &name, args.container.as_deref()).await?;
            copy_to(&container, Path::new(&from), &path, args.no_preserve).await
        }
    }
}

/// Where commands run.
struct Container<'c> {
    cx: &'c Context,
    pod: Value,
    name: String,
}

impl<'c> Container<'c> {
    async fn find(cx: &'c Context, namespace: Option<String>, pod: &str, asked: Option<&str>) -> Result<Self, Failure> {
        let namespace = namespace.unwrap_or_else(|| cx.namespace.clone());
        let pod = cx.client.get(&kind::POD, &namespace, pod).await?;
        let name = pods::container(&pod, asked, false)?;
        Ok(Container { cx, pod, name })
    }

    /// Runs a command; its exit code.
    async fn exec(
        &self,
        command: &[&str],
        input: Option<mpsc::Receiver<Bytes>>,
        output: mpsc::Sender<Bytes>,
    ) -> Result<u8, Failure> {
        let mut query =
            Query::new().with("container", self.name.as_str()).with("stdout", "true").with("stderr", "true");
        if input.is_some() {
            query = query.with("stdin", "true");
        }
        for word in command {
            query = query.with("command", *word);
        }
        let path = path::object(&kind::POD, hint::namespace_of(&self.pod), hint::name_of(&self.pod));
        let open = stream::open(&self.cx.client, &query.on(&format!("{path}/exec"))).await?;
        open.exchange(input, output).await
    }
}

async fn copy_to(container: &Container<'_>, from: &Path, to: &str, no_preserve: bool) -> Result<(), Failure> {
    let from = archive::clean(&std::path::absolute(from).unwrap_or_else(|_| from.to_path_buf()));
    let mut to = archive::clean(Path::new(to));
    let (nowhere, _) = mpsc::channel(1);
    // Into a directory that is there; else under the name that was given.
    if container.exec(&["test", "-d", &to.to_string_lossy()], None, nowhere.clone()).await? == 0 {
        to.extend(from.file_name());
    }
    let Some(name) = to.file_name().map(PathBuf::from) else {
        return Err(Failure::error(format!("{} is no name for a file", to.display())));
    };
    let mut command = vec!["tar"];
    if no_preserve {
        command.extend(["--no-same-permissions", "--no-same-owner"]);
    }
    command.extend(["-xmf", "-"]);
    let directory = to.parent().map(|parent| parent.to_string_lossy().into_owned()).unwrap_or_default();
    if !directory.is_empty() {
        command.extend(["-C", &directory]);
    }
    let (sender, input) = mpsc::channel(WAITING);
    let packing = tokio::task::spawn_blocking(move || archive::pack(&from, &name, sender));
    let code = container.exec(&command, Some(input), nowhere).await?;
    let packed = packing.await.unwrap_or_else(|error| Err(error.to_string()));
    // A tar that has ended early has said why.
    if code == 0 {
        packed.map_err(Failure::error)?;
    }
    stream::terminated(code)
}

async fn copy_from(container: &Container<'_>, from: &str, to: &Path) -> Result<(), Failure> {
    let (output, archive) = mpsc::channel(WAITING);
    // As tar writes names, and without the dots by which one could try to leave the container's root.
    let prefix = archive::inside(Path::new(from));
    let again = format!(
        "{} exec -n {:?} {:?} -- tar cf - {from:?} | tar xf -",
        super::program(),
        hint::namespace_of(&container.pod),
        hint::name_of(&container.pod)
    );
    let to = to.to_path_buf();
    let unpacking = tokio::task::spawn_blocking(move || archive::unpack(archive, &prefix, &to, &again));
    let code = container.exec(&["tar", "cf", "-", from], None, output).await?;
    let unpacked = unpacking.await.unwrap_or_else(|error| Err(error.to_string()));
    stream::terminated(code)?;
    unpacked.map_err(Failure::error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_as_kubectl_writes_them() {
        let pod = |namespace: Option<&str>, name: &str, path: &str| Place::Pod {
            namespace: namespace.map(str::to_string),
            name: name.to_string(),
            path: path.to_string(),
        };
        for (text, place) in [
            ("/tmp/a", Place::Here("/tmp/a".into())),
            ("p:/tmp/a", pod(None, "p", "/tmp/a")),
            ("ns/p:a:b", pod(Some("ns"), "p", "a:b")),
            ("p:", pod(None, "p", "")),
        ] {
            assert_eq!(Place::read(text), Ok(place), "{text}");
        }
        for text in [":/tmp/a", "a/b/c:d"] {
            let said = Place::read(text).unwrap_err().to_string();
            assert_eq!(said, "error: filespec must match the canonical format: [[namespace/]pod:]file/path");
        }
    }
}
