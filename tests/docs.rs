//! The documents are true where a machine can tell: their links lead somewhere, and ARCHITECTURE.md's table of rooms
//! is the one that tests/layering.rs enforces.

use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn markdown(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && ["docs", "adr", "labs"].iter().any(|name| path.ends_with(name)) {
            markdown(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            files.push(path);
        }
    }
}

/// The targets of `[text](target)` in a text, web addresses left out.
fn links(text: &str) -> Vec<&str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    targets.map(|(target, _)| target).filter(|target| !target.starts_with("https://")).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut files = Vec::new();
    markdown(root(), &mut files);
    assert!(files.len() >= 5, "{files:?}");
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for link in links(&text) {
            let target = file.parent().unwrap().join(link.split('#').next().unwrap());
            assert!(target.exists(), "{} links to {link}, which is not there", file.display());
        }
    }
}

#[test]
fn every_decision_is_in_the_index() {
    let index = std::fs::read_to_string(root().join("docs/adr/README.md")).unwrap();
    let mut decisions = Vec::new();
    markdown(&root().join("docs/adr"), &mut decisions);
    decisions.retain(|file| !file.ends_with("README.md"));
    assert!(decisions.len() >= 7, "{decisions:?}");
    for file in decisions {
        let (name, text) = (file.file_name().unwrap().to_str().unwrap(), std::fs::read_to_string(&file).unwrap());
        let number = &name[..4];
        let title = text.lines().next().unwrap().strip_prefix(&format!("# {number}: "));
        let title = title.unwrap_or_else(|| panic!("{name} does not begin with \"# {number}: \""));
        let row = format!("| [{number}]({name}) | {title} |");
        assert!(index.lines().any(|line| line == row), "the index lacks {row}");
    }
}

#[test]
fn links_are_found() {
    assert_eq!(links("a [b](c.md) and [d](https://e.f), [g](h/i.rs#j)"), ["c.md", "h/i.rs#j"]);
}

#[test]
fn architecture_has_the_table_that_is_enforced() {
    let architecture = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let enforced = std::fs::read_to_string(root().join("tests/layering.rs")).unwrap();
    let rows: Vec<(String, Vec<String>)> = architecture.lines().filter_map(row).collect();
    assert!(rows.len() > 10, "{rows:?}");
    for (room, may_import) in rows {
        let start = enforced.find(&format!("(\"{room}\"")).unwrap_or_else(|| panic!("{room} is not enforced"));
        let (list, _) = enforced[start..].split_once(']').unwrap();
        let quoted: Vec<&str> = list.split('"').skip(3).step_by(2).collect();
        if may_import != ["all of these"] {
            assert_eq!(may_import, quoted, "{room}");
        }
    }
}

/// `| [room](src/...) | owns | a, b |`
fn row(line: &str) -> Option<(String, Vec<String>)> {
    let cells: Vec<&str> = line.split('|').map(str::trim).collect();
    let ["", room, _, may_import, ""] = cells[..] else { return None };
    let (room, _) = room.strip_prefix('[')?.split_once("](src/")?;
    let may_import = may_import.split(", ").filter(|room| !room.is_empty()).map(str::to_string).collect();
    Some((room.trim_end_matches(".rs").to_string(), may_import))
}
