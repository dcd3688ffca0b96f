//! An authority that is made while other work goes on.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use super::Authority;

/// Made by whoever asks first; the others wait for it.
#[derive(Clone)]
pub struct Lazy(Arc<Inner>);

struct Inner {
    dir: PathBuf,
    made: OnceLock<Result<Authority, String>>,
}

impl Lazy {
    pub fn new(dir: PathBuf) -> Self {
        Lazy(Arc::new(Inner { dir, made: OnceLock::new() }))
    }

    pub fn get(&self) -> Result<&Authority, String> {
        let made = self.0.made.get_or_init(|| Authority::open(&self.0.dir).map_err(|error| error.to_string()));
        made.as_ref().map_err(Clone::clone)
    }
}
