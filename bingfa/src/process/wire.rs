//! What travels between a parent and its child, over a stream socket that only they have.
//!
//! To the child: `[length of the orders: u32][length of the arguments: u64]`, the orders and
//! the arguments. Back: one frame, `[tag: u8][length: u64]` and the bytes; a child that ends
//! without one was killed or called `exit`. Orders, arguments and results are in the format of
//! `postcard`. Both ends are the same program, which the fingerprint in the orders proves.
//! Descriptors ([`carry`](super::carry)) travel with the first bytes.

use std::fmt;
use std::io::{self, Read};
use std::os::fd::OwnedFd;

use postcard::ser_flavors::Flavor;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::carry::{self, Along, Cargo, Setting, Shared};
use crate::shm::block::Block;
use crate::shm::object::Destination;
use crate::shm::peers::PeerId;
use crate::sys::attributes::Cpus;

/// What the child is to be and to do.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Orders {
    /// Of the program that the offsets belong to.
    pub(super) fingerprint: u64,
    /// The function that decodes, calls and encodes: its offset in the main image.
    pub(super) thunk: u64,
    /// The user's function: its offset in the main image.
    pub(super) function: u64,
    pub(super) name: String,
    pub(super) daemon: bool,
    pub(super) parent: i32,
    pub(super) parent_name: String,
    pub(super) group: i32,
    /// The child's place in the family, and its parent's. Then the first descriptor is the
    /// family's memory.
    pub(super) family: Option<(PeerId, PeerId)>,
    /// Renounce new privileges.
    pub(super) no_new_privileges: bool,
    /// All variables; `None`: those that it was started with.
    pub(super) environment: Option<Vec<(Vec<u8>, Vec<u8>)>>,
    pub(super) directory: Option<Vec<u8>>,
    pub(super) affinity: Cpus,
    /// Resource, soft and hard limit: where they differ from those it was started with.
    pub(super) limits: Vec<(u32, u64, u64)>,
}

/// How a call ended, in the child.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The result.
    Returned(Encoded),
    Panicked(Panic),
    /// The function was not called, or its result cannot be sent: the reason.
    Refused(String),
}

/// A panic, as it can be told to another process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Panic {
    pub(super) message: String,
    /// File, line and column.
    pub(super) location: Option<String>,
}

const RETURNED: u8 = 1;
const PANICKED: u8 = 2;
const REFUSED: u8 = 3;

/// The tag and the length of a frame.
const FRAME_HEAD: usize = 9;
const JOB_HEAD: usize = 12;

/// `what` in words: the name of a type that could not be encoded or decoded, and why.
#[derive(Debug)]
pub(super) struct CodecError {
    type_name: &'static str,
    encode: bool,
    why: String,
}

impl CodecError {
    /// A handle's reason goes before the format's.
    fn encoding<T: ?Sized>(refused: Option<String>, error: &postcard::Error) -> CodecError {
        CodecError {
            type_name: std::any::type_name::<T>(),
            encode: true,
            why: refused.unwrap_or_else(|| error.to_string()),
        }
    }
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.encode { "encoded" } else { "decoded" };
        write!(f, "`{}` cannot be {what}: {}", self.type_name, self.why)
    }
}

/// A value as it travels: its bytes, and the descriptors that it takes along.
#[derive(Debug, Default)]
pub(super) struct Encoded {
    pub(super) bytes: Vec<u8>,
    pub(super) fds: Vec<OwnedFd>,
    /// Whoever has sent it says so ([`Shared::sent`]).
    pub(super) shared: Shared,
}

/// Encodes a message for whoever gets it.
pub(super) fn encode<T: Serialize>(value: &T) -> Result<Encoded, CodecError> {
    encode_for(Destination::Anyone, value)
}

/// Encodes a message for one process, or for whoever gets it.
pub(super) fn encode_for<T: Serialize>(to: Destination, value: &T) -> Result<Encoded, CodecError> {
    let setting = Setting {
        to: Some(to),
        ..Setting::default()
    };
    encode_in(setting, value)
}

pub(super) fn encode_in<T: Serialize + ?Sized>(
    setting: Setting,
    value: &T,
) -> Result<Encoded, CodecError> {
    let (encoded, cargo) = carry::gather(setting, || postcard::to_stdvec(value));
    let (Along { fds, shared }, refused) = Cargo::unpack(cargo);
    match encoded {
        Ok(bytes) => Ok(Encoded { bytes, fds, shared }),
        Err(error) => Err(CodecError::encoding::<T>(refused, &error)),
    }
}

/// As [`encode`], into a place of the caller's choice; gives what the message takes along.
#[inline]
pub(super) fn encode_into<T: Serialize>(
    flavor: impl Flavor<Output = ()>,
    value: &T,
) -> Result<Option<Box<Cargo>>, CodecError> {
    let setting = Setting {
        to: Some(Destination::Anyone),
        ..Setting::default()
    };
    let encode = || postcard::serialize_with_flavor(value, flavor);
    let (encoded, cargo) = carry::gather(setting, encode);
    match encoded {
        Ok(()) => Ok(cargo),
        Err(error) => Err(CodecError::encoding::<T>(Cargo::unpack(cargo).1, &error)),
    }
}

#[inline]
pub(super) fn decode<T: DeserializeOwned>(
    bytes: &[u8],
    fds: Vec<OwnedFd>,
) -> Result<T, CodecError> {
    decode_in(Setting::default(), bytes, fds)
}

/// A message in a block of shared memory.
pub(super) fn decode_block<T: DeserializeOwned>(block: &Block<'_>) -> Result<T, CodecError> {
    let setting = Setting {
        block: Some(block.at()),
        ..Setting::default()
    };
    decode_in(setting, block, Vec::new())
}

#[inline]
pub(super) fn decode_in<T: DeserializeOwned>(
    setting: Setting,
    bytes: &[u8],
    fds: Vec<OwnedFd>,
) -> Result<T, CodecError> {
    let decode = || postcard::take_from_bytes(bytes);
    let (decoded, refused) = carry::hand_out(setting, fds, decode);
    let why = match decoded {
        Ok((value, [])) => return Ok(value),
        Ok((_, rest)) => format!("{} bytes are left over", rest.len()),
        Err(error) => refused.unwrap_or_else(|| error.to_string()),
    };
    Err(CodecError {
        type_name: std::any::type_name::<T>(),
        encode: false,
        why,
    })
}

/// The bytes that make a child work.
pub(super) fn job(orders: &Orders, arguments: &[u8]) -> io::Result<Vec<u8>> {
    let orders = encode(orders).map_err(|error| io::Error::other(error.to_string()))?;
    let orders = orders.bytes;
    let head = u32::try_from(orders.len())
        .map_err(|_| io::Error::other("the environment does not fit into 4 GiB"))?;
    let mut bytes = Vec::with_capacity(JOB_HEAD + orders.len() + arguments.len());
    bytes.extend_from_slice(&head.to_le_bytes());
    bytes.extend_from_slice(&(arguments.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&orders);
    bytes.extend_from_slice(arguments);
    Ok(bytes)
}

/// Waits for the bytes of [`job`]: the orders and the arguments.
pub(super) fn receive_job(mut socket: impl Read) -> io::Result<(Orders, Vec<u8>)> {
    let mut head = [0; JOB_HEAD];
    socket.read_exact(&mut head)?;
    let orders_len = u32::from_le_bytes(head[..4].try_into().expect("4 bytes"));
    let arguments_len = u64::from_le_bytes(head[4..].try_into().expect("8 bytes"));
    let orders = read_exactly(&mut socket, u64::from(orders_len))?;
    let orders = decode(&orders, Vec::new())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
    Ok((orders, read_exactly(&mut socket, arguments_len)?))
}

/// So many bytes, allocated as they come.
fn read_exactly(socket: impl Read, len: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    socket.take(len).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == len {
        Ok(bytes)
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

/// What is to be sent of an outcome.
#[derive(Debug)]
pub(super) struct Frame {
    /// Small; goes first, with the descriptors.
    pub(super) first: Vec<u8>,
    pub(super) fds: Vec<OwnedFd>,
    pub(super) rest: Vec<u8>,
    pub(super) shared: Shared,
}

pub(super) fn frame(outcome: Outcome) -> Frame {
    let (tag, encoded) = match outcome {
        Outcome::Returned(result) => (RETURNED, result),
        Outcome::Panicked(panic) => (PANICKED, encode(&panic).unwrap_or_default()),
        Outcome::Refused(why) => {
            let bytes = why.into_bytes();
            let encoded = Encoded {
                bytes,
                ..Encoded::default()
            };
            (REFUSED, encoded)
        }
    };
    let Encoded { bytes, fds, shared } = encoded;
    let mut first = vec![tag];
    first.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    let mut rest = bytes;
    if rest.len() < 4096 {
        // One write, and one wake-up of the reader.
        first.append(&mut rest);
    }
    Frame {
        first,
        fds,
        rest,
        shared,
    }
}

/// The outcome in what a child has sent; `None` if that is no whole frame.
pub(super) fn outcome(received: Encoded) -> Option<Outcome> {
    let Encoded {
        bytes: mut received,
        fds,
        ..
    } = received;
    let (head, bytes) = received.split_at_checked(FRAME_HEAD)?;
    let len = u64::from_le_bytes(head[1..].try_into().expect("8 bytes"));
    if bytes.len() as u64 != len {
        return None;
    }
    match head[0] {
        RETURNED => {
            received.drain(..FRAME_HEAD);
            Some(Outcome::Returned(Encoded {
                bytes: received,
                fds,
                ..Encoded::default()
            }))
        }
        PANICKED => decode(bytes, fds).ok().map(Outcome::Panicked),
        REFUSED => Some(Outcome::Refused(
            String::from_utf8_lossy(bytes).into_owned(),
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn returned(bytes: Vec<u8>) -> Outcome {
        Outcome::Returned(Encoded {
            bytes,
            ..Encoded::default()
        })
    }

    fn sent(outcome: Outcome) -> Vec<u8> {
        let frame = frame(outcome);
        [frame.first, frame.rest].concat()
    }

    fn arrived(bytes: Vec<u8>) -> Option<Outcome> {
        outcome(Encoded {
            bytes,
            ..Encoded::default()
        })
    }

    fn through(outcome: Outcome) -> Option<Outcome> {
        arrived(sent(outcome))
    }

    #[test]
    fn outcomes_arrive_as_they_were_sent() {
        for len in [0, 1, 4096, 100_000] {
            let Some(Outcome::Returned(result)) = through(returned(vec![7; len])) else {
                panic!("{len}");
            };
            assert_eq!(result.bytes, vec![7; len]);
        }
        let panic = Panic {
            message: "boom".into(),
            location: Some("here.rs:1:2".into()),
        };
        let arrived = through(Outcome::Panicked(panic.clone()));
        assert!(matches!(arrived, Some(Outcome::Panicked(p)) if p == panic));
        let arrived = through(Outcome::Refused("no".into()));
        assert!(matches!(arrived, Some(Outcome::Refused(why)) if why == "no"));
    }

    #[test]
    fn a_frame_that_is_not_whole_is_none() {
        let mut whole = sent(returned(vec![1, 2, 3]));
        for len in 0..whole.len() {
            assert!(arrived(whole[..len].to_vec()).is_none(), "{len}");
        }
        let mut longer = whole.clone();
        longer.push(0);
        assert!(arrived(longer).is_none());
        whole[0] = 77;
        assert!(arrived(whole).is_none());
    }

    #[test]
    fn a_job_that_ends_early_or_lies_about_its_length_is_an_error() {
        let orders = Orders {
            fingerprint: 1,
            thunk: 2,
            function: 3,
            name: "n".into(),
            daemon: false,
            parent: 4,
            parent_name: "p".into(),
            group: 5,
            family: None,
            no_new_privileges: true,
            environment: Some(vec![(b"A".to_vec(), b"B".to_vec())]),
            directory: None,
            affinity: [6; 16],
            limits: vec![(0, 1, 2)],
        };
        let bytes = job(&orders, b"arguments").unwrap();
        let (same, arguments) = receive_job(&bytes[..]).unwrap();
        assert_eq!(format!("{same:?}"), format!("{orders:?}"));
        assert_eq!(arguments, b"arguments");
        for len in 0..bytes.len() {
            assert!(receive_job(&bytes[..len]).is_err(), "{len}");
        }
        let mut lies = bytes.clone();
        lies[4..12].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(receive_job(&lies[..]).is_err());
        lies[..4].copy_from_slice(&3u32.to_le_bytes());
        assert!(receive_job(&lies[..]).is_err());
    }

    #[test]
    fn codec_errors_name_the_type() {
        let error = decode::<Vec<u32>>(&[9], vec![]).unwrap_err().to_string();
        assert!(
            error.starts_with("`alloc::vec::Vec<u32>` cannot be decoded"),
            "{error}"
        );
        let error = decode::<u8>(&[1, 2, 3], vec![]).unwrap_err().to_string();
        assert!(error.contains("2 bytes are left over"), "{error}");
    }
}
