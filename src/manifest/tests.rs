//! What the manifest room promises as a whole, on the course notes' own manifests.

use serde_json::Value;

use super::*;

/// Equal as kubectl would print them: it has float64 beyond int64, and prints whole ones without an exponent.
fn same(ours: &Value, kubectls: &Value) -> bool {
    match (ours, kubectls) {
        (Value::Number(a), Value::Number(b)) if a.as_i64().is_none() || b.as_i64().is_none() => {
            a.as_f64() == b.as_f64()
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        _ => ours == kubectls,
    }
}

#[test]
fn scalars_mean_what_they_mean_to_kubectl() {
    let mut wrong = Vec::new();
    let table = include_str!("../../tests/fixtures/scalars.tsv");
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let (scalar, expected) = line.split_once('\t').unwrap();
        let read = yaml::read(&format!("apiVersion: v1\nspec:\n  v: {scalar}\n"), 1);
        let ours = read.map(|documents| documents[0].value["spec"]["v"].clone());
        let expected = serde_json::from_str::<Value>(expected).map_err(|_| ());
        let right = match (&ours, &expected) {
            (Ok(ours), Ok(expected)) => same(ours, expected),
            (ours, expected) => ours.is_err() && expected.is_err(),
        };
        if !right {
            wrong.push(format!("{scalar:?}: {ours:?}, kubectl: {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Block and flow collections, block scalars, anchors, separators: each with what kubectl 1.32 makes of it, or null
/// where it makes nothing of it.
#[test]
fn documents_mean_what_they_mean_to_kubectl() {
    let mut wrong = Vec::new();
    for line in include_str!("../../tests/fixtures/documents.jsonl").lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let text = case["yaml"].as_str().unwrap();
        let ours = yaml::read(text, 1).map(|nodes| Value::Array(nodes.into_iter().map(|node| node.value).collect()));
        let right = match &ours {
            Ok(ours) => same(ours, &case["documents"]),
            Err(_) => case["documents"].is_null(),
        };
        if !right {
            wrong.push(format!("{text}\n{ours:?}\nkubectl: {}", case["documents"]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

// ---- reading ---------------------------------------------------------------------------------------------------

fn input(name: &str, bytes: &[u8]) -> Input {
    Input::Bytes { name: name.into(), bytes: bytes.to_vec() }
}

fn read_text(text: &str) -> Result<Vec<Document>, Problems> {
    read(&[input("web.yaml", text.as_bytes())], Options::default())
}

/// The printed problems of a text, of reading it or else of checking it.
fn problems(text: &str) -> Vec<String> {
    let problems = match read_text(text) {
        Err(problems) => problems.0,
        Ok(documents) => check(&documents, &|_, _| None).err().map_or_else(Vec::new, |problems| problems.0),
    };
    problems.iter().map(Problem::to_string).collect()
}

fn names(documents: &[Document]) -> Vec<String> {
    documents.iter().map(|d| format!("{} {}", d.object.kind_name(), d.object.name())).collect()
}

fn config_map(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n")
}

macro_rules! notes {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../tests/fixtures/notes/", $name, ".yaml")))),*]
    };
}

/// The manifests of the course notes, verbatim.
pub(super) fn notes() -> [(&'static str, &'static str); 13] {
    notes![
        "000-y1", "000-y2", "000-y3", "000-y4", "001-y1", "001-y2", "001-y3", "002-y1", "002-y2", "002-y3", "003-y1",
        "003-y2", "003-y3",
    ]
}

fn note_text(name: &str) -> &'static str {
    notes().into_iter().find(|(known, _)| *known == name).unwrap().1
}

#[test]
fn the_notes_manifests_that_are_valid_are_read() {
    for (name, expected) in [
        ("000-y1", "Ingress nodejs-ingress"),
        ("000-y2", "PersistentVolume mysql-pv-volume"),
        ("000-y3", "PersistentVolumeClaim mysql-pv-claim"),
        ("000-y4", "Deployment mysql"),
        ("002-y1", "Service np-svc"),
        ("002-y2", "Ingress ingress-nginx"),
        ("002-y3", "Service nginx-ingress-controller"),
        ("003-y2", "Deployment hostname-deployment"),
        ("003-y3", "Service hostname-svc-clusterip"),
    ] {
        let documents = read_text(note_text(name)).unwrap_or_else(|problems| panic!("{name}: {problems}"));
        assert_eq!(names(&documents), [expected]);
        check(&documents, &|_, _| None).unwrap_or_else(|problems| panic!("{name}: {problems}"));
    }
}

#[test]
fn leading_slashes_are_left_out_with_a_warning() {
    let document = read_text(note_text("000-y2")).unwrap().remove(0);
    assert_eq!(
        document.notes[0].to_string(),
        "web.yaml:1:1: \"//\" does not start a comment in YAML; use \"#\" (did you copy the file name line from a web \
         page?); the line is left out"
    );
    assert_eq!(document.place("metadata.name").to_string(), "web.yaml:6:15", "lines keep their numbers");
}

#[test]
fn slashes_further_down_are_named() {
    let text = format!("{}// a remark\ndata:\n  a: b\n", config_map("c"));
    assert_eq!(problems(&text), ["web.yaml:4:1: \"//\" does not start a comment in YAML\n  help: use \"#\""]);
}

#[test]
fn tabs_are_refused_at_their_line() {
    for (name, count) in [("001-y1", 8), ("001-y2", 7), ("001-y3", 8)] {
        assert_eq!(
            problems(note_text(name)),
            [format!(
                "web.yaml:4:1: indented with a TAB; YAML allows only spaces\n  help: {count} lines are indented so; \
                 replacing each TAB by 2 spaces parses: sed -i 's/\\t/  /g' FILE"
            )],
            "{name}"
        );
        let spaced = note_text(name).replace('\t', "  ");
        assert!(read_text(&spaced).is_ok(), "{name}: what the help says is true");
    }
    let hopeless = problems("a:\n\tb: [\n");
    assert_eq!(
        hopeless,
        ["web.yaml:2:1: indented with a TAB; YAML allows only spaces\n  help: this line is indented so; use spaces"]
    );
}

#[test]
fn capitals_in_a_name_get_a_better_one() {
    for (name, wrong, better) in
        [("001-y1", "hogehogeService", "hogehoge-service"), ("001-y3", "LB-Service", "lb-service")]
    {
        let spaced = note_text(name).replace('\t', "  ");
        assert_eq!(
            problems(&spaced),
            [format!(
                "web.yaml:4:9: metadata.name: Invalid value: \"{wrong}\": a DNS-1035 label must consist of lower case \
                 alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric \
                 character (e.g. 'my-name',  or 'abc-123', regex used for validation is \
                 '[a-z]([-a-z0-9]*[a-z0-9])?')\n  help: try \"{better}\""
            )]
        );
    }
}

#[test]
fn obsolete_versions_are_converted_with_a_note() {
    let notes =
        |name| -> Vec<String> { read_text(note_text(name)).unwrap()[0].notes.iter().map(Note::to_string).collect() };
    assert_eq!(
        notes("000-y1"),
        ["web.yaml:1:13: extensions/v1beta1 Ingress is obsolete (removed in 1.22); read as networking.k8s.io/v1, \
          pathType ImplementationSpecific"]
    );
    assert_eq!(
        notes("002-y2"),
        [
            "web.yaml:1:13: networking.k8s.io/v1beta1 Ingress is obsolete (removed in 1.22); read as \
             networking.k8s.io/v1, pathType ImplementationSpecific",
            "web.yaml:11:9: path is empty: read as \"/\"",
        ]
    );
}

#[test]
fn an_excerpt_is_called_one() {
    assert_eq!(
        problems(note_text("003-y1")),
        ["web.yaml:1:1: this looks like an excerpt (\"...\" at line 1, no apiVersion and kind): nothing to apply\n  \
          help: an object begins with its apiVersion and kind; put the whole of it into the file"]
    );
    assert!(problems("# c\n...\nspec:\n  a: b\n")[0].starts_with("web.yaml:2:1: this looks like an excerpt"));
    assert!(problems(&format!("...\n{}", config_map("c"))).is_empty(), "the whole object is there");
}

#[test]
fn shell_commands_are_recognised() {
    for text in [
        "$ kubectl apply -f nodejs-ingress\n$ kubectl get ingress\n",
        "// checks\n// status is Bound  \n$ kubectl get pv\n$ kubectl get pvc \n",
    ] {
        let line = if text.starts_with("//") { 3 } else { 1 };
        assert_eq!(
            problems(text),
            [format!(
                "web.yaml:{line}:1: not a Kubernetes object: document 1 is a string that begins with \"$ kubectl\"\n  \
                 help: these are shell commands: run them in a shell, and keep only the YAML in the file"
            )]
        );
    }
    let hosts = "$ sudo vi /etc/hosts\n\n// add \n// 127.0.0.1      foo.bar.com \n";
    assert!(problems(hosts)[0].contains("begins with \"$ sudo\""), "{:?}", problems(hosts));
    let in_the_middle = format!("$ kubectl get pods\n{}", config_map("c"));
    assert!(problems(&in_the_middle)[0].starts_with("web.yaml:1:1: a line that begins with \"$ kubectl\" is a shell"));
}

#[test]
fn what_copying_from_a_page_leaves() {
    for (text, expected) in [
        ("```yaml\na: b\n```\n", "web.yaml:1:1: this is Markdown, not YAML"),
        ("a:\n\u{a0} b: c\n\u{a0} d: e\n", "web.yaml:2:1: indented with the character U+00A0"),
        ("a: {{ .Values.x }}\nb:\n  - {{- c }\n", "help: \"{{\" is a template's; render it first"),
        (
            "metadata:\n  name:web\n  labels:\n    a: b\n",
            "help: is a blank missing after the colon in line 2? Write \"name: web\"",
        ),
        ("<!DOCTYPE html>\n", "help: this is a web page"),
    ] {
        let problems = problems(text);
        assert!(problems[0].contains(expected), "{text:?}: {problems:?}");
    }
}

#[test]
fn every_document_of_every_file_is_heard() {
    let first = format!("{}---\nkind: [\n---\nhello\n---\n# nothing\n---\n- a\n", config_map("a"));
    let inputs =
        [input("a.yaml", first.as_bytes()), input("b.yaml", b"kind: Pod\n"), input("c.yaml", b"name: \xc7\xd1\n")];
    let problems = read(&inputs, Options::default()).unwrap_err();
    let lines: Vec<String> = problems.0.iter().map(|p| p.to_string().lines().next().unwrap().to_string()).collect();
    assert_eq!(lines.len(), 5, "{lines:#?}");
    assert!(lines[0].starts_with("a.yaml:"), "{}", lines[0]);
    assert_eq!(lines[1], "a.yaml:7:1: not a Kubernetes object: document 2 is the string \"hello\"");
    assert_eq!(lines[2], "a.yaml:11:1: not a Kubernetes object: document 3 is a list");
    assert_eq!(lines[3], "b.yaml:1:1: not a Kubernetes object: its apiVersion is missing");
    assert_eq!(lines[4], "c.yaml:1:7: not valid UTF-8: byte 0xc7");
    assert!(problems.to_string().contains("help: a Pod begins with \"apiVersion: v1\""));
}

#[test]
fn forms_of_a_file() {
    let (a, b) = (config_map("a"), config_map("b"));
    let both = ["ConfigMap a", "ConfigMap b"];
    for text in [
        format!("{a}---\n{b}"),
        format!("---\n{a}--- # next\n{b}...\n"),
        format!("\n# c\n---\n---\n{a}...\n---\n{b}---\n"),
        format!("\u{feff}{a}---\r\n{b}").replace('\n', "\r\n"),
        format!("%YAML 1.1\n---\n{a}---\n{b}"),
        "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n- apiVersion: v1\n  \
         kind: ConfigMap\n  metadata:\n    name: b\n"
            .into(),
        "apiVersion: v1\nkind: ConfigMapList\nitems:\n- metadata: {name: a}\n- metadata: {name: b}\n".into(),
        r#"{"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}},
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}}]}"#
            .into(),
        "{\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\", \"metadata\": {\"name\": \"a\"}}\n{\"apiVersion\": \"v1\",\n\
         \"kind\": \"ConfigMap\", \"metadata\": {\"name\": \"b\"}}"
            .into(),
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: b}}".into(),
    ] {
        let documents = read_text(&text).unwrap_or_else(|problems| panic!("{text}\n{problems}"));
        assert_eq!(names(&documents), both, "{text}");
    }
    for empty in ["", "\n", "# only a comment\n", "---\n---\n...\n", "\u{feff}", "null\n", "~"] {
        assert_eq!(read_text(empty).unwrap(), [], "{empty:?}");
    }
}

#[test]
fn places_of_fields() {
    let documents = read_text(&format!("{}---\n{}", config_map("a"), note_text("002-y1"))).unwrap();
    let (first, second) = (&documents[0], &documents[1]);
    assert_eq!((first.number, second.number), (1, 2));
    assert_eq!(first.start().to_string(), "web.yaml:1:1");
    for (path, value, key) in [
        ("metadata.name", "8:9", "8:3"),
        ("spec.ports[0].nodePort", "17:17", "17:7"),
        ("spec.ports[0]", "13:7", "13:7"),
        ("spec.ports", "12:3", "12:3"),
        ("spec.ports[0].missing", "13:7", "13:7"),
        ("spec.sessionAffinity", "9:1", "9:1"),
    ] {
        assert_eq!(second.place(path).to_string(), format!("web.yaml:{value}"), "{path}");
        assert_eq!(second.key_place(path).to_string(), format!("web.yaml:{key}"), "{path}");
    }
}

#[test]
fn merges_and_anchors() {
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\nspec:\n  base: &base {k: 1}\n  again: *base\n  \
                m: {<<: *base, z: 2}\n  p:\n    <<: [{k: 5, q: 6}, *base]\n    k: 9\n  o:\n    k: 7\n    <<: *base\n  \
                \"<<\": quoted\n  0644: octal\n  yes: true\n";
    let spec = read_text(text).unwrap()[0].object.json()["spec"].clone();
    // As kubectl reads it, down to the merge that overrides a field before it.
    let expected = serde_json::json!({"base": {"k": 1}, "again": {"k": 1}, "m": {"k": 1, "z": 2}, "p": {"k": 9, "q": 6},
        "o": {"k": 1}, "<<": "quoted", "420": "octal", "true": true});
    assert_eq!(spec, expected);
}

#[test]
fn brackets_may_close_anywhere() {
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {\nname: c, labels: {a: b,\n  a: c\n}\n}\nspec:\n    list: [\n  one,\n\
                two\n  ]\n    after: 1\n";
    assert_eq!(problems(text), ["web.yaml:5:3: key \"a\" already set in map, at line 4"]);
    let documents = read_text(&text.replace("a: b,", "z: b,")).unwrap();
    let spec = &documents[0].object.json()["spec"];
    assert_eq!(spec, &serde_json::json!({"list": ["one", "two"], "after": 1}));
    let places: Vec<String> = ["metadata.name", "spec.list[0]", "spec.list[1]", "spec.after"]
        .map(|path| documents[0].place(path).to_string())
        .to_vec();
    assert_eq!(places, ["web.yaml:4:7", "web.yaml:10:3", "web.yaml:11:1", "web.yaml:13:12"]);
    assert!(problems("a: [\nb\nc: d\n")[0].starts_with("web.yaml:"), "what is never closed is refused");
}

#[test]
fn what_yaml_allows_and_kubernetes_does_not() {
    let head = "apiVersion: v1\nkind: ConfigMap\n";
    for (text, expected) in [
        ("a: 1\nb: 2\na: 3\n", "web.yaml:5:1: key \"a\" already set in map, at line 3"),
        ("yes: 1\ntrue: 2\n", "web.yaml:4:1: key \"true\" already set in map, at line 3"),
        ("a: *x\n", "web.yaml:3:4: "),
        ("a: &x [*x]\n", "web.yaml:3:8: the anchor's value contains itself"),
        ("? [a]\n: b\n", "web.yaml:3:3: a map or list cannot be the name of a field"),
        ("~: b\n", "web.yaml:3:1: a field has no name"),
        ("a: .inf\n", "web.yaml:3:4: \".inf\" is not finite"),
        ("a: !!int x\n", "does not fit its tag !!int"),
        ("<<: 5\n", "web.yaml:3:1: map merge requires map or sequence of maps as the value"),
        ("a: \u{7}\n", "web.yaml:3:4: the control character U+0007 is not allowed"),
    ] {
        let problems = problems(&format!("{head}{text}"));
        assert!(problems[0].contains(expected), "{text:?}: {problems:?}");
    }
    let across = format!("{}x: &x 1\n---\n{}x: *x\n", config_map("a"), config_map("b"));
    assert!(problems(&across)[0].starts_with("web.yaml:9:4: "), "{:?}", problems(&across));
    assert!(
        problems("apiVersion: 1\nkind: Pod\n")[0]
            .starts_with("web.yaml:1:13: apiVersion: must be a string, and 1 is none")
    );
    assert!(problems("apiversion: v1\nkind: Pod\n")[0].contains("a Pod begins with \"apiVersion: v1\""));
    assert!(problems("apiversion: v1\nKind: Pod\n")[0].contains("is \"apiversion\" meant to be \"apiVersion\"?"));
}

#[test]
fn a_document_cannot_cost_more_than_it_is_worth() {
    let mut laughs =
        "apiVersion: v1\nkind: ConfigMap\na0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_string();
    for level in 1..12 {
        let inner = format!("*a{}", level - 1);
        laughs.push_str(&format!("a{level}: &a{level} [{}]\n", [inner.as_str(); 9].join(", ")));
    }
    assert!(problems(&laughs)[0].contains("aliases multiply this document beyond reason"));
    for (open, close) in [("[", "]"), ("{a: ", "}"), ("- ", ""), ("a:\n", "")] {
        let deep = format!("{}1{}", open.repeat(5_000), close.repeat(5_000));
        assert!(read_text(&deep).is_err(), "{open}");
    }
    let fits = format!("{}x: {}1{}\n", config_map("c"), "[".repeat(90), "]".repeat(90));
    assert!(read_text(&fits).is_ok());
}

// ---- checking --------------------------------------------------------------------------------------------------

#[test]
fn checking_names_each_error_at_its_line() {
    let text = "apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  lables: {a: b}
spec:
  replicas: \"3\"
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: wbe}
    spec:
      contianers:
      - name: web
---
apiVersion: v1
kind: Service
metadata: {name: web, labels: {on: yes}}
spec:
  type: NodePrt
  ports:
  - port: 80
    nodePort: 70000
---
apiVersion: apps/v1
kind: Service
---
apiVersion: apps/v1
kind: Deploymnt
";
    assert_eq!(
        problems(text),
        [
            "web.yaml:5:3: unknown field \"metadata.lables\"\n  help: did you mean \"labels\"?",
            "web.yaml:14:7: unknown field \"spec.template.spec.contianers\"\n  help: did you mean \"containers\"?",
            "web.yaml:7:13: spec.replicas: Invalid value: must be an integer, but \"3\" is a string\n  help: write it without quotes: 3",
            "web.yaml:19:36: metadata.labels.true: Invalid value: must be a string, but true is a boolean\n  help: put it in quotes; without them yes, on, true are the boolean true",
            "web.yaml:26:13: no matches for kind \"Service\" in version \"apps/v1\"\n  help: Service is served as v1",
            "web.yaml:30:7: no matches for kind \"Deploymnt\" in version \"apps/v1\"\n  help: did you mean Deployment?",
        ]
    );
    let mended = text
        .replace("\"3\"", "3")
        .replace("on: yes", "a: b")
        .split("---\napiVersion: apps/v1\nkind: S")
        .next()
        .unwrap()
        .to_string();
    assert_eq!(
        problems(&mended)[2..],
        [
            "web.yaml:12:7: spec.template.metadata.labels: Invalid value: map[string]string{\"app\":\"wbe\"}: `selector` does not match template `labels`",
            "web.yaml:13:5: spec.template.spec.containers: Required value",
            "web.yaml:21:9: spec.type: Unsupported value: \"NodePrt\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\"\n  help: try \"NodePort\"",
            "web.yaml:24:15: spec.ports[0].nodePort: Invalid value: 70000: provided port is not in the valid range. The range of valid ports is 30000-32767",
        ]
    );
}

#[test]
fn a_lab_document_is_checked_too() {
    assert_eq!(
        problems(
            "apiVersion: nslab.dev/v1alpha1\nkind: Lab\nmetadata:\n  name: My_Lab\nnodes:\n- role: workr\n- nmae: a\n"
        ),
        [
            "web.yaml:7:3: unknown field \"nodes[1].nmae\"\n  help: did you mean \"name\"?",
            "web.yaml:6:9: nodes[0].role: Invalid value: must be one of \"control-plane\", \"worker\", but \"workr\" is a string",
        ]
    );
    let text = "apiVersion: nslab.dev/v1alpha1\nkind: Lab\nnodes:\n- role: control-plane\n  addresses: [10.0.0.1]\n";
    assert_eq!(
        problems(text),
        ["web.yaml:5:3: nodes[0].addresses: Invalid value: []string{\"10.0.0.1\"}: 10.0.0.1 of node m-k8s is no host \
          address of the LAN 192.168.1.0/24"]
    );
}
