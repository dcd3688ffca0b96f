//! Messages as they are on the wire: what a request asks for, and replies that fit into what the client can take.

use domain::base::iana::{Class, Opcode, OptRcode, Rcode, Rtype};
use domain::base::message_builder::{AdditionalBuilder, PushError, TreeCompressor};
use domain::base::name::ToName;
use domain::base::{Message, MessageBuilder};

use super::answer::{Entry, Name};

/// What everybody takes in a datagram (RFC 1035), and the most that this server sends in one.
const SMALLEST: usize = 512;
const LARGEST: usize = 4096;
const LARGEST_OVER_TCP: usize = 65535;
/// What this server says that it takes.
const OUR_SIZE: u16 = 1232;
/// The bit in the third byte of a message that says that it has been cut.
const TRUNCATED: u8 = 0x02;
/// The size of an OPT record without options.
const OPT_SIZE: usize = 11;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
}

/// A question that can be answered.
#[derive(Debug)]
pub struct Request {
    /// As it came, to be sent on.
    pub message: Message<Vec<u8>>,
    /// In the client's spelling, in which the reply repeats it.
    pub name: Name,
    pub qtype: Rtype,
    limit: usize,
    has_opt: bool,
}

pub enum Incoming {
    Question(Request),
    /// No question for this server: the reply that says so.
    Refused(Vec<u8>),
    /// No request at all. A reply could be the beginning of a loop.
    Nothing,
}

pub struct Reply<'a> {
    pub rcode: Rcode,
    /// The answer comes from the cluster's own data.
    pub authoritative: bool,
    pub answers: &'a [Entry],
    pub authority: &'a [Entry],
    pub extra: &'a [Entry],
}

impl Reply<'_> {
    pub fn failure(rcode: Rcode) -> Self {
        Reply { rcode, authoritative: false, answers: &[], authority: &[], extra: &[] }
    }
}

pub fn read(bytes: &[u8], transport: Transport) -> Incoming {
    let Ok(message) = Message::from_octets(bytes.to_vec()) else { return Incoming::Nothing };
    let header = message.header();
    if header.qr() {
        return Incoming::Nothing;
    }
    let refuse = |rcode: Rcode| Incoming::Refused(bare(&message, rcode));
    if header.opcode() != Opcode::QUERY {
        return refuse(Rcode::NOTIMP);
    }
    let Ok(question) = message.sole_question() else { return refuse(Rcode::FORMERR) };
    if message.additional().is_err() {
        return refuse(Rcode::FORMERR);
    }
    let (has_opt, size, version) = match message.opt() {
        Some(opt) => (true, usize::from(opt.udp_payload_size()), opt.version()),
        None => (false, SMALLEST, 0),
    };
    let limit = match transport {
        Transport::Udp => size.clamp(SMALLEST, LARGEST),
        Transport::Tcp => LARGEST_OVER_TCP,
    };
    let (name, qtype, class) = (question.qname().to_vec(), question.qtype(), question.qclass());
    let request = Request { name, qtype, limit, has_opt, message: message.clone() };
    if version != 0 {
        return Incoming::Refused(write(&request, OptRcode::BADVERS, &Reply::failure(Rcode::NOERROR)));
    }
    let is_transfer = matches!(qtype, Rtype::AXFR | Rtype::IXFR);
    if is_transfer || !matches!(class, Class::IN | Class::ANY) {
        return Incoming::Refused(reply(&request, &Reply::failure(Rcode::REFUSED)));
    }
    Incoming::Question(request)
}

/// The reply to what could not be read further than its header.
fn bare(message: &Message<Vec<u8>>, rcode: Rcode) -> Vec<u8> {
    let mut builder = MessageBuilder::new_vec();
    let header = builder.header_mut();
    header.set_id(message.header().id());
    header.set_opcode(message.header().opcode());
    header.set_rd(message.header().rd());
    header.set_qr(true);
    header.set_rcode(rcode);
    builder.finish()
}

pub fn reply(request: &Request, reply: &Reply) -> Vec<u8> {
    write(request, OptRcode::from(reply.rcode), reply)
}

/// Another server's reply as it is, or, where the client cannot take it, only its beginning: the client is to ask again
/// over TCP.
pub fn cut(request: &Request, reply: Message<Vec<u8>>) -> Vec<u8> {
    if reply.as_slice().len() <= request.limit {
        return reply.into_octets();
    }
    let mut short = write(request, OptRcode::from(reply.header().rcode()), &Reply::failure(reply.header().rcode()));
    // The header's flags: a part of it was left out.
    if let Some(flags) = short.get_mut(2) {
        *flags |= TRUNCATED;
    }
    short
}

fn write(request: &Request, rcode: OptRcode, reply: &Reply) -> Vec<u8> {
    compose(request, rcode, reply).unwrap_or_else(|_| bare(&request.message, Rcode::SERVFAIL))
}

type Target = TreeCompressor<Vec<u8>>;

fn compose(request: &Request, rcode: OptRcode, reply: &Reply) -> Result<Vec<u8>, PushError> {
    let builder = MessageBuilder::from_target(TreeCompressor::new(Vec::with_capacity(SMALLEST)));
    let Ok(mut builder) = builder;
    builder.set_push_limit(request.limit - if request.has_opt { OPT_SIZE } else { 0 });
    let mut builder = builder.start_answer(&request.message, rcode.rcode())?;
    let header = builder.header_mut();
    header.set_aa(reply.authoritative);
    header.set_ra(true);
    // What does not fit is left out, and the client told to ask again over TCP.
    let all = reply.answers.iter().all(|entry| builder.push(entry).is_ok());
    let mut builder = builder.authority();
    let all = all && reply.authority.iter().all(|entry| builder.push(entry).is_ok());
    builder.header_mut().set_tc(!all);
    let mut builder: AdditionalBuilder<Target> = builder.additional();
    // Nobody needs these: there are questions for them.
    let _ = all && reply.extra.iter().all(|entry| builder.push(entry).is_ok());
    builder.clear_push_limit();
    if request.has_opt {
        builder.opt(|opt| {
            opt.set_udp_payload_size(OUR_SIZE);
            opt.set_rcode(rcode);
            Ok(())
        })?;
    }
    Ok(builder.finish().into_target())
}

#[cfg(test)]
mod tests;
