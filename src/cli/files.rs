//! `-f`: the objects in files, directories, URLs and standard input, as `crate::manifest` reads them.

use clap::Args;
use serde_json::Value;

use super::{Context, Failure, custom};
use crate::manifest::{self, Input, Options, Problems};
use crate::object::kind::KindRef;

#[derive(Debug, Clone, Default, Args)]
pub struct FileArgs {
    /// A file, a directory, a URL or - for standard input
    #[arg(short, long, value_name = "FILE", value_delimiter = ',')]
    pub filename: Vec<String>,
    /// Directories with all that is below them
    #[arg(short = 'R', long)]
    pub recursive: bool,
    /// A directory with a kustomization.yaml (needs kustomize or Kubernetes' own kubectl)
    #[arg(short, long, value_name = "DIR")]
    pub kustomize: Option<String>,
}

impl FileArgs {
    pub fn is_given(&self) -> bool {
        !self.filename.is_empty() || self.kustomize.is_some()
    }
}

/// What a verb does with the objects, which decides how closely they are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The objects are sent: they must be what the API server takes.
    Send,
    /// They only name objects.
    Name,
}

/// An object in a file.
#[derive(Debug)]
pub struct Document {
    pub kind: KindRef,
    /// Empty for cluster-scoped kinds.
    pub namespace: String,
    pub name: String,
    pub object: Value,
    /// The file, as the user named it.
    pub source: String,
    manifest: manifest::Document,
}

impl Document {
    /// `web.yaml:14:17`: where a field stands in its file.
    pub fn place(&self, field: &str) -> String {
        self.manifest.place(field).to_string()
    }
}

/// Reads all files; with a problem in one of them, nothing is returned. What was put right on the way is told.
pub fn read(args: &FileArgs, purpose: Purpose, cx: &Context) -> Result<Vec<Document>, Failure> {
    let mut inputs: Vec<Input> = args.filename.iter().map(|name| Input::from_argument(name)).collect();
    if let Some(directory) = &args.kustomize {
        if !inputs.is_empty() {
            return Err(Failure::error("only one of -f or -k can be specified"));
        }
        let bytes = super::kustomize::build(directory)?.into_bytes();
        inputs.push(Input::Bytes { name: directory.clone(), bytes });
    }
    let manifests = manifest::read(&inputs, Options { recursive: args.recursive }).map_err(failure)?;
    for note in manifests.iter().flat_map(|m| &m.notes) {
        eprintln!("Warning: {note}");
    }
    if purpose == Purpose::Send {
        manifest::check(&manifests, &custom::by_api_version_kind).map_err(failure)?;
    }
    let brought: Vec<KindRef> = manifests.iter().flat_map(|manifest| manifest::kinds_of(manifest)).collect();
    manifests.into_iter().map(|manifest| document(manifest, &brought, cx)).collect()
}

fn failure(problems: Problems) -> Failure {
    let told = problems.0.into_iter().map(|problem| {
        let message = match problem.place {
            Some(place) => format!("{place}: {}", problem.message),
            None => problem.message,
        };
        Failure::error(message).hints(problem.help)
    });
    match Failure::all(told.collect()) {
        Err(failure) => failure,
        Ok(()) => Failure::error("the manifests cannot be read"),
    }
}

/// `brought`: the kinds that the files define themselves.
fn document(manifest: manifest::Document, brought: &[KindRef], cx: &Context) -> Result<Document, Failure> {
    let object = &manifest.object;
    let source = manifest.file.to_string();
    let (version, name) = (object.api_version(), object.kind_name());
    let is_it = |kind: &&KindRef| kind.kind == name && kind.api_version() == version;
    let defined = || brought.iter().find(is_it).copied();
    let Some(kind) = object.kind().or_else(defined).or_else(|| custom::by_api_version_kind(version, name)) else {
        return Err(Failure::error(format!(
            "resource mapping not found for name: \"{}\" namespace: \"{}\" from \"{source}\": no matches for kind \"{name}\" in \
             version \"{version}\"\nensure CRDs are installed first",
            object.name(),
            object.namespace()
        )));
    };
    let namespace = match (kind.namespaced, object.namespace()) {
        (false, _) => String::new(),
        (true, "") => cx.namespace.clone(),
        (true, own) if cx.namespace_given && own != cx.namespace => {
            return Err(Failure::error(format!(
                "the namespace from the provided object \"{own}\" does not match the namespace \"{}\". You must pass \
                 '--namespace={own}' to perform this operation.",
                cx.namespace
            ))
            .hint(format!("{}: metadata.namespace is {own}", manifest.place("metadata.namespace"))));
        }
        (true, own) => own.to_string(),
    };
    let mut placed = object.clone();
    if kind.namespaced {
        placed.metadata_mut().insert("namespace".into(), namespace.clone().into());
    }
    let (name, object) = (object.name().to_string(), placed.to_value());
    Ok(Document { kind, namespace, name, object, source, manifest })
}
