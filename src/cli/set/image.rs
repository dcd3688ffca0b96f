//! `set image`.

use clap::Args;
use serde_json::Value;

use super::super::{Context, Failure};
use super::{WhichArgs, containers, name_of, spec_of, split};

/// Set the images of containers: CONTAINER=IMAGE, or *=IMAGE for all of them
#[derive(Debug, Args)]
pub struct ImageArgs {
    /// TYPE NAME..., TYPE/NAME..., and then CONTAINER=IMAGE...
    #[arg(value_name = "TYPE[/NAME] CONTAINER=IMAGE")]
    words: Vec<String>,
    #[command(flatten)]
    which: WhichArgs,
}

pub async fn run(args: ImageArgs, cx: &Context) -> Result<(), Failure> {
    let (resources, pairs) = split(&args.words, |word| word.contains('=')).ok_or_else(|| {
        let words = args.words.join(" ");
        Failure::error(format!("all resources must be specified before image changes: {words}"))
    })?;
    let pairs: Vec<(&str, &str)> = pairs.iter().filter_map(|pair| pair.split_once('=')).collect();
    if let Some((name, image)) = pairs.iter().find(|(name, image)| name.is_empty() || image.is_empty()) {
        return Err(Failure::error(format!("invalid image format: {name}={image}")));
    }
    match pairs.as_slice() {
        [] => return Err(Failure::error("at least one image update is required").hint("add CONTAINER=IMAGE")),
        [_] => {}
        several if several.iter().any(|(name, _)| *name == "*") => {
            return Err(Failure::error(
                "all containers are already specified by *, but saw more than one container_name=container_image pairs",
            ));
        }
        _ => {}
    }
    let change = |object: &mut Value| set(object, &pairs);
    args.which.change(resources, "set image", "image updated", cx, change).await
}

fn set(object: &mut Value, pairs: &[(&str, &str)]) -> Result<(), Failure> {
    let spec = spec_of(object)?;
    let mut failures = Vec::new();
    for (name, image) in pairs {
        let mut found = false;
        for container in containers(spec).filter(|c| *name == "*" || name_of(c) == *name) {
            container.insert("image".into(), (*image).into());
            found = true;
        }
        if !found {
            let all: Vec<String> = containers(spec).map(|c| name_of(c).to_string()).collect();
            let failure = Failure::error(format!("unable to find container named \"{name}\""));
            failures.push(failure.hint(format!("its containers: {}", all.join(", "))));
        }
    }
    Failure::all(failures)
}
