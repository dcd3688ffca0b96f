//! How a command line names objects: `pods`, `pods,svc`, `all`, `pod web-1`, `pod/web-1`, `deploy.apps/web`.

use super::{Failure, custom};
use crate::object::kind::{self, KindRef};
use crate::object::nearest::nearest;

/// One kind, and the names that were given; all of the kind when there are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub kind: KindRef,
    pub names: Vec<String>,
}

/// What a command line names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resources {
    pub asked: Vec<Asked>,
    /// Each object prints with its kind before its name: there were several kinds, or `kind/name`.
    pub mixed: bool,
}

impl Resources {
    pub fn names(&self) -> usize {
        self.asked.iter().map(|a| a.names.len()).sum()
    }
}

/// The kind that a word means, or kubectl's error with the nearest word that means something.
pub fn kind_of(word: &str) -> Result<KindRef, Failure> {
    if let Some(kind) = kind::by_word(word) {
        return Ok(kind);
    }
    custom::by_word(word)?.ok_or_else(|| {
        let custom = custom::each_once();
        let words = kind::ALL.iter().chain(&custom).flat_map(|k| [k.plural, k.kind]);
        let failure = Failure::error(format!("the server doesn't have a resource type \"{word}\""));
        match nearest(word, words) {
            Some(near) => failure.hint(format!("did you mean {}?", near.to_ascii_lowercase())),
            None => failure.hint(format!("{} api-resources lists all types", super::program())),
        }
    })
}

/// Reads the arguments of `command`, which is only named in errors.
pub fn parse(args: &[String], command: &str) -> Result<Resources, Failure> {
    if args.iter().any(|arg| arg.contains('/')) {
        return parse_pairs(args, command);
    }
    let Some((types, names)) = args.split_first() else { return Ok(Resources::default()) };
    let mut kinds: Vec<KindRef> = Vec::new();
    for word in types.split(',').filter(|word| !word.is_empty()) {
        if word.eq_ignore_ascii_case("all") {
            let custom = custom::each_once();
            let mut all: Vec<KindRef> = kind::ALL.iter().chain(&custom).copied().filter(|k| k.in_all).collect();
            all.sort();
            kinds.extend(all);
        } else {
            let kind = kind_of(word)?;
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
    }
    if kinds.len() > 1 && !names.is_empty() {
        return Err(Failure::error(
            "you may only specify a single resource type when naming resources with a separate argument",
        )
        .hint(format!("write each as TYPE/NAME: {}/{}", kinds[0].singular(), names[0])));
    }
    let mixed = kinds.len() > 1;
    let asked = kinds.into_iter().map(|kind| Asked { kind, names: names.to_vec() }).collect();
    Ok(Resources { asked, mixed })
}

fn parse_pairs(args: &[String], command: &str) -> Result<Resources, Failure> {
    let mut asked: Vec<Asked> = Vec::new();
    for arg in args {
        let (word, name) = match arg.split_once('/') {
            Some((word, name)) if !word.is_empty() && !name.is_empty() && !name.contains('/') => (word, name),
            Some(_) => {
                return Err(Failure::error(format!(
                    "arguments in resource/name form must have a single resource and name, not \"{arg}\""
                )));
            }
            None => {
                let program = super::program();
                return Err(Failure::error(format!(
                    "there is no need to specify a resource type as a separate argument when passing arguments in \
                     resource/name form (e.g. '{program} {command} resource/<resource_name>' instead of '{program} \
                     {command} resource resource/<resource_name>'"
                )));
            }
        };
        let kind = kind_of(word)?;
        match asked.last_mut().filter(|last| last.kind == kind) {
            Some(last) => last.names.push(name.to_string()),
            None => asked.push(Asked { kind, names: vec![name.to_string()] }),
        }
    }
    let mixed = asked.len() > 1;
    Ok(Resources { asked, mixed })
}

/// One object: `pod web-1`, `pod/web-1`, or just `web-1` where `default` says which kind that is.
pub fn parse_one(args: &[String], default: Option<KindRef>, command: &str) -> Result<(KindRef, String), Failure> {
    let resources = match (args, default) {
        ([name], Some(kind)) if !name.contains('/') => return Ok((kind, name.clone())),
        _ => parse(args, command)?,
    };
    match resources.asked.as_slice() {
        [Asked { kind, names }] if names.len() == 1 => Ok((kind, names[0].clone())),
        _ => Err(Failure::error(format!("{command} takes one object, as TYPE NAME or TYPE/NAME"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str]) -> Result<String, String> {
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        let resources = parse(&args, "get").map_err(|f| f.to_string())?;
        let asked = resources.asked.iter().map(|a| format!("{}:{}", a.kind.plural, a.names.join(",")));
        Ok(format!("{}{}", asked.collect::<Vec<_>>().join(" "), if resources.mixed { " mixed" } else { "" }))
    }

    #[test]
    fn every_way_to_name_objects() {
        for (args, expected) in [
            (&["po"][..], "pods:"),
            (&["pod"], "pods:"),
            (&["Pods", "a", "b"], "pods:a,b"),
            (&["pods,svc"], "pods: services: mixed"),
            (&["pod/a", "pods/b"], "pods:a,b"),
            (&["svc/a", "deploy.apps/b"], "services:a deployments:b mixed"),
            (&["deployments.v1.apps", "x"], "deployments:x"),
        ] {
            assert_eq!(read(args).as_deref(), Ok(expected), "{args:?}");
        }
        assert!(read(&["all"]).is_ok_and(|all| all.starts_with("pods: replicationcontrollers: services: daemonsets:")));
    }

    #[test]
    fn wrong_names_are_told_with_what_was_meant() {
        assert_eq!(
            read(&["deplyment"]).unwrap_err(),
            "error: the server doesn't have a resource type \"deplyment\"\nhint: did you mean deployment?"
        );
        assert!(read(&["pod", "pod/a"]).unwrap_err().starts_with("error: there is no need to specify a resource type"));
        assert!(read(&["pods,svc", "a"]).unwrap_err().contains("single resource type"));
        assert!(read(&["pod/"]).unwrap_err().contains("resource/name form"));
    }
}
