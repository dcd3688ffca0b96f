use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;

/// What kubectl 1.32 sent for a `kubectl create`, and below it the same object as it prints it with
/// `--dry-run=client -o json`, less its nulls and the zeros of its status.
const SENT: &str = include_str!("kubectl.txt");

fn pairs() -> impl Iterator<Item = (Vec<u8>, Value)> {
    let lines: Vec<&str> = SENT.lines().collect();
    let pairs = lines.chunks(2).map(|pair| (STANDARD.decode(pair[0]).unwrap(), serde_json::from_str(pair[1]).unwrap()));
    pairs.collect::<Vec<_>>().into_iter()
}

#[test]
fn what_kubectl_sends_is_what_it_shows() {
    let mut kinds = 0;
    for (sent, shown) in pairs() {
        assert_eq!(decode(&sent).map(Value::Object), Ok(shown));
        kinds += 1;
    }
    assert_eq!(kinds, 16);
}

/// Neither half a message nor one with wrong bytes does any harm.
#[test]
fn broken_messages_are_refused_or_read_as_something_else() {
    for (sent, _) in pairs() {
        for length in 0..sent.len() {
            let cut = decode(&sent[..length]);
            assert!(length >= MAGIC.len() || cut == Err(ProtobufError::Magic));
        }
        for index in MAGIC.len()..sent.len() {
            for byte in [0, 1, 0x7f, 0x80, 0xff] {
                let mut changed = sent.clone();
                changed[index] = byte;
                let _ = decode(&changed);
            }
        }
    }
}

/// A field with bytes in it.
fn bytes(number: u8, content: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    let mut length = content.len();
    while length >= 0x80 {
        field.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    field.push(length as u8);
    field.extend(content);
    field
}

fn object(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let type_meta = [bytes(1, api_version.as_bytes()), bytes(2, kind.as_bytes())].concat();
    [MAGIC, &bytes(1, &type_meta), &bytes(2, raw)].concat()
}

#[test]
fn a_zero_that_was_meant_stays() {
    // replicas: 0 is a pointer in Kubernetes' types, minReadySeconds: 0 is not.
    let spec = bytes(2, &[8, 0, 5 << 3, 0]);
    let deployment = decode(&object("apps/v1", "Deployment", &spec)).unwrap();
    assert_eq!(deployment["spec"], json!({"replicas": 0}));
    // -1 has ten bytes.
    let minus_one = [&[8][..], &[0xff; 9], &[1]].concat();
    let deployment = decode(&object("apps/v1", "Deployment", &bytes(2, &minus_one))).unwrap();
    assert_eq!(deployment["spec"], json!({"replicas": -1}));
}

#[test]
fn times_numbers_and_maps_are_written_as_in_json() {
    // metadata.deletionTimestamp
    let metadata = bytes(1, &bytes(9, &[8, 0x80, 0xa4, 0xa7, 0xda, 6]));
    let pod = decode(&object("v1", "Pod", &metadata)).unwrap();
    assert_eq!(pod["metadata"], json!({"deletionTimestamp": "2027-01-15T08:00:00Z"}));
    // data is a map from strings to bytes.
    let data = bytes(2, &[bytes(1, b"key"), bytes(2, &[0, 0xff])].concat());
    let secret = decode(&object("v1", "Secret", &data)).unwrap();
    assert_eq!(secret["data"], json!({"key": "AP8="}));
    // A volume's source has no name of its own: spec.volumes[0].volumeSource.hostPath.path
    let source = bytes(2, &bytes(1, &bytes(1, b"/data")));
    let volume = bytes(1, &[bytes(1, b"v"), source].concat());
    let pod = decode(&object("v1", "Pod", &bytes(2, &volume))).unwrap();
    assert_eq!(pod["spec"], json!({"volumes": [{"name": "v", "hostPath": {"path": "/data"}}]}));
}

#[test]
fn what_is_not_known_is_said() {
    let unknown = decode(&object("example.com/v1", "Widget", &[]));
    assert_eq!(unknown, Err(ProtobufError::Unknown { api_version: "example.com/v1".into(), kind: "Widget".into() }));
    assert_eq!(decode(b"{}"), Err(ProtobufError::Magic));
    let name = bytes(1, &bytes(1, &[0xff]));
    assert_eq!(decode(&object("v1", "Pod", &name)), Err(ProtobufError::Text("name")));
}
