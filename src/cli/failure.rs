//! What a verb says when it cannot do what it was asked: the message in kubectl's own words, hints below it, and the
//! exit code.

use std::fmt;
use std::io;

use super::client::ClientError;

/// Why a verb failed, ready to be printed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Failure {
    /// One line or more, with what stands before it (`error: `, `Error from server (NotFound): `). Empty when all has
    /// been said already, or nobody is left to read it.
    pub message: String,
    /// What to do next; each is printed on a line of its own.
    pub hints: Vec<String>,
    pub code: u8,
}

/// What a shell sees of a program whose reader went away (128 + SIGPIPE), as it sees it of kubectl.
const BROKEN_PIPE: u8 = 141;

impl Failure {
    /// `error: MESSAGE`, exit code 1.
    pub fn error(message: impl fmt::Display) -> Self {
        Self::verbatim(format!("error: {message}"))
    }

    /// A message that brings its own beginning.
    pub fn verbatim(message: impl Into<String>) -> Self {
        Failure { message: message.into(), hints: Vec::new(), code: 1 }
    }

    /// Ends with `code` and says nothing: the command inside the lab has said it.
    pub fn silent(code: u8) -> Self {
        Failure { message: String::new(), hints: Vec::new(), code }
    }

    /// kubectl's words for wrong usage, which end in a pointer to the help.
    pub fn usage(message: impl fmt::Display, command: &str) -> Self {
        Self::error(format!("{message}\nSee '{} {command} -h' for help and examples", super::program()))
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    pub fn hints(mut self, hints: impl IntoIterator<Item = String>) -> Self {
        self.hints.extend(hints);
        self
    }

    pub fn code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// One failure that says all of `failures`; `Ok` when there is none.
    pub fn all(failures: Vec<Failure>) -> Result<(), Failure> {
        let mut failures = failures.into_iter();
        let Some(first) = failures.next() else { return Ok(()) };
        Err(failures.fold(first, |mut all, next| {
            // A hint belongs right below its message.
            all.message = all.to_string();
            all.hints.clear();
            all.message.push('\n');
            all.message.push_str(&next.message);
            all.hints = next.hints;
            all
        }))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for hint in &self.hints {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Status(status) => Failure::verbatim(status.for_people()),
            other => Failure::error(other),
        }
    }
}

/// Only for writing to standard output; errors of files are told with the file's name.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Failure::silent(BROKEN_PIPE);
        }
        Failure::error(format!("cannot write the output: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_stay_with_their_message_when_failures_join() {
        let joined = Failure::all(vec![
            Failure::error("one").hint("try 1"),
            Failure::error("two"),
            Failure::error("three").hint("try 3"),
        ]);
        let joined = joined.unwrap_err();
        assert_eq!(joined.to_string(), "error: one\nhint: try 1\nerror: two\nerror: three\nhint: try 3");
        assert_eq!(Failure::all(Vec::new()), Ok(()));
    }
}
