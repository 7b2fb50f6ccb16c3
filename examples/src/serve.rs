//! Serving TCP connections, with plain blocking calls.

use std::fmt::Display;
use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use bingfa::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use bingfa::thread;

use crate::Carrier;

/// Listens on `address`. Bound here and not in the code of a worker: the seeds' listeners
/// were bound on import, so that every spawned child bound the port again and failed.
///
/// # Errors
/// Those of `bind`, with the address.
pub fn listen(address: impl ToSocketAddrs + Display) -> io::Result<TcpListener> {
    TcpListener::bind(&address).map_err(|error| not_listening(address, error))
}

/// The error of a server that could not have its address, with that.
pub fn not_listening(address: impl Display, error: io::Error) -> io::Error {
    let why = format!("could not listen on {address}: {error}");
    io::Error::new(error.kind(), why)
}

/// Accepts connections for ever and serves each on a carrier of its own.
///
/// Returns only when the listener itself fails, with the reason.
pub fn serve<H>(listener: &TcpListener, carrier: Carrier, handler: H) -> io::Error
where
    H: Fn(TcpStream) -> io::Result<()> + Clone + Send + 'static,
{
    accept_loop(listener, |stream, peer| {
        let handler = handler.clone();
        // The task's handle is dropped: it runs on, and a panic ends only its connection.
        carrier
            .spawn(format!("client {peer}"), move || {
                report(peer, handler(stream));
            })
            .map(drop)
    })
}

/// Accepts connections for ever and gives each to `start`.
///
/// Without descriptors, memory or threads it waits until connections have ended, which
/// leaves the next ones in the backlog, and goes on. Returns only when the listener itself
/// fails, with the reason.
pub fn accept_loop(
    listener: &TcpListener,
    mut start: impl FnMut(TcpStream, SocketAddr) -> io::Result<()>,
) -> io::Error {
    const BACK_OFF: Duration = Duration::from_millis(20);
    const QUIET: Duration = Duration::from_secs(10);
    let mut last_shortage: Option<Instant> = None;
    loop {
        let error = match listener
            .accept()
            .and_then(|(stream, peer)| start(stream, peer))
        {
            Ok(()) => continue,
            Err(error) => error,
        };
        if is_shortage(&error) {
            // Once, not fifty times a second.
            if last_shortage.is_none_or(|last| last.elapsed() > QUIET) {
                eprintln!("accept: {error}; new clients wait until others have left");
            }
            last_shortage = Some(Instant::now());
            thread::sleep(BACK_OFF);
        } else if !concerns_one_client(&error) {
            return error;
        }
    }
}

fn is_shortage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    // EAGAIN is what a thread that cannot be made gives; `accept` itself waits instead.
    [
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOBUFS,
        Errno::NOMEM,
        Errno::AGAIN,
    ]
    .iter()
    .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// A client that left before it was accepted; see `accept(2)`.
fn concerns_one_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::Interrupted
            | ErrorKind::NetworkDown
            | ErrorKind::NetworkUnreachable
            | ErrorKind::HostUnreachable
            | ErrorKind::PermissionDenied
    )
}

/// Tells of a connection that ended badly. That a client left without a word is its right.
pub fn report(peer: SocketAddr, result: io::Result<()>) {
    if let Err(error) = result
        && !matches!(
            error.kind(),
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
        )
    {
        eprintln!("client {peer}: {error}");
    }
}

/// Upper-cases whatever comes, until the client has no more to say.
///
/// # Errors
/// Those of the connection.
pub fn upper_case(stream: TcpStream) -> io::Result<()> {
    converse(stream, <[u8]>::make_ascii_uppercase)
}

/// Reads, lets `answer` turn what came into the answer, and writes it, until the client has
/// no more to say.
///
/// The seeds' servers did not look for the end of the stream (and span or died there), took
/// any exception for that end, and used `send`, which may send only a part.
///
/// # Errors
/// Those of the connection.
pub fn converse(mut stream: TcpStream, answer: impl Fn(&mut [u8])) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; 4096]; // on the stack: so each connection costs a page or two
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Ok(()); // dropping the stream closes it
        }
        answer(&mut buffer[..length]);
        stream.write_all(&buffer[..length])?;
    }
}
