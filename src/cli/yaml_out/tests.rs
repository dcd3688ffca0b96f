use serde_json::json;

use super::*;

#[test]
fn objects_are_laid_out_as_kubectl_does() {
    let object = json!({
        "kind": "Pod", "apiVersion": "v1", "spec": {"containers": [{"name": "web", "args": ["-c", "a"], "ports": []}]},
        "metadata": {"name": "web", "labels": {}, "x": null}, "matrix": [[1, 2], [3]],
    });
    let expected = "\
apiVersion: v1
kind: Pod
matrix:
- - 1
  - 2
- - 3
metadata:
  labels: {}
  name: web
  x: null
spec:
  containers:
  - args:
    - -c
    - a
    name: web
    ports: []
";
    assert_eq!(to_yaml(&object), expected);
}

#[test]
fn strings_are_quoted_where_yaml_1_1_reads_something_else() {
    for (text, written) in [
        ("web", "web"),
        ("", "\"\""),
        ("80", "\"80\""),
        ("0644", "\"0644\""),
        ("1.5", "\"1.5\""),
        ("1e3", "\"1e3\""),
        ("1.2.3", "1.2.3"),
        ("10.96.0.1", "10.96.0.1"),
        ("0x1f", "\"0x1f\""),
        ("yes", "\"yes\""),
        ("Off", "\"Off\""),
        ("yEs", "yEs"),
        ("null", "\"null\""),
        ("~", "\"~\""),
        ("1:30", "\"1:30\""),
        ("80:30000", "80:30000"),
        ("2026-01-02T03:04:05Z", "\"2026-01-02T03:04:05Z\""),
        ("2026-01-02", "\"2026-01-02\""),
        ("a: b", "'a: b'"),
        ("a:b", "a:b"),
        ("a #b", "'a #b'"),
        ("-", "'-'"),
        ("- a", "'- a'"),
        ("-a", "-a"),
        ("*", "'*'"),
        ("@x", "'@x'"),
        ("it's", "it's"),
        ("'x'", "'''x'''"),
        ("{a}", "'{a}'"),
        (" a", "' a'"),
        ("a ", "'a '"),
        ("a\tb", "\"a\\tb\""),
        ("한글", "한글"),
        ("---", "'---'"),
    ] {
        assert_eq!(to_yaml(&json!(text)), format!("{written}\n"), "{text:?}");
    }
}

#[test]
fn several_lines_are_a_block() {
    for (text, written) in [
        ("a\nb\n", "k: |\n  a\n  b\n"),
        ("a\nb", "k: |-\n  a\n  b\n"),
        ("a\n\n", "k: |+\n  a\n\n"),
        (" a\nb\n", "k: |2\n   a\n  b\n"),
        ("a \nb\n", "k: \"a \\nb\\n\"\n"),
        ("a\tb\n", "k: \"a\\tb\\n\"\n"),
    ] {
        assert_eq!(to_yaml(&json!({ "k": text })), written, "{text:?}");
    }
}

#[test]
fn keys_are_in_natural_order() {
    let keys = json!({"web-10": 1, "web-9": 1, "a": 1, "B": 1, "1": 1, "a/b": 1, "ab": 1});
    let written = to_yaml(&keys);
    let order: Vec<&str> = written.lines().map(|l| l.split(": ").next().unwrap_or_default()).collect();
    assert_eq!(order, ["\"1\"", "B", "a", "a/b", "ab", "web-9", "web-10"]);
}

/// What another YAML reader makes of the output: every scalar as it was, whatever its characters.
#[test]
fn scalars_are_read_again_as_they_were() {
    use saphyr_parser::{Event, Parser};
    let pieces = [
        "a",
        " ",
        "\n",
        ":",
        "#",
        "-",
        "'",
        "\"",
        "\\",
        "\t",
        "80",
        "{",
        "]",
        ",",
        "é",
        "\u{7f}",
        "\u{1F600}",
        "word word word word",
    ];
    let mut random = 7u64;
    for _ in 0..3000 {
        let mut text = String::new();
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let mut bits = random;
        for _ in 0..(bits >> 60) {
            text.push_str(pieces[(bits >> 8) as usize % pieces.len()]);
            bits = bits.rotate_left(7).wrapping_mul(31);
        }
        let yaml = to_yaml(&json!([{ "k": text }, "last"]));
        let scalars: Vec<String> = Parser::new_from_str(&yaml)
            .map(|event| event.unwrap_or_else(|e| panic!("{text:?}: {e}\n{yaml}")).0)
            .filter_map(|event| match event {
                Event::Scalar(value, ..) => Some(value.to_string()),
                _ => None,
            })
            .collect();
        assert_eq!(scalars, ["k", &text, "last"], "{yaml}");
    }
}
