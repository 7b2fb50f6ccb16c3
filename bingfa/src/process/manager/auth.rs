//! How a manager and a client show each other that they know the key, and nobody else learns
//! it: a challenge and an answer each way, before anything else is read.
//!
//! The manager sends its greeting and a nonce; the client its nonce and
//! `HMAC-SHA-256(key, "client" + nonces)`; the manager `HMAC-SHA-256(key, "manager" + nonces)`.
//! All of it has a fixed length. The words differ, so that no answer serves the other way, and
//! both nonces go into both answers, so that none serves twice.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::link;
use crate::io::op::Wait;
use crate::io::packet;
use crate::io::socket::Socket;
use crate::sys::random;

/// What a manager and its clients know, and nobody else.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Key(pub(super) Vec<u8>);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

const GREETING: &[u8; 16] = b"bingfa manager 1";
const NONCE: usize = 32;
const PROOF: usize = 32;

/// How long the other side may take.
const PATIENCE: Duration = Duration::from_secs(10);

impl Key {
    fn mac(&self, who: &[u8], manager: &[u8; NONCE], client: &[u8; NONCE]) -> Hmac<Sha256> {
        let mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key of any length");
        mac.chain_update(who)
            .chain_update(manager)
            .chain_update(client)
    }

    /// The manager's side.
    ///
    /// # Errors
    /// `PermissionDenied` if the client does not know the key.
    pub(super) fn challenge(&self, client: &Socket) -> io::Result<()> {
        let wait = Wait::Until(Instant::now() + PATIENCE);
        let nonce: [u8; NONCE] = random::bytes()?;
        let greeting = [&GREETING[..], &nonce].concat();
        link::send_all(client, &greeting, &[], wait)?;
        let answer: [u8; NONCE + PROOF] = receive(client, wait)?;
        let (theirs, proof) = answer.split_first_chunk::<NONCE>().expect("longer");
        // In constant time.
        let verified = self.mac(b"client", &nonce, theirs).verify_slice(proof);
        verified.map_err(|_| io::Error::from(ErrorKind::PermissionDenied))?;
        let proof = self.mac(b"manager", &nonce, theirs).finalize();
        link::send_all(client, &proof.into_bytes(), &[], wait)
    }

    /// The client's side.
    ///
    /// # Errors
    /// `PermissionDenied` if the manager refuses this key, or does not know it itself;
    /// `InvalidData` if it is no manager.
    pub(super) fn answer(&self, manager: &Socket) -> io::Result<()> {
        let wait = Wait::Until(Instant::now() + PATIENCE);
        let greeting: [u8; GREETING.len() + NONCE] = receive(manager, wait)?;
        let Some(nonce) = greeting.strip_prefix(GREETING) else {
            let why = "what answers there is no manager of this version of bingfa";
            return Err(io::Error::new(ErrorKind::InvalidData, why));
        };
        let nonce = nonce.try_into().expect("what is left of the array");
        let own: [u8; NONCE] = random::bytes()?;
        let proof = self.mac(b"client", nonce, &own).finalize().into_bytes();
        link::send_all(manager, &[&own[..], &proof].concat(), &[], wait)?;
        let denied = |why: &str| io::Error::new(ErrorKind::PermissionDenied, why.to_owned());
        let proof: [u8; PROOF] = receive(manager, wait).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset => {
                denied("the manager does not accept the key")
            }
            _ => error,
        })?;
        let verified = self.mac(b"manager", nonce, &own).verify_slice(&proof);
        verified.map_err(|_| denied("what answers there does not know the key itself"))
    }
}

/// Exactly so many bytes, and no descriptors.
fn receive<const N: usize>(socket: &Socket, wait: Wait) -> io::Result<[u8; N]> {
    let mut bytes = Vec::with_capacity(N);
    while bytes.len() < N {
        let have = bytes.len();
        // What follows is for others to read.
        packet::receive(socket, &mut bytes, N - have, wait)?;
        if bytes.len() == have {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(bytes.try_into().expect("N of them"))
}
