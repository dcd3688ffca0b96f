//! Starting the supervisor from the command line, and knowing when it is ready.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::layout::{GOING_DOWN, Layout};
use crate::object::lab::Lab;

/// What a new supervisor is told on its standard input.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Orders {
    pub name: String,
    /// `None`: the one that the store has, or the notes' cluster.
    pub lab: Option<Lab>,
    pub with_host: bool,
}

/// What it answers on its standard output, once.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    Ready,
    Failed(String),
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{doing}: {source}")]
    Io { doing: String, source: std::io::Error },
    /// The supervisor said why.
    #[error("{0}")]
    Refused(String),
    #[error("the supervisor ended before it was ready; its log is {log}:\n{tail}")]
    Died { log: String, tail: String },
}

/// Starts a supervisor and waits until its API answers.
pub fn start(layout: &Layout, orders: &Orders) -> Result<(), StartError> {
    let io = |doing: &str| {
        let doing = doing.to_string();
        move |source| StartError::Io { doing, source }
    };
    std::fs::create_dir_all(layout.run()).map_err(io(&format!("make {}", layout.run().display())))?;
    // From a `down` that was killed, or that could not remove all.
    let _ = std::fs::remove_file(layout.run().join(GOING_DOWN));
    let log_path = layout.supervisor_log();
    let log = File::create(&log_path).map_err(io(&format!("make {}", log_path.display())))?;
    let program = std::env::current_exe().map_err(io("find the file of this program"))?;
    let mut child = Command::new(program)
        .arg0("lab")
        .args(["__supervise", "--name", layout.lab()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        .current_dir("/")
        .spawn()
        .map_err(io("start the supervisor"))?;
    let told = serde_json::to_vec(orders).map_err(|error| io("tell the supervisor")(error.into()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A supervisor that ended at once has said why in its log.
        let _ = stdin.write_all(&told);
    }
    let mut answer = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut answer).map_err(io("hear from the supervisor"))?;
    }
    match serde_json::from_str(&answer) {
        Ok(Answer::Ready) => Ok(()),
        Ok(Answer::Failed(why)) => {
            let _ = child.wait();
            Err(StartError::Refused(why))
        }
        Err(_) => {
            let _ = child.wait();
            let text = std::fs::read_to_string(&log_path).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let tail = lines[lines.len().saturating_sub(10)..].join("\n");
            Err(StartError::Died { log: log_path.display().to_string(), tail })
        }
    }
}
