//! YAML and JSON bytes to objects, with the place of every error.
//!
//! [`read`] gives the objects of files, directories and standard input as kubectl would read them; [`check`] says what
//! the API server would refuse in them, at its line and column. Both go through everything before they give up, so
//! that a user sees all there is to mend.

mod check;
mod document;
mod json;
mod place;
mod scalar;
mod source;
mod syntax;
mod text;
mod url;
mod yaml;

use serde_json::Value;

pub use check::{check, kinds_of};
pub use document::Document;
pub use place::{Note, Place, Position, Problem, Problems};
pub use source::{Input, Options};

/// Reads all inputs, in their order. Either every document of every file is an object, or nothing is returned.
pub fn read(inputs: &[Input], options: Options) -> Result<Vec<Document>, Problems> {
    let (mut documents, mut problems) = (Vec::new(), Vec::new());
    for source in inputs.iter().flat_map(|input| source::read(input, options)) {
        match source {
            Err(problem) => problems.push(problem),
            Ok(source) => {
                let contents = document::read(&source.name, &source.bytes);
                documents.extend(contents.documents);
                problems.extend(contents.problems);
            }
        }
    }
    if problems.is_empty() { Ok(documents) } else { Err(Problems(problems)) }
}

/// The first document of a file that holds no objects, as plain JSON; an empty file is null.
pub fn read_value(name: &str, bytes: &[u8]) -> Result<Value, Problem> {
    document::read_value(&name.into(), bytes)
}

#[cfg(test)]
mod fuzz_tests;
#[cfg(test)]
mod tests;
