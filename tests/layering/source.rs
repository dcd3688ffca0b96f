//! Reads Rust as far as the layering test needs: words outside comments, literals and test modules.

/// A file's code as words and punctuation, each with its line.
pub struct Source {
    /// The first part of the path below `src/`.
    pub room: String,
    /// How many lines the file has without its test module.
    pub lines: usize,
    /// Modules that this file declares for tests alone, as paths without their ending.
    pub test_modules: Vec<String>,
    /// How many `super::` lead from a module of this file to the root of the crate.
    depth: usize,
    tokens: Vec<(usize, String)>,
}

impl Source {
    pub fn parse(path: &str, text: &str) -> Self {
        let path = path.trim_end_matches(".rs");
        let parts: Vec<&str> = path.split('/').filter(|part| !["mod", "lib", "main"].contains(part)).collect();
        let all = tokens(text);
        let test_modules = all
            .windows(CFG_TEST_MOD.len() + 2)
            .filter(|window| is_cfg_test_mod(window) && window.last().is_some_and(|(_, word)| word == ";"));
        let below = |name: &String| parts.iter().copied().chain([name.as_str()]).collect::<Vec<_>>().join("/");
        let test_modules = test_modules.map(|window| below(&window[CFG_TEST_MOD.len()].1)).collect();
        let room = parts.first().copied().unwrap_or(path).to_string();
        let (tokens, cut) = without_tests(all);
        Source { room, lines: text.lines().count() - cut, test_modules, depth: parts.len(), tokens }
    }

    /// The rooms that paths in this file lead to, with the line of each.
    pub fn imports<'a>(&self, rooms: &[&'a str]) -> Vec<(usize, &'a str)> {
        let mut found = Vec::new();
        for at in 0..self.tokens.len() {
            let begins = at == 0 || self.word(at - 1) != "::";
            let after = match self.word(at) {
                "crate" | "nslab" if begins && self.word(at + 1) == "::" => at + 2,
                "super" if begins => match self.to_the_root(at) {
                    Some(after) => after,
                    None => continue,
                },
                _ => continue,
            };
            for (line, word) in self.heads(after) {
                found.extend(rooms.iter().find(|room| **room == word).map(|room| (line, *room)));
            }
        }
        found
    }

    /// The lines on which `word` stands as a word of its own.
    pub fn lines_with<'a>(&'a self, word: &'a str) -> impl Iterator<Item = usize> + 'a {
        self.tokens.iter().filter(move |(_, token)| token == word).map(|(line, _)| *line)
    }

    fn word(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |(_, word)| word)
    }

    /// What stands behind as many `super::` as lead to the root of the crate.
    fn to_the_root(&self, mut at: usize) -> Option<usize> {
        for _ in 0..self.depth {
            if self.word(at) != "super" || self.word(at + 1) != "::" {
                return None;
            }
            at += 2;
        }
        Some(at)
    }

    /// The first word of a path, or of each path in braces.
    fn heads(&self, at: usize) -> Vec<(usize, String)> {
        if self.word(at) != "{" {
            return self.tokens.get(at).cloned().into_iter().collect();
        }
        let (mut depth, mut heads) = (0, Vec::new());
        for (index, (line, word)) in self.tokens.iter().enumerate().skip(at) {
            match word.as_str() {
                "{" => depth += 1,
                "}" => depth -= 1,
                _ if depth == 1 && ["{", ","].contains(&self.word(index - 1)) => heads.push((*line, word.clone())),
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        heads
    }
}

const CFG_TEST_MOD: [&str; 8] = ["#", "[", "cfg", "(", "test", ")", "]", "mod"];

fn is_cfg_test_mod(tokens: &[(usize, String)]) -> bool {
    CFG_TEST_MOD.iter().zip(tokens).all(|(expected, (_, word))| word == expected)
}

/// The code without `#[cfg(test)] mod ... { ... }`, and how many lines that was.
fn without_tests(tokens: Vec<(usize, String)>) -> (Vec<(usize, String)>, usize) {
    // The module's name stands between `mod` and the brace; a semicolon instead means a file of its own.
    let mut windows = tokens.windows(CFG_TEST_MOD.len() + 2);
    let start = windows.position(|window| is_cfg_test_mod(window) && window[CFG_TEST_MOD.len() + 1].1 == "{");
    let Some(start) = start else { return (tokens, 0) };
    let open = start + CFG_TEST_MOD.len() + 1;
    let mut depth = 0;
    let close = tokens.iter().enumerate().skip(open).find_map(|(index, (_, word))| {
        depth += i32::from(word == "{") - i32::from(word == "}");
        (depth == 0).then_some(index)
    });
    let close = close.unwrap_or(tokens.len() - 1);
    let cut = tokens[close].0 - tokens[start].0 + 1;
    let mut left = tokens;
    left.drain(start..=close);
    (left, cut)
}

fn tokens(text: &str) -> Vec<(usize, String)> {
    let mut tokens: Vec<(usize, String)> = Vec::new();
    let mut rest = text;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            _ if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            _ if rest.starts_with("/*") => block_comment(rest),
            'r' | 'b' | 'c' if raw_string(rest).is_some() => raw_string(rest).unwrap_or(1),
            '"' => quoted(rest, '"'),
            '\'' => char_or_lifetime(rest),
            _ if is_word(first) => {
                let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                tokens.push((line, rest[..length].to_string()));
                length
            }
            _ if rest.starts_with("::") => {
                tokens.push((line, "::".into()));
                2
            }
            _ => {
                if !first.is_whitespace() {
                    tokens.push((line, first.to_string()));
                }
                first.len_utf8()
            }
        };
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    tokens
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The length of a block comment; they nest.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of `r"..."`, `br#"..."#` and their like.
fn raw_string(text: &str) -> Option<usize> {
    let prefix = ["r", "br", "cr"].into_iter().find(|prefix| {
        let after = text.strip_prefix(prefix).unwrap_or("").trim_start_matches('#');
        text.starts_with(prefix) && after.starts_with('"')
    })?;
    let hashes = text[prefix.len()..].chars().take_while(|c| *c == '#').count();
    let body = prefix.len() + hashes + 1;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(text[body..].find(&end).map_or(text.len(), |at| body + at + end.len()))
}

/// The length of a literal between `mark`s, in which a backslash escapes.
fn quoted(text: &str, mark: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == mark => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// `'x'` and `'\n'` are literals; `'a` is a lifetime or a label.
fn char_or_lifetime(text: &str) -> usize {
    let mut chars = text.chars().skip(1);
    match (chars.next(), chars.next()) {
        (Some('\\'), _) | (Some(_), Some('\'')) => quoted(text, '\''),
        _ => 1,
    }
}
