//! Holds the rooms of `src/` to the table in ARCHITECTURE.md: who may import whom, where `unsafe` and `anyhow` may
//! stand, and how long a file may be. Test code (`#[cfg(test)]`, `tests.rs`) may import what it likes.

#[path = "layering/source.rs"]
mod source;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use source::Source;

/// Plain values, which every room may use.
const PLAIN: &[&str] = &["desired", "layout", "report", "session"];

/// Each room, and the rooms that it may import besides itself and the plain ones.
const ROOMS: &[(&str, &[&str])] = &[
    ("agent", &["control", "diff", "kernel", "object", "plan", "store"]),
    ("api", &["object", "pki", "spdy", "store"]),
    ("applet", &["manifest", "object"]),
    // `diff` for the steps that `lab plan` prints.
    ("cli", &["diff", "manifest", "object", "spdy"]),
    // `store` for bringing one to the controllers' fixpoint (`settle`).
    ("control", &["object", "store"]),
    ("desired", &[]),
    ("diff", &[]),
    ("kernel", &["diff"]),
    ("layout", &[]),
    // Only declares the rooms.
    ("lib", &[]),
    // `kernel` for what a process is left by its parent.
    ("main", &["applet", "cli", "kernel", "supervisor"]),
    ("manifest", &["object"]),
    ("object", &[]),
    ("pki", &[]),
    ("plan", &["object"]),
    ("report", &["object"]),
    ("session", &[]),
    ("spdy", &[]),
    ("store", &["object"]),
    ("supervisor", &["agent", "api", "cli", "control", "diff", "kernel", "manifest", "object", "pki", "plan", "store"]),
];

const MAX_LINES: usize = 600;

/// What a file does that it may not, each as `path:line: reason`.
fn violations(path: &str, text: &str) -> Vec<String> {
    let source = Source::parse(path, text);
    let Some((_, may_import)) = ROOMS.iter().find(|(room, _)| *room == source.room) else {
        return vec![format!("{path}:1: the room {} has no row in the table", source.room)];
    };
    let mut found = Vec::new();
    for (line, imported) in source.imports(&ROOMS.iter().map(|(room, _)| *room).collect::<Vec<_>>()) {
        if imported != source.room && !may_import.contains(&imported) && !PLAIN.contains(&imported) {
            found.push(format!("{path}:{line}: {} may not import {imported}", source.room));
        }
    }
    let only_in = [("unsafe", "kernel"), ("anyhow", "main"), ("nix", "kernel"), ("libc", "kernel")];
    for (word, home) in only_in.into_iter().filter(|(_, home)| *home != source.room) {
        found.extend(source.lines_with(word).map(|line| format!("{path}:{line}: {word} may stand only in {home}")));
    }
    if source.lines > MAX_LINES {
        found.push(format!("{path}:{MAX_LINES}: {} lines of code; split what has a second subject", source.lines));
    }
    found
}

fn rust_files(dir: &Path, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Every file below `src/`, by its path from there. Files of tests are left out.
fn sources() -> BTreeMap<String, String> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    let name = |path: &Path| path.strip_prefix(&src).unwrap().to_str().unwrap().to_string();
    let mut sources: BTreeMap<String, String> =
        files.iter().map(|path| (name(path), std::fs::read_to_string(path).unwrap())).collect();
    let tests: Vec<String> = sources.iter().flat_map(|(path, text)| Source::parse(path, text).test_modules).collect();
    sources.retain(|path, _| !tests.iter().any(|test| is_of_module(path, test)));
    sources
}

/// Is `path` the file of the module `a/b`, or one below it?
fn is_of_module(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

#[test]
fn every_file_keeps_to_its_room() {
    let sources = sources();
    assert!(sources.len() > ROOMS.len(), "only {} files were found", sources.len());
    let found: Vec<String> = sources.iter().flat_map(|(path, text)| violations(path, text)).collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn every_row_of_the_table_is_a_room() {
    let sources = sources();
    for (room, may_import) in ROOMS {
        assert!(sources.keys().any(|path| is_of_module(path, room)), "no room {room} under src/");
        for other in may_import.iter().chain(PLAIN) {
            assert!(ROOMS.iter().any(|(room, _)| room == other), "{room} may import {other}, which is no room");
        }
    }
}

mod planted {
    use super::{Source, is_of_module, violations};

    #[test]
    fn a_forbidden_import_is_found_in_every_spelling() {
        for text in [
            "use crate::store::Store;",
            "use crate::{layout, store::Store};",
            "use crate::{\n    layout::{self, Layout},\n    store,\n};",
            "fn f() { let s = crate::store::Store::open(); }",
            "use super::super::store::Store;",
            "use crate :: store;",
            "pub(in crate::cli) use crate::store;",
            "use nslab::store;",
        ] {
            let found = violations("cli/get.rs", text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(found[0].ends_with(": cli may not import store"), "{found:?}");
        }
        assert_eq!(violations("cli/mod.rs", "\nuse super::store;"), ["cli/mod.rs:2: cli may not import store"]);
        assert_eq!(violations("diff.rs", "use super::plan;"), ["diff.rs:1: diff may not import plan"]);
    }

    #[test]
    fn what_is_allowed_or_only_looks_like_an_import_passes() {
        for text in [
            "use crate::object::Key;\nuse crate::cli::get;\nuse super::printer;\nuse crate::layout::Layout;",
            "// use crate::store::Store;\n/* crate::store /* nested */ crate::kernel */",
            "const S: &str = \"use crate::store; unsafe \\\" crate::kernel\";",
            "const R: &str = r#\"crate::store \" unsafe\"#;",
            "fn f<'a>(x: &'a str) -> char { let _ = '\"'; let _ = b'\\''; 'x' }",
            "use super::store; // cli/store.rs is no room",
            "#[cfg(test)]\nmod tests {\n    use crate::store::Store;\n    fn f() { unsafe {} }\n}",
            "fn unsafely() { anyhow_like(); }",
        ] {
            assert_eq!(violations("cli/get.rs", text), [""; 0], "{text}");
        }
    }

    #[test]
    fn code_after_the_tests_is_looked_at() {
        let text = "#[cfg(test)]\nmod tests {\n    fn f() { let _ = '}'; }\n}\nuse crate::kernel;\n";
        assert_eq!(violations("api/mod.rs", text), ["api/mod.rs:5: api may not import kernel"]);
    }

    #[test]
    fn files_of_tests_are_known_by_their_declaration() {
        let text = "#[cfg(test)]\nmod testing;\nmod real;\n#[cfg(test)]\nmod tests;\n";
        assert_eq!(Source::parse("control/mod.rs", text).test_modules, ["control/testing", "control/tests"]);
        assert_eq!(Source::parse("control/gc.rs", text).test_modules, ["control/gc/testing", "control/gc/tests"]);
        assert!(is_of_module("control/tests/rows.rs", "control/tests"));
        assert!(!is_of_module("control/tests_of_life.rs", "control/tests"));
    }

    #[test]
    fn unsafe_and_anyhow_have_their_places() {
        assert_eq!(
            violations("cli/get.rs", "\nfn f() { unsafe { g() } }"),
            ["cli/get.rs:2: unsafe may stand only in kernel"]
        );
        assert_eq!(
            violations("store/mod.rs", "use anyhow::Result;"),
            ["store/mod.rs:1: anyhow may stand only in main"]
        );
        assert_eq!(violations("agent/mod.rs", "use nix::unistd;"), ["agent/mod.rs:1: nix may stand only in kernel"]);
        assert_eq!(violations("kernel/net.rs", "use nix::unistd; unsafe {}"), [""; 0]);
        assert_eq!(violations("main.rs", "use anyhow::Result;"), [""; 0]);
    }

    #[test]
    fn long_files_and_unknown_rooms_are_found() {
        let long = "fn f() {}\n".repeat(601);
        assert_eq!(violations("plan/mod.rs", &long).len(), 1);
        assert_eq!(violations("plan/mod.rs", &"fn f() {}\n".repeat(600)), [""; 0]);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{long}}}\n");
        assert_eq!(violations("plan/mod.rs", &tests), [""; 0], "the tests of a file are not counted");
        assert_eq!(violations("helpers/mod.rs", ""), ["helpers/mod.rs:1: the room helpers has no row in the table"]);
    }
}
