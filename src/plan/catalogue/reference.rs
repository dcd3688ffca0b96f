//! Image references, read as containerd reads them: `nginx` is `docker.io/library/nginx:latest`.

use std::fmt;

/// The longest repository name that the distribution specification allows, with its registry.
const MAX_NAME: usize = 255;

/// A complete reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// `docker.io`, `registry.k8s.io`, `localhost:5000`
    pub registry: String,
    /// `library/nginx`, `sysnet4admin/echo-hname`
    pub repository: String,
    /// `latest` when neither a tag nor a digest is given.
    pub tag: Option<String>,
    /// `sha256:...`
    pub digest: Option<String>,
}

impl Reference {
    /// Errors are the kubelet's, for its reason `InvalidImageName`.
    pub fn parse(image: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("couldn't parse image name \"{image}\": invalid reference format{why}");
        let (name, digest) = match image.split_once('@') {
            Some((name, digest)) if is_digest(digest) => (name, Some(digest.to_string())),
            Some(_) => return Err(wrong("")),
            None => (image, None),
        };
        // A colon after the last slash begins a tag; one before it, a registry's port.
        let (path, tag) = match name.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag.to_string())),
            _ => (name, None),
        };
        if !tag.as_deref().is_none_or(is_tag) {
            return Err(wrong(""));
        }
        let (registry, repository) = match path.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest),
            _ => ("docker.io", path),
        };
        let registry = match registry {
            "index.docker.io" | "registry-1.docker.io" => "docker.io",
            other => other,
        };
        let repository = match repository {
            single if registry == "docker.io" && !single.contains('/') => format!("library/{single}"),
            several => several.to_string(),
        };
        if repository.chars().any(|c| c.is_ascii_uppercase()) {
            return Err(wrong(&format!(": repository name ({repository}) must be lowercase")));
        }
        if !repository.split('/').all(is_component) || registry.len() + repository.len() >= MAX_NAME {
            return Err(wrong(""));
        }
        let tag = tag.or_else(|| digest.is_none().then(|| "latest".to_string()));
        Ok(Reference { registry: registry.to_string(), repository, tag, digest })
    }

    /// As people write it: without Docker Hub's name and `library/`, and without tag and digest.
    pub fn short_name(&self) -> String {
        match self.registry.as_str() {
            "docker.io" => self.repository.strip_prefix("library/").unwrap_or(&self.repository).to_string(),
            registry => format!("{registry}/{}", self.repository),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

/// A part of a repository's name: letters and digits, with `.`, `_`, `__` or dashes between them.
fn is_component(part: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separators_are_single = !["..", "___", "._", "_.", ".-", "-.", "_-", "-_"].iter().any(|bad| part.contains(bad));
    part.starts_with(inner)
        && part.ends_with(inner)
        && part.chars().all(|c| inner(c) || matches!(c, '.' | '_' | '-'))
        && separators_are_single
}

fn is_tag(tag: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    tag.len() <= 128 && tag.starts_with(word) && tag.chars().all(|c| word(c) || c == '.' || c == '-')
}

fn is_digest(digest: &str) -> bool {
    digest.split_once(':').is_some_and(|(algorithm, hex)| {
        !algorithm.is_empty() && hex.len() >= 32 && hex.chars().all(|c| c.is_ascii_hexdigit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_completed_as_containerd_does() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (image, complete, short) in [
            ("nginx", "docker.io/library/nginx:latest", "nginx"),
            ("nginx:1.10", "docker.io/library/nginx:1.10", "nginx"),
            ("docker.io/library/nginx", "docker.io/library/nginx:latest", "nginx"),
            ("docker.io/nginx", "docker.io/library/nginx:latest", "nginx"),
            (
                "index.docker.io/sysnet4admin/echo-hname",
                "docker.io/sysnet4admin/echo-hname:latest",
                "sysnet4admin/echo-hname",
            ),
            ("registry.k8s.io/pause:3.9", "registry.k8s.io/pause:3.9", "registry.k8s.io/pause"),
            ("localhost/web", "localhost/web:latest", "localhost/web"),
            ("192.168.1.10:8443/web:v1", "192.168.1.10:8443/web:v1", "192.168.1.10:8443/web"),
            (&format!("nginx@{digest}"), &format!("docker.io/library/nginx@{digest}"), "nginx"),
        ] {
            let reference = Reference::parse(image).unwrap();
            assert_eq!(reference.to_string(), complete, "{image}");
            assert_eq!(reference.short_name(), short, "{image}");
        }
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        for image in
            ["", ":", "nginx:", "nginx:a b", "ngi nx", "/nginx", "nginx/", "a//b", "nginx@sha256:1", "-a", "a..b"]
        {
            let error = Reference::parse(image).unwrap_err();
            assert!(error.contains("invalid reference format"), "{image}: {error}");
        }
        let error = Reference::parse("Nginx").unwrap_err();
        assert!(error.ends_with("repository name (library/Nginx) must be lowercase"), "{error}");
    }
}
