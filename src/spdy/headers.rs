//! Header blocks: names and values, compressed by one zlib stream a direction that both ends begin with the same
//! dictionary.

use std::sync::LazyLock;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::SpdyError;

/// The most that a block may come to when it is unpacked; a few small headers are all that Kubernetes sends.
const MAX_BLOCK: usize = 16 << 10;
const MAX_HEADERS: usize = 64;

/// Lower-case names with their values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    pub fn new<const N: usize>(pairs: [(&str, &str); N]) -> Self {
        Headers(pairs.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value.to_string())).collect())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    fn encode(&self) -> Vec<u8> {
        let mut block = length(self.0.len()).to_vec();
        for text in self.0.iter().flat_map(|(name, value)| [name, value]) {
            block.extend_from_slice(&length(text.len()));
            block.extend_from_slice(text.as_bytes());
        }
        block
    }

    fn parse(mut block: &[u8]) -> Result<Self, SpdyError> {
        let count = take_length(&mut block)?;
        if count > MAX_HEADERS {
            return Err(SpdyError::Protocol("too many headers"));
        }
        let mut text = || -> Result<String, SpdyError> {
            let length = take_length(&mut block)?;
            let (text, rest) = block.split_at_checked(length).ok_or(SpdyError::Protocol("a header is cut short"))?;
            block = rest;
            Ok(String::from_utf8_lossy(text).into_owned())
        };
        let pairs = (0..count).map(|_| Ok((text()?, text()?))).collect::<Result<_, SpdyError>>()?;
        Ok(Headers(pairs))
    }
}

fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}

fn take_length(block: &mut &[u8]) -> Result<usize, SpdyError> {
    let (number, rest) = block.split_first_chunk().ok_or(SpdyError::Protocol("a header block is cut short"))?;
    *block = rest;
    usize::try_from(u32::from_be_bytes(*number)).map_err(|_| SpdyError::Protocol("a header is too long"))
}

pub struct Packer(Compress);

impl Packer {
    pub fn new() -> Result<Self, SpdyError> {
        let mut stream = Compress::new(Compression::fast(), true);
        stream.set_dictionary(&DICTIONARY).map_err(|_| SpdyError::Protocol("the header dictionary is not taken"))?;
        Ok(Packer(stream))
    }

    pub fn pack(&mut self, headers: &Headers) -> Result<Vec<u8>, SpdyError> {
        let block = headers.encode();
        let (mut packed, mut taken) = (Vec::new(), 0);
        let mut buffer = [0; 512];
        loop {
            let (before_in, before_out) = (self.0.total_in(), self.0.total_out());
            let rest = block.get(taken..).unwrap_or_default();
            let status = self.0.compress(rest, &mut buffer, FlushCompress::Sync);
            status.map_err(|_| SpdyError::Protocol("headers cannot be compressed"))?;
            taken += moved(before_in, self.0.total_in());
            let out = moved(before_out, self.0.total_out());
            packed.extend_from_slice(buffer.get(..out).unwrap_or_default());
            // A flush is complete once it leaves room.
            if out < buffer.len() {
                return Ok(packed);
            }
        }
    }
}

pub struct Unpacker(Decompress);

impl Unpacker {
    pub fn new() -> Self {
        Unpacker(Decompress::new(true))
    }

    pub fn unpack(&mut self, packed: &[u8]) -> Result<Headers, SpdyError> {
        let broken = SpdyError::Protocol("a header block cannot be decompressed");
        let (mut block, mut taken) = (Vec::new(), 0);
        let mut buffer = [0; 2048];
        loop {
            let (before_in, before_out) = (self.0.total_in(), self.0.total_out());
            let rest = packed.get(taken..).unwrap_or_default();
            let done = self.0.decompress(rest, &mut buffer, FlushDecompress::Sync);
            let (read, out) = (moved(before_in, self.0.total_in()), moved(before_out, self.0.total_out()));
            taken += read;
            block.extend_from_slice(buffer.get(..out).unwrap_or_default());
            if block.len() > MAX_BLOCK {
                return Err(SpdyError::Protocol("a header block is too long"));
            }
            match done {
                // Both ends know the dictionary; the stream only says that it is used.
                Err(error) if error.needs_dictionary().is_some() => {
                    self.0.set_dictionary(&DICTIONARY).map_err(|_| broken.clone())?;
                }
                Err(_) | Ok(Status::StreamEnd) => return Err(broken),
                Ok(_) if out < buffer.len() && taken >= packed.len() => return Headers::parse(&block),
                Ok(_) if out == 0 && read == 0 => return Err(broken),
                Ok(_) => {}
            }
        }
    }
}

fn moved(before: u64, after: u64) -> usize {
    usize::try_from(after.saturating_sub(before)).unwrap_or(usize::MAX)
}

/// The dictionary of the SPDY/3 specification: words with their lengths, then text without.
static DICTIONARY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut bytes = Vec::new();
    for word in WORDS.split(',') {
        bytes.extend_from_slice(&length(word.len()));
        bytes.extend_from_slice(word.as_bytes());
    }
    bytes.extend_from_slice(TEXT.as_bytes());
    bytes
});

const WORDS: &str = "options,head,post,put,delete,trace,accept,accept-charset,accept-encoding,accept-language,\
    accept-ranges,age,allow,authorization,cache-control,connection,content-base,content-encoding,content-language,\
    content-length,content-location,content-md5,content-range,content-type,date,etag,expect,expires,from,host,if-match,\
    if-modified-since,if-none-match,if-range,if-unmodified-since,last-modified,location,max-forwards,pragma,\
    proxy-authenticate,proxy-authorization,range,referer,retry-after,server,te,trailer,transfer-encoding,upgrade,\
    user-agent,vary,via,warning,www-authenticate,method,get,status,200 OK,version,HTTP/1.1,url,public,set-cookie,\
    keep-alive,origin";

const TEXT: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505\
    203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized\
    403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable\
    Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT\
    chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,\
    publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

#[cfg(test)]
mod tests {
    use super::*;

    /// What zlib streams call their dictionary by.
    fn adler32(bytes: &[u8]) -> u32 {
        let (a, b) = bytes.iter().fold((1u32, 0u32), |(a, b), byte| {
            let a = (a + u32::from(*byte)) % 65521;
            (a, (b + a) % 65521)
        });
        b << 16 | a
    }

    #[test]
    fn the_dictionary_is_the_specifications() {
        assert_eq!((DICTIONARY.len(), adler32(&DICTIONARY)), (1423, 0xe3c6_a7c2));
    }

    #[test]
    fn blocks_go_through_one_stream() {
        let (mut packer, mut unpacker) = (Packer::new().unwrap(), Unpacker::new());
        let long = "x".repeat(5000);
        for number in 0..100 {
            let id = number.to_string();
            let value = if number % 7 == 0 { long.as_str() } else { &id };
            let headers = Headers::new([("streamType", "data"), ("port", "80"), ("requestID", value)]);
            assert_eq!(unpacker.unpack(&packer.pack(&headers).unwrap()).unwrap(), headers, "{number}");
        }
        assert_eq!(Headers::new([("streamType", "data")]).get("StreamType"), Some("data"));
    }

    #[test]
    fn a_block_that_swells_is_refused() {
        let mut packer = Packer::new().unwrap();
        let packed = packer.pack(&Headers::new([("a", &"x".repeat(1 << 20))])).unwrap();
        assert!(packed.len() < MAX_BLOCK, "{}", packed.len());
        assert!(Unpacker::new().unpack(&packed).is_err());
    }
}
