//! The command line: one file a verb family, a client of the API.
