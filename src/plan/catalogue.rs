//! Images without a registry: what runs for an image's name. Pure: which programs this machine has is told.
//!
//! A container's `command` and `args` replace an image's entrypoint and arguments as in Kubernetes. When the program
//! that results is one of the image's own servers, a built-in server stands in for it; everything else is a program of
//! the container's rootfs.

mod reference;
mod table;

use std::collections::BTreeSet;

use crate::desired::Program;
use crate::object::nearest::nearest;

pub use reference::Reference;
use table::{Arguments, Entrypoint, Tags};
pub use table::{IMAGES, Image};

/// The names of the programs in this machine's PATH, as far as the catalogue asks for them (`needed_programs`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostPrograms(BTreeSet<String>);

impl HostPrograms {
    pub fn has(&self, program: &str) -> bool {
        self.0.contains(program)
    }
}

impl<S: Into<String>> FromIterator<S> for HostPrograms {
    fn from_iter<I: IntoIterator<Item = S>>(names: I) -> Self {
        HostPrograms(names.into_iter().map(Into::into).collect())
    }
}

/// What users start in the shell images. An entrypoint script that asks "is this a program?" is answered from here.
const TOOLS: &[&str] = &[
    "arping",
    "ash",
    "bash",
    "cat",
    "curl",
    "date",
    "dig",
    "echo",
    "env",
    "false",
    "host",
    "hostname",
    "id",
    "ip",
    "ls",
    "nc",
    "netstat",
    "nslookup",
    "ping",
    "printenv",
    "ps",
    "sh",
    "sleep",
    "ss",
    "stat",
    "tail",
    "tcpdump",
    "test",
    "top",
    "touch",
    "tracepath",
    "traceroute",
    "true",
    "uname",
    "watch",
    "wget",
    "yes",
];

/// The programs to look for on this machine; `HostPrograms` is the part of these that was found.
pub fn needed_programs() -> Vec<&'static str> {
    let needs = IMAGES.iter().flat_map(|image| image.needs).map(|(program, _)| *program);
    let all: BTreeSet<&str> = TOOLS.iter().copied().chain(needs).collect();
    all.into_iter().collect()
}

/// The image that a name stands for.
pub fn find(image: &str) -> Result<&'static Image, String> {
    let reference =
        Reference::parse(image).map_err(|error| format!("Failed to apply default image tag \"{image}\": {error}"))?;
    let name = reference.short_name();
    let found = IMAGES.iter().find(|image| image.names.contains(&name.as_str()));
    match found {
        Some(image) if has_tag(image, &reference) => Ok(image),
        Some(image) => Err(not_found(&reference, &tag_advice(image))),
        None => Err(not_found(&reference, &name_advice(&name))),
    }
}

/// What runs in a container of this image with this `command` and `args`. The error is the message that the container
/// waits with.
pub fn resolve(
    image: &str,
    command: Option<&[String]>,
    args: Option<&[String]>,
    host: &HostPrograms,
) -> Result<Program, String> {
    let entry = find(image)?;
    let argv = arguments(entry, command, args, host);
    let Some((program, rest)) = argv.split_first() else {
        return Err(format!("image \"{image}\" says no program to run; set command in the container"));
    };
    let file_name = program.rsplit('/').next().unwrap_or(program);
    if let Some(applet) = entry.applet.as_ref().filter(|applet| applet.programs.contains(&file_name)) {
        let mut argv = vec![applet.name.to_string()];
        match applet.arguments {
            Arguments::Passed => argv.extend_from_slice(rest),
            Arguments::Dropped => {}
            Arguments::Tag => {
                let tag = Reference::parse(image).ok().and_then(|reference| reference.tag);
                argv.extend(tag.into_iter().flat_map(|tag| ["--tag".to_string(), tag]));
            }
        }
        return Ok(Program::Applet { argv });
    }
    if let Some((program, package)) = entry.needs.iter().find(|(needed, _)| *needed == file_name && !host.has(needed)) {
        return Err(format!(
            "image \"{image}\" runs the program {program} of this machine, which is not installed: on Debian and Ubuntu \
             the package {package} brings it"
        ));
    }
    Ok(Program::Command { argv })
}

/// Kubernetes' rule: `command` replaces the entrypoint and drops the image's arguments; `args` replaces the arguments.
/// Lists that are empty count as not given.
fn arguments(image: &Image, command: Option<&[String]>, args: Option<&[String]>, host: &HostPrograms) -> Vec<String> {
    let args = args.filter(|args| !args.is_empty());
    if let Some(command) = command.filter(|command| !command.is_empty()) {
        return [command, args.unwrap_or_default()].concat();
    }
    let args: Vec<String> = args.map_or_else(|| image.cmd.iter().map(ToString::to_string).collect(), <[_]>::to_vec);
    let first = args.first().map_or("", String::as_str);
    let before = match image.entrypoint {
        Entrypoint::Plain => None,
        Entrypoint::Program(program) => Some(program),
        Entrypoint::OptionsTo(program) => first.starts_with('-').then_some(program),
        Entrypoint::UnknownTo(program) => (!is_program(first, host)).then_some(program),
    };
    before.map(ToString::to_string).into_iter().chain(args).collect()
}

fn is_program(word: &str, host: &HostPrograms) -> bool {
    word.starts_with('/') || host.has(word)
}

fn has_tag(image: &Image, reference: &Reference) -> bool {
    let Some(tag) = reference.tag.as_deref() else { return true };
    match image.tags {
        Tags::Any => true,
        Tags::Only(only) => tag == only,
        Tags::Versions { major, max_minor } => {
            // Tags that begin with no number (latest, alpine, stable) are always there.
            let mut numbers = tag.split('-').next().unwrap_or_default().split('.');
            let Some(Ok(tag_major)) = numbers.next().map(str::parse::<u32>) else { return true };
            let minor = numbers.next().map_or(Ok(0), str::parse::<u32>);
            tag_major == major && minor.is_ok_and(|minor| minor <= max_minor)
        }
    }
}

/// What containerd says, and then what to do here.
fn not_found(reference: &Reference, advice: &str) -> String {
    format!(
        "failed to pull and unpack image \"{reference}\": failed to resolve reference \"{reference}\": {reference}: not \
         found; {advice}"
    )
}

fn tag_advice(image: &Image) -> String {
    let name = image.names.first().unwrap_or(&"");
    match image.tags {
        Tags::Any => format!("use \"{name}\""),
        Tags::Only(tag) => format!("the lab has \"{name}:{tag}\""),
        Tags::Versions { major, .. } => format!("the lab has \"{name}\" in the versions {major}.x"),
    }
}

/// A lab pulls nothing: the name was mistyped, or is of an image that the lab does not have.
fn name_advice(name: &str) -> String {
    let all = || IMAGES.iter().flat_map(|image| image.names).copied();
    // A name without its owner, or with that of a mirror, is the end of a longer one.
    let last = |name: &str| name.rsplit('/').next().unwrap_or_default().to_string();
    let same_end = all().find(|known| last(known) == last(name));
    match same_end.or_else(|| nearest(name, all())) {
        Some(known) => format!("did you mean \"{known}\"? The lab pulls from no registry"),
        None => {
            let names: Vec<&str> = IMAGES.iter().filter_map(|image| image.names.first().copied()).collect();
            format!("the lab pulls from no registry; the images that it has: {}", names.join(", "))
        }
    }
}

#[cfg(test)]
mod tests;
