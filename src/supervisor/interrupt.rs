//! `lab up` and Ctrl-C: it stops waiting and says what stays and what to do. What it has handed over to the supervisor
//! goes on, as with any other client of the API.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::layout::Layout;

use super::commands::name_flag;
use super::up::forget_unstarted;

/// How far `up` has come.
#[derive(Debug, Clone, Default)]
pub enum Phase {
    /// It reads and checks.
    #[default]
    Before,
    /// It holds the lab's lock, and has started nothing yet. True: the lab's directory was there before.
    Locked(Layout, bool),
    /// The supervisor is being started, or there.
    Started(Layout),
}

/// The phase as the worker sets it and as the one who waits for signals sees it.
#[derive(Debug, Clone, Default)]
pub struct Phases(Arc<Mutex<Phase>>);

impl Phases {
    fn lock(&self) -> MutexGuard<'_, Phase> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn enter(&self, phase: Phase) {
        *self.lock() = phase;
    }

    /// What an interrupted `up` says. To be called right before this program ends: the worker is held up for good at
    /// its next phase, so that it starts nothing that was said not to be.
    pub fn interrupted(self) -> String {
        let phase = self.lock();
        let text = match &*phase {
            Phase::Before => "interrupted: nothing was changed".to_string(),
            Phase::Locked(layout, was_there) => {
                forget_unstarted(layout, *was_there);
                "interrupted: nothing was changed".to_string()
            }
            Phase::Started(layout) => still_there(layout),
        };
        std::mem::forget(phase);
        text
    }
}

fn still_there(layout: &Layout) -> String {
    let (lab, name) = (layout.lab(), name_flag(layout.lab()));
    format!(
        "interrupted: no longer waiting for lab \"{lab}\"; what was applied stays, and the lab goes on by itself\n  \
         sudo lab status{name}   how far it is\n  sudo lab up{name}       waits for it again\n  \
         sudo lab down{name}     takes it away"
    )
}

/// 128 and the signal's number, as a shell has it.
pub const INTERRUPTED: u8 = 130;
pub const TERMINATED: u8 = 143;

/// SIGINT and SIGTERM, from the moment that this is made.
pub struct Signals {
    int: Signal,
    term: Signal,
}

impl Signals {
    pub fn new() -> std::io::Result<Self> {
        Ok(Signals { int: signal(SignalKind::interrupt())?, term: signal(SignalKind::terminate())? })
    }

    /// The exit code that the signal which comes stands for.
    pub async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.int.recv() => INTERRUPTED,
            _ = self.term.recv() => TERMINATED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_interrupted_up_says_depends_on_how_far_it_was() {
        let phases = Phases::default();
        assert_eq!(phases.clone().interrupted(), "interrupted: nothing was changed");
        let phases = Phases::default();
        phases.enter(Phase::Started(Layout::new("class")));
        let said = phases.interrupted();
        assert!(said.contains("what was applied stays") && said.contains("lab down --name class"), "{said}");
    }
}
