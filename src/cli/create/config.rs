//! `create configmap`, and the data of ConfigMaps and Secrets.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde_json::{Value, json};

use super::{Failure, HowArgs, metadata};

/// Create a ConfigMap
#[derive(Debug, Args)]
pub struct ConfigMapArgs {
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    pub how: HowArgs,
}

#[derive(Debug, Default, Args)]
pub struct DataArgs {
    /// KEY=VALUE
    #[arg(long)]
    pub from_literal: Vec<String>,
    /// [KEY=]FILE, or a directory with a file a key
    #[arg(long, value_name = "[KEY=]FILE")]
    pub from_file: Vec<String>,
    /// A file with a line KEY=VALUE for each key
    #[arg(long, value_name = "FILE")]
    pub from_env_file: Vec<String>,
}

pub fn config_map(args: &ConfigMapArgs) -> Result<Value, Failure> {
    let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(&args.name, json!({}))});
    for (key, bytes) in args.data.read()? {
        // Text and bytes are kept apart.
        let (field, value) = match String::from_utf8(bytes) {
            Ok(text) => ("data", text),
            Err(error) => ("binaryData", STANDARD.encode(error.as_bytes())),
        };
        object[field][key] = value.into();
    }
    Ok(object)
}

impl DataArgs {
    pub fn read(&self) -> Result<Vec<(String, Vec<u8>)>, Failure> {
        let mut data = Data::default();
        for literal in &self.from_literal {
            let (key, value) = literal
                .split_once('=')
                .filter(|(key, _)| !key.is_empty())
                .ok_or_else(|| Failure::error(format!("invalid literal source {literal}, expected key=value")))?;
            data.add(key, value.as_bytes().to_vec())?;
        }
        for source in &self.from_file {
            data.add_file(source)?;
        }
        for file in &self.from_env_file {
            let text = String::from_utf8_lossy(&read_file(Path::new(file))?).into_owned();
            for line in text.lines().map(str::trim_start).filter(|l| !l.is_empty() && !l.starts_with('#')) {
                let (key, value) = line.split_once('=').unwrap_or((line, ""));
                data.add(key, value.as_bytes().to_vec())?;
            }
        }
        Ok(data.0)
    }
}

#[derive(Default)]
struct Data(Vec<(String, Vec<u8>)>);

impl Data {
    fn add(&mut self, key: &str, value: Vec<u8>) -> Result<(), Failure> {
        let valid = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        if !valid {
            let reason = "a valid key has only letters, digits, '-', '_' and '.'";
            return Err(Failure::error(format!("\"{key}\" is not a valid key name: {reason}")));
        }
        if self.0.iter().any(|(known, _)| known == key) {
            return Err(Failure::error(format!("cannot add key \"{key}\", another key by that name already exists")));
        }
        self.0.push((key.to_string(), value));
        Ok(())
    }

    fn add_file(&mut self, source: &str) -> Result<(), Failure> {
        let (key, path) = source.split_once('=').map_or((None, source), |(key, path)| (Some(key), path));
        let path = Path::new(path);
        if !path.is_dir() {
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            return self.add(key.unwrap_or(&name), read_file(path)?);
        }
        if key.is_some() {
            return Err(Failure::error("cannot give a key name for a directory path"));
        }
        let entries = std::fs::read_dir(path).map_err(|e| Failure::error(format!("{}: {e}", path.display())))?;
        let mut files: Vec<_> = entries.flatten().map(|e| e.path()).filter(|p| p.is_file()).collect();
        files.sort();
        for file in files {
            let name = file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            self.add(&name, read_file(&file)?)?;
        }
        Ok(())
    }
}

pub fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Failure::error(format!("error reading {}: no such file or directory", path.display()))
        }
        _ => Failure::error(format!("error reading {}: {error}", path.display())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_files_become_keys() {
        let directory = std::env::temp_dir().join(format!("nslab-config-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("index.html"), "hi\n").unwrap();
        std::fs::write(directory.join("raw"), [0xff, 0]).unwrap();
        let data = DataArgs {
            from_literal: vec!["a=b=c".into()],
            from_file: vec![directory.display().to_string(), format!("k={}", directory.join("raw").display())],
            from_env_file: Vec::new(),
        };
        let args = ConfigMapArgs { name: "web".into(), data, how: HowArgs::default() };
        let made = config_map(&args);
        std::fs::remove_dir_all(&directory).unwrap();
        let made = made.unwrap();
        assert_eq!(made["data"], json!({"a": "b=c", "index.html": "hi\n"}));
        assert_eq!(made["binaryData"], json!({"raw": "/wA=", "k": "/wA="}));
    }

    #[test]
    fn a_key_stands_once_and_is_a_key() {
        let read = |literals: &[&str]| {
            let from_literal = literals.iter().map(ToString::to_string).collect();
            DataArgs { from_literal, ..DataArgs::default() }.read().map_err(|f| f.to_string())
        };
        assert!(read(&["a=1", "a=2"]).unwrap_err().contains("already exists"));
        assert!(read(&["a/b=1"]).unwrap_err().contains("not a valid key name"));
        assert!(read(&["a"]).unwrap_err().contains("expected key=value"));
    }
}
