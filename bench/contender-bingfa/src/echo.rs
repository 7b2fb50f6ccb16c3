//! `echo`: a TCP server that sends back what it reads; a coroutine and a buffer per connection.

use crate::{inside, runtime};
use bingfa::coroutine;
use bingfa::net::{TcpListener, TcpStream};
use harness::{Args, ECHO_BUFFER, Figures};
use std::io::{self, Read, Write};

pub(crate) fn run(args: &Args) {
    inside(&runtime(args), || serve(Figures::new));
}

/// Serves until standard input ends, and prints the figures of `at_end` then.
pub(crate) fn serve(at_end: impl FnOnce() -> Figures + Send + 'static) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port to listen on");
    let port = listener
        .local_addr()
        .expect("a bound socket has an address")
        .port();
    harness::serve_until_stdin_ends(port, at_end);
    loop {
        let (stream, _) = listener.accept().expect("accept");
        coroutine::spawn(move || echo(stream));
    }
}

fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; ECHO_BUFFER];
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..count])?;
    }
}
