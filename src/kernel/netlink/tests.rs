use super::*;

fn message(kind: i32, flags: i32, sequence: u32, body: &[u8]) -> Vec<u8> {
    let mut batch = Batch::new();
    batch.message(kind as u16, flags as u16, |out| out.extend_from_slice(body));
    put(&mut batch.bytes, 8, sequence);
    batch.bytes
}

#[test]
fn batch_encodes_header_and_padding() {
    let mut batch = Batch::new();
    assert_eq!(batch.message(0x0a12, ACK, |out| attr::string(out, 3, "web")), 0);
    assert_eq!(batch.message(0x10, 0, |out| out.push(7)), 1);
    let expected: Vec<u8> = [
        &24u32.to_ne_bytes()[..],
        &0x0a12u16.to_ne_bytes(),
        &5u16.to_ne_bytes(),
        &[0; 8],
        &8u16.to_ne_bytes(),
        &3u16.to_ne_bytes(),
        b"web\0",
        &17u32.to_ne_bytes(),
        &0x10u16.to_ne_bytes(),
        &1u16.to_ne_bytes(),
        &[0; 8],
        &[7, 0, 0, 0],
    ]
    .concat();
    assert_eq!(batch.bytes(), expected);
}

#[test]
fn attributes_read_back_as_written() {
    let mut out = Vec::new();
    attr::be32(&mut out, 1, 0x01020304);
    attr::nest(&mut out, 2, |out| attr::bytes(out, 9, &[1, 2, 3, 4, 5]));
    attr::string(&mut out, 3, "x");
    let kinds: Vec<u16> = attr::each(&out).map(|(kind, _)| kind).collect();
    assert_eq!(kinds, [1, 2, 3]);
    assert_eq!(attr::find(&out, 1), Some(&[1, 2, 3, 4][..]));
    assert_eq!(attr::find(attr::find(&out, 2).unwrap(), 9), Some(&[1, 2, 3, 4, 5][..]));
    assert_eq!(attr::find(&out, 3).map(attr::text), Some("x".to_string()));
    assert_eq!(attr::find(&out, 4), None);
}

#[test]
fn malformed_attributes_end_the_list() {
    let mut out = Vec::new();
    attr::be32(&mut out, 1, 5);
    let whole = out.len();
    out.extend_from_slice(&[200, 0, 2, 0, 1]);
    assert_eq!(attr::each(&out).count(), 1);
    // A length shorter than the header itself must not loop.
    out.truncate(whole);
    out.extend_from_slice(&[0, 0, 2, 0]);
    assert_eq!(attr::each(&out).count(), 1);
}

#[test]
fn refusal_carries_errno_and_the_kernels_words() {
    let mut body = (-libc::EEXIST).to_ne_bytes().to_vec();
    body.extend_from_slice(&[0; 16]);
    attr::string(&mut body, NLMSGERR_ATTR_MSG, "already there");
    let bytes = message(libc::NLMSG_ERROR, libc::NLM_F_CAPPED | libc::NLM_F_ACK_TLVS, 7, &body);
    let (message, rest) = Message::split(&bytes).unwrap().unwrap();
    assert!(rest.is_empty());
    assert_eq!(message.sequence, 7);
    assert_eq!(message.status().unwrap(), Some((Errno::EEXIST, Some("already there".to_string()))));
}

#[test]
fn uncapped_error_is_read_past_the_copied_request() {
    let mut body = (-libc::EINVAL).to_ne_bytes().to_vec();
    body.extend_from_slice(&22u32.to_ne_bytes());
    body.extend_from_slice(&[0xff; 20]);
    attr::string(&mut body, NLMSGERR_ATTR_MSG, "no such thing");
    let bytes = message(libc::NLMSG_ERROR, libc::NLM_F_ACK_TLVS, 0, &body);
    let (message, _) = Message::split(&bytes).unwrap().unwrap();
    assert_eq!(message.status().unwrap(), Some((Errno::EINVAL, Some("no such thing".to_string()))));
}

#[test]
fn truncated_message_is_malformed() {
    let bytes = message(libc::NLMSG_ERROR, 0, 0, &[0; 20]);
    for length in 1..bytes.len() {
        assert!(matches!(Message::split(&bytes[..length]), Err(NetlinkError::Malformed)), "{length} bytes");
    }
}

#[test]
fn zero_is_an_acknowledgement() {
    let bytes = message(libc::NLMSG_ERROR, libc::NLM_F_CAPPED, 0, &[0; 20]);
    let (message, _) = Message::split(&bytes).unwrap().unwrap();
    assert_eq!(message.status().unwrap(), None);
}
