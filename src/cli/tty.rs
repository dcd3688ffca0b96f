//! The user's terminal: raw mode for as long as a command in the lab has it, and its size.

use std::io;

use rustix::termios::{self, OptionalActions, Termios};

/// Are both standard input and output a terminal?
pub fn is_interactive() -> bool {
    stdin_is_terminal() && termios::isatty(io::stdout())
}

pub fn stdin_is_terminal() -> bool {
    termios::isatty(io::stdin())
}

/// Columns and rows of the terminal at standard output, or at standard input.
pub fn size() -> Option<(u16, u16)> {
    let size = termios::tcgetwinsize(io::stdout()).or_else(|_| termios::tcgetwinsize(io::stdin())).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}

/// The terminal at standard input hands over every key as it is, until this is dropped.
#[derive(Debug)]
pub struct RawMode {
    before: Termios,
}

impl RawMode {
    /// `None` when standard input is no terminal.
    pub fn enter() -> Option<Self> {
        let before = termios::tcgetattr(io::stdin()).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        termios::tcsetattr(io::stdin(), OptionalActions::Now, &raw).ok()?;
        Some(RawMode { before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // A terminal that is gone needs no mode.
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}
