//! Flags the way Go programs take them, and clap's errors in kubectl's words.

use std::ffi::OsString;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory as _};

use super::{Failure, Kubectl, Lab};
use crate::object::nearest::nearest;

/// `lab`'s commands. Each takes `--name LAB`, before or behind it, but for those that have a `--name` of their own
/// (`expose`), where it stands before.
pub fn lab_command() -> Command {
    with_lab_name(Lab::command())
}

pub fn kubectl_command(name: &'static str) -> Command {
    Kubectl::command().name(name)
}

const LAB_NAME: &str = "lab_name";

fn with_lab_name(command: Command) -> Command {
    let has_name = command.get_arguments().any(|arg| arg.get_long() == Some("name"));
    let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_string()).collect();
    let command = names.into_iter().fold(command, |command, name| command.mut_subcommand(name, with_lab_name));
    if has_name {
        return command;
    }
    command.arg(
        Arg::new(LAB_NAME)
            .long("name")
            .value_name("LAB")
            .action(ArgAction::Set)
            .help("The lab, when it is not the only one [env: LAB_NAME]"),
    )
}

/// The `--name` nearest to the verb.
pub fn lab_name(matches: &ArgMatches) -> Option<String> {
    let here = matches.try_get_one::<String>(LAB_NAME).ok().flatten().cloned();
    matches.subcommand().and_then(|(_, inner)| lab_name(inner)).or(here)
}

/// `Err` has been told already; it is the exit code.
pub fn matches(command: Command, argv: Vec<OsString>) -> Result<ArgMatches, u8> {
    let argv = without_go_booleans(argv, &command);
    command.clone().try_get_matches_from(&argv).map_err(|error| tell(&error, &command, &argv))
}

/// Go's `--flag=true` and `--flag=false` for flags that take no value here.
fn without_go_booleans(argv: Vec<OsString>, command: &Command) -> Vec<OsString> {
    let switches = switches_of(command, &argv);
    let mut ended = false;
    argv.into_iter()
        .filter_map(|arg| {
            ended |= arg == "--";
            let Some((name, value)) = arg.to_str().filter(|_| !ended).and_then(|text| text.split_once('=')) else {
                return Some(arg);
            };
            if !switches.iter().any(|switch| switch == name) {
                return Some(arg);
            }
            match value {
                "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(name.into()),
                "0" | "f" | "F" | "false" | "FALSE" | "False" => None,
                _ => Some(arg),
            }
        })
        .collect()
}

/// The flags without a value of the subcommand that is called, and of those that lead to it.
fn switches_of(root: &Command, argv: &[OsString]) -> Vec<String> {
    let mut switches = Vec::new();
    let mut next = Some(root);
    let mut path = command_path(root, argv).into_iter().skip(1);
    while let Some(command) = next {
        for arg in command.get_arguments().filter(|arg| matches!(arg.get_action(), ArgAction::SetTrue)) {
            switches.extend(arg.get_long().map(|long| format!("--{long}")));
            switches.extend(arg.get_short().map(|short| format!("-{short}")));
        }
        next = path.next().and_then(|name| command.find_subcommand(name));
    }
    switches
}

/// Prints what clap found wrong (or the help that was asked for); the exit code.
pub fn tell(error: &clap::Error, command: &Command, argv: &[OsString]) -> u8 {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            // A reader that went away is no error.
            let _ = error.print();
            0
        }
        _ => super::finish(Err(in_kubectls_words(error, command, argv))),
    }
}

fn in_kubectls_words(error: &clap::Error, command: &Command, argv: &[OsString]) -> Failure {
    let path = command_path(command, argv);
    let context = |kind: ContextKind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(", "),
        _ => String::new(),
    };
    let see_help = |message: String| Failure::error(format!("{message}\nSee '{} --help' for usage.", path.join(" ")));
    match error.kind() {
        ErrorKind::UnknownArgument => {
            let flag = context(ContextKind::InvalidArg);
            unknown_flag(&flag, argv, &path, command).unwrap_or_else(|| see_help(format!("unknown flag: {flag}")))
        }
        ErrorKind::InvalidSubcommand => {
            let word = context(ContextKind::InvalidSubcommand);
            let before: Vec<OsString> = argv.iter().take_while(|arg| **arg != *word).cloned().collect();
            unknown_command(&word, command, &command_path(command, &before))
        }
        ErrorKind::MissingRequiredArgument => {
            let Some(ContextValue::Strings(missing)) = error.get(ContextKind::InvalidArg) else {
                return see_help("something is missing".into());
            };
            let flags: Vec<String> =
                missing.iter().filter_map(|m| m.strip_prefix("--")).map(|m| format!("\"{}\"", word_of(m))).collect();
            if flags.is_empty() {
                let words = missing.join(" ").replace(['<', '>'], "").replace("...", "");
                return see_help(format!("{words} is required"));
            }
            see_help(format!("required flag(s) {} not set", flags.join(", ")))
        }
        ErrorKind::InvalidValue if context(ContextKind::InvalidValue).is_empty() => {
            see_help(format!("flag needs an argument: {}", word_of(&context(ContextKind::InvalidArg))))
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let (flag, value) = (context(ContextKind::InvalidArg), context(ContextKind::InvalidValue));
            let reason = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
            let valid = context(ContextKind::ValidValue);
            let failure = see_help(format!("invalid argument \"{value}\" for \"{}\" flag{reason}", word_of(&flag)));
            match valid.as_str() {
                "" => failure,
                valid => failure.hint(format!("one of: {valid}")),
            }
        }
        ErrorKind::MissingSubcommand => see_help(format!("{} needs a command", path.join(" "))),
        _ => {
            let text = StyledStr::from(error.render().to_string()).to_string();
            let text = text.strip_prefix("error: ").unwrap_or(&text);
            let first = text.split("\n\n").next().unwrap_or(text).trim_end();
            see_help(first.to_string())
        }
    }
}

/// `--image` of `--image <IMAGE>`.
fn word_of(arg: &str) -> &str {
    arg.split([' ', '=', '[']).next().unwrap_or(arg)
}

fn unknown_flag(flag: &str, argv: &[OsString], path: &[String], root: &Command) -> Option<Failure> {
    let mut command = root;
    for name in path.iter().skip(1) {
        command = command.find_subcommand(name)?;
    }
    let see = format!("See '{} --help' for usage.", path.join(" "));
    if !flag.starts_with('-') {
        let failure = Failure::error(format!("unexpected argument \"{flag}\" for \"{}\"\n{see}", path.join(" ")));
        // Beside the verbs every command of lab is about one lab.
        let is_labs = root.get_name() == "lab" && command.get_positionals().next().is_none();
        return Some(if is_labs { failure.hint(format!("a lab is named by --name {flag}")) } else { failure });
    }
    let Some(long) = flag.strip_prefix("--") else {
        let short = flag.trim_start_matches('-').chars().next()?;
        let whole = argv
            .iter()
            .filter_map(|a| a.to_str())
            .find(|a| a.starts_with('-') && !a.starts_with("--") && a.contains(short));
        return Some(Failure::error(format!("unknown shorthand flag: '{short}' in {}\n{see}", whole.unwrap_or(flag))));
    };
    let known: Vec<&str> = command
        .get_arguments()
        .chain(root.get_arguments())
        .filter(|a| !a.is_hide_set())
        .filter_map(Arg::get_long)
        .collect();
    let failure = Failure::error(format!("unknown flag: --{}\n{see}", word_of(long)));
    Some(match nearest(word_of(long), known) {
        Some(near) => failure.hint(format!("did you mean --{near}?")),
        None => failure,
    })
}

fn unknown_command(word: &str, root: &Command, path: &[String]) -> Failure {
    let mut command = root;
    for name in path.iter().skip(1) {
        match command.find_subcommand(name) {
            Some(inner) => command = inner,
            None => break,
        }
    }
    let program = path.join(" ");
    let failure = Failure::error(format!("unknown command \"{word}\" for \"{program}\""));
    let names = command.get_subcommands().filter(|c| !c.is_hide_set()).flat_map(|c| {
        std::iter::once(c.get_name()).chain(c.get_visible_aliases().map(|a| a as &str)).collect::<Vec<_>>()
    });
    match nearest(word, names) {
        Some(near) => failure.hint(format!("did you mean {program} {near}?")),
        None => failure.hint(format!("{program} --help lists all commands")),
    }
}

/// The program and the subcommands on the command line: `kubectl create deployment`.
fn command_path(root: &Command, argv: &[OsString]) -> Vec<String> {
    let mut path = vec![root.get_name().to_string()];
    let mut command = root;
    for word in argv.iter().skip(1).filter_map(|a| a.to_str()).take_while(|a| *a != "--") {
        if let Some(inner) = command.find_subcommand(word) {
            path.push(inner.get_name().to_string());
            command = inner;
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> String {
        let argv: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let command = if line.starts_with("lab") { lab_command() } else { kubectl_command("kubectl") };
        let argv = without_go_booleans(argv, &command);
        match command.clone().try_get_matches_from(&argv) {
            Ok(_) => "fine".to_string(),
            Err(error) => in_kubectls_words(&error, &command, &argv).to_string(),
        }
    }

    #[test]
    fn the_command_trees_are_sound() {
        lab_command().debug_assert();
        kubectl_command("kubectl").debug_assert();
    }

    #[test]
    fn wrong_usage_is_told_in_kubectls_words() {
        for (line, expected) in [
            (
                "kubectl create deployment np-pods --images=sysnet4admin/echo-hname",
                "error: unknown flag: --images\nSee 'kubectl create deployment --help' for usage.\nhint: did you mean --image?",
            ),
            ("kubectl get -z", "error: unknown shorthand flag: 'z' in -z\nSee 'kubectl get --help' for usage."),
            ("kubectl gett pods", "error: unknown command \"gett\" for \"kubectl\"\nhint: did you mean kubectl get?"),
            (
                "kubectl create deployment x",
                "error: required flag(s) \"image\" not set\nSee 'kubectl create deployment --help' for usage.",
            ),
            (
                "lab kueectl get pods",
                "error: unknown command \"kueectl\" for \"lab\"\nhint: lab --help lists all commands",
            ),
            (
                "lab down class",
                "error: unexpected argument \"class\" for \"lab down\"\nSee 'lab down --help' for usage.\nhint: a lab is named by --name class",
            ),
            (
                "kubectl create deployment x --image",
                "error: flag needs an argument: --image\nSee 'kubectl create deployment --help' for usage.",
            ),
        ] {
            assert_eq!(said(line), expected, "{line}");
        }
    }

    #[test]
    fn flags_as_go_takes_them() {
        for line in [
            "kubectl -n foo get pods",
            "kubectl get pods -nfoo -A=true",
            "kubectl rollout status deploy/web --watch=false",
            "kubectl get pods -o=jsonpath={.items}",
            "kubectl get pods -ojson -w=false --watch=true",
            "kubectl get -o wide pods a -l app=web b",
            "kubectl delete pods --all=true --force --grace-period=0 --wait=false",
            "kubectl delete pods x --grace-period -1",
            "kubectl apply -f a -f b,c -R",
            "kubectl create deployment --image nginx x --replicas=3 -- sh -c true",
            "lab --name a get pods",
            "lab get pods --name a",
        ] {
            assert_eq!(said(line), "fine", "{line}");
        }
    }

    #[test]
    fn the_lab_is_named_before_or_behind_the_verb() {
        for line in ["lab --name a get pods", "lab get pods --name a", "lab --name b get pods --name=a"] {
            let matches = lab_command().try_get_matches_from(line.split(' ')).unwrap();
            assert_eq!(lab_name(&matches).as_deref(), Some("a"), "{line}");
        }
    }
}
