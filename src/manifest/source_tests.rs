use std::fs;
use std::path::{Path, PathBuf};

use super::{Input, Options, read};

/// A directory of the test's own, gone when it ends.
struct Directory(PathBuf);

impl Directory {
    fn new(test: &str, files: &[&str]) -> Self {
        let path = std::env::temp_dir().join(format!("nslab-manifest-{test}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        let directory = Directory(path);
        for file in files {
            let path = directory.0.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("# {file}\n")).unwrap();
        }
        directory
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The names of the sources, or the messages of the problems, relative to the directory.
fn outcome(directory: &Directory, path: &Path, recursive: bool) -> Vec<String> {
    let sources = read(&Input::Path(path.to_path_buf()), Options { recursive });
    let prefix = format!("{}/", directory.0.display());
    sources
        .into_iter()
        .map(|source| match source {
            Ok(source) => source.name.to_string(),
            Err(problem) => problem.to_string(),
        })
        .map(|text| text.replace(&prefix, ""))
        .collect()
}

#[test]
fn a_directory_is_read_in_order_and_not_deeper_than_asked() {
    let files = ["b.yaml", "a.yml", "c.json", "notes.txt", "README.md", "sub/d.yaml", "sub/deep/e.yml", "no/f.txt"];
    let directory = Directory::new("order", &files);
    std::os::unix::fs::symlink(".", directory.path("loop")).unwrap();
    assert_eq!(outcome(&directory, &directory.0, false), ["a.yml", "b.yaml", "c.json"]);
    let all = ["a.yml", "b.yaml", "c.json", "sub/d.yaml", "sub/deep/e.yml"];
    assert_eq!(outcome(&directory, &directory.0, true), all);
    assert_eq!(outcome(&directory, &directory.path("notes.txt"), false), ["notes.txt"], "a file named is a file read");
    assert_eq!(
        outcome(&directory, &directory.path("no"), false),
        ["the directory \"no\" holds no file with a recognized extension [.json .yaml .yml]"]
    );
    let only_directories = Directory::new("only", &["x/y.yaml"]);
    assert!(outcome(&only_directories, &only_directories.0, false)[0].ends_with("-R reads them too"));
}

#[test]
fn a_missing_file_gets_the_nearest_name() {
    let files = ["nodejs-ingress.yaml", "mysql.yaml", "_Book_k8sInfra/ch3/3.3.1/nodeport.yaml", "Books/x.txt"];
    let directory = Directory::new("nearest", &files);
    for (asked, help) in [
        ("nodejs-ingress", "did you mean nodejs-ingress.yaml?"),
        ("BookInfra/ch3/3.3.1/nodeport.yaml", "did you mean _Book_k8sInfra/ch3/3.3.1/nodeport.yaml?"),
        ("BookInfra/ch3/3.3.1/nodepor.yml", "did you mean _Book_k8sInfra/ch3/3.3.1/nodeport.yaml?"),
        ("zzz.yaml", "the YAML files in DIRECTORY are mysql.yaml, nodejs-ingress.yaml"),
        ("mysql.yaml/x", "the YAML files in DIRECTORY are mysql.yaml, nodejs-ingress.yaml"),
        ("Books/y", "there is no YAML file in Books"),
        ("Bookz", "did you mean Books?"),
    ] {
        let said = outcome(&directory, &directory.path(asked), false).remove(0);
        let said = said.replace(&directory.0.display().to_string(), "DIRECTORY");
        assert_eq!(said, format!("the path \"{asked}\" does not exist\n  help: {help}"), "{asked}");
    }
}

#[test]
fn many_files_are_not_all_named() {
    let names: Vec<String> = (0..12).map(|n| format!("{n:02}.yaml")).collect();
    let directory = Directory::new("many", &names.iter().map(String::as_str).collect::<Vec<_>>());
    let said = outcome(&directory, &directory.path("none"), false).remove(0);
    assert!(said.ends_with("06.yaml, 07.yaml and 4 more"), "{said}");
}

#[test]
fn what_an_argument_means() {
    assert_eq!(Input::from_argument("-"), Input::Stdin);
    assert_eq!(Input::from_argument("web.yaml"), Input::Path("web.yaml".into()));
    assert_eq!(Input::from_argument("HTTPS://example.com/a"), Input::Url("HTTPS://example.com/a".into()));
    assert_eq!(Input::from_argument("http.yaml"), Input::Path("http.yaml".into()));
    // Nothing listens on the port that a listener has just left.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{free}/a.yaml");
    let problem = read(&Input::from_argument(&url), Options::default()).remove(0).unwrap_err();
    assert!(problem.message.starts_with(&format!("unable to read URL \"{url}\": connect to {free}:")), "{problem}");
}

#[test]
fn an_oversized_file_is_refused() {
    let directory = Directory::new("size", &[]);
    let file = fs::File::create(directory.path("big.yaml")).unwrap();
    file.set_len(super::MAX_BYTES + 1).unwrap();
    assert_eq!(outcome(&directory, &directory.path("big.yaml"), false), ["big.yaml: larger than 32 MiB"]);
}
