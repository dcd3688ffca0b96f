use std::net::Ipv4Addr;
use std::str::FromStr;

use domain::base::{Record, Ttl};
use domain::rdata::{A, ZoneRecordData};
use rand::{RngExt, SeedableRng};

use super::*;

const NAME: &str = "Web.default.svc.cluster.local";

/// A query as clients send it, with an OPT record that offers `size` if there is one.
fn query(size: Option<u16>) -> Vec<u8> {
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_id(4711);
    builder.header_mut().set_rd(true);
    let mut builder = builder.question();
    builder.push((Name::from_str(NAME).unwrap(), Rtype::A)).unwrap();
    let mut builder = builder.additional();
    if let Some(size) = size {
        let sized = builder.opt(|opt| {
            opt.set_udp_payload_size(size);
            Ok(())
        });
        sized.unwrap();
    }
    builder.finish()
}

fn addresses(count: u8) -> Vec<Entry> {
    let entry = |n| {
        let data = ZoneRecordData::A(A::new(Ipv4Addr::new(10, 244, 1, n)));
        Record::new(Name::from_str(NAME).unwrap(), Class::IN, Ttl::from_secs(30), data)
    };
    (0..count).map(entry).collect()
}

fn answered(query: &[u8], transport: Transport, answers: &[Entry]) -> Message<Vec<u8>> {
    let Incoming::Question(request) = read(query, transport) else { panic!("no question") };
    let reply = Reply { answers, authoritative: true, ..Reply::failure(Rcode::NOERROR) };
    Message::from_octets(super::reply(&request, &reply)).unwrap()
}

#[test]
fn a_reply_repeats_the_question_and_compresses_names() {
    let query = query(None);
    let reply = answered(&query, Transport::Udp, &addresses(2));
    assert!(reply.is_answer(&Message::from_octets(query.clone()).unwrap()));
    assert!(reply.sole_question().unwrap().qname().to_string() == NAME, "the client's spelling is kept");
    let header = reply.header();
    assert!(header.qr() && header.aa() && header.rd() && header.ra() && !header.tc());
    assert_eq!(reply.header_counts().ancount(), 2);
    assert!(reply.opt().is_none(), "nobody asked for EDNS");
    assert_eq!(reply.as_slice().len(), query.len() + 2 * 16);
}

#[test]
fn a_reply_is_cut_at_what_the_client_takes() {
    for (size, transport, least, most) in [
        (None, Transport::Udp, 400, 512),
        (Some(0), Transport::Udp, 400, 512),
        (Some(1232), Transport::Udp, 1100, 1232),
        (Some(u16::MAX), Transport::Udp, 4000, 4096),
    ] {
        let all = [addresses(255), addresses(255)].concat();
        let reply = answered(&query(size), transport, &all);
        let length = reply.as_slice().len();
        assert!((least..=most).contains(&length), "{size:?}: {length}");
        assert!(reply.header().tc(), "{size:?}");
        assert_eq!(reply.opt().is_some(), size.is_some());
        assert_eq!(reply.answer().unwrap().flatten().count(), usize::from(reply.header_counts().ancount()));
    }
    let whole = answered(&query(None), Transport::Tcp, &addresses(255));
    assert_eq!((whole.header().tc(), whole.header_counts().ancount()), (false, 255));
}

#[test]
fn additional_addresses_that_do_not_fit_are_left_out() {
    let Incoming::Question(request) = read(&query(None), Transport::Udp) else { panic!("no question") };
    let (answers, extra) = (addresses(1), addresses(255));
    let reply = Reply { answers: &answers, extra: &extra, ..Reply::failure(Rcode::NOERROR) };
    let reply = Message::from_octets(super::reply(&request, &reply)).unwrap();
    assert!(!reply.header().tc());
    assert!((1..255).contains(&reply.header_counts().arcount()));
}

#[test]
fn what_is_no_question_is_refused() {
    let rcode = |bytes: &[u8]| match read(bytes, Transport::Udp) {
        Incoming::Refused(reply) => {
            let reply = Message::from_octets(reply).unwrap();
            assert_eq!(reply.header().id(), 4711);
            Some(reply.opt_rcode())
        }
        Incoming::Nothing => None,
        Incoming::Question(_) => panic!("taken for a question"),
    };
    let with = |at: usize, value: u8| {
        let mut bytes = query(Some(1232));
        bytes[at] = value;
        bytes
    };
    let length = query(Some(1232)).len();
    assert_eq!(rcode(&query(None)[..11]), None);
    assert_eq!(rcode(&with(2, 0x80)), None, "a reply");
    assert_eq!(rcode(&with(2, 0x28)), Some(OptRcode::NOTIMP), "an update");
    assert_eq!(rcode(&with(5, 2)), Some(OptRcode::FORMERR), "two questions");
    assert_eq!(rcode(&with(5, 0)), Some(OptRcode::FORMERR), "none");
    assert_eq!(rcode(&query(None)[..20]), Some(OptRcode::FORMERR), "cut off");
    assert_eq!(rcode(&with(length - 5, 1)), Some(OptRcode::BADVERS), "EDNS 1");
    let question = 12 + NAME.len() + 2;
    assert_eq!(rcode(&with(question + 1, 252)), Some(OptRcode::REFUSED), "a zone transfer");
    assert_eq!(rcode(&with(question + 3, 3)), Some(OptRcode::REFUSED), "class CHAOS");
}

/// Whatever comes, there is no panic, and what is answered is a message to the same id.
#[test]
fn no_packet_is_too_broken() {
    let seed = 20261121;
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let good = [query(None), query(Some(1232))];
    let answers = addresses(40);
    let mut questions = 0;
    for round in 0..50_000 {
        let mut bytes = match round % 3 {
            0 => (0..random.random_range(0..80)).map(|_| random.random()).collect(),
            kind => good[kind - 1].clone(),
        };
        for _ in 0..random.random_range(0..4) {
            if let Some(at) = bytes.len().checked_sub(1).map(|last| random.random_range(0..=last)) {
                bytes[at] = random.random();
            }
        }
        bytes.truncate(random.random_range(0..=bytes.len() + 40));
        let transport = if round % 2 == 0 { Transport::Udp } else { Transport::Tcp };
        let reply = match read(&bytes, transport) {
            Incoming::Nothing => continue,
            Incoming::Refused(reply) => reply,
            Incoming::Question(request) => {
                questions += 1;
                let reply = Reply { answers: &answers, authority: &answers, ..Reply::failure(Rcode::NOERROR) };
                super::reply(&request, &reply)
            }
        };
        let reply = Message::from_octets(reply).unwrap();
        assert_eq!(reply.as_slice()[..2], bytes[..2], "{bytes:?}");
        assert!(reply.header().qr(), "{bytes:?}");
        assert!(reply.as_slice().len() <= if transport == Transport::Udp { 4096 } else { 65535 }, "{bytes:?}");
    }
    assert!(questions > 2_500, "only {questions} packets were whole");
}
