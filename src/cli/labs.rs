//! Which lab a command is about, and where its API socket is.

use std::path::{Path, PathBuf};

use super::client::Client;
use crate::layout::{Layout, RUN};

/// The lab's name when nobody says another.
pub const DEFAULT: &str = "lab";

/// The labs that have an API socket, by name.
pub fn running() -> Vec<String> {
    running_in(Path::new(RUN))
}

fn running_in(run: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(run).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut labs: Vec<String> =
        names.filter(|name| run.join(name).join("api.sock").symlink_metadata().is_ok()).collect();
    labs.sort();
    labs
}

/// The lab that was asked for; else the only one that runs; else the one called `lab`.
pub fn choose(asked: Option<&str>, running: &[String]) -> String {
    match (asked, running) {
        (Some(name), _) if !name.is_empty() => name.to_string(),
        (_, [only]) => only.clone(),
        _ => DEFAULT.to_string(),
    }
}

/// A client of the lab that was asked for (`--name`, `LAB_NAME`), at its own socket unless another is given.
pub fn client(asked: Option<&str>, socket: Option<&Path>) -> Client {
    match socket {
        Some(socket) => Client::new(asked.unwrap_or(DEFAULT), socket.to_path_buf()),
        None => {
            let lab = choose(asked, &running());
            let socket: PathBuf = Layout::new(&lab).api_socket();
            Client::new(&lab, socket)
        }
    }
}

/// What to do when lab `lab` is not there; `name` is the flag that names it, where it needs one.
pub fn how_to_reach(lab: &str, name: &str) -> String {
    let others: Vec<String> = running().into_iter().filter(|other| other != lab).collect();
    match others.as_slice() {
        [] => format!("start one with: sudo lab up{name}"),
        others => {
            let flag = if super::runs_as_kubectl() { "LAB_NAME=" } else { "--name " };
            format!(
                "running: {} (choose with {flag}{}), or start it with: sudo lab up{name}",
                others.join(", "),
                others[0]
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_only_lab_needs_no_name() {
        let labs = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(choose(None, &labs(&["class"])), "class");
        assert_eq!(choose(None, &labs(&["a", "b"])), "lab");
        assert_eq!(choose(None, &[]), "lab");
        assert_eq!(choose(Some("b"), &labs(&["a"])), "b");
    }
}
