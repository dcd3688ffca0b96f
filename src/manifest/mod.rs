//! YAML bytes to objects, with the place of every error.
