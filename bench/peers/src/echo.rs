//! `echo`: a TCP server per runtime that sends back what it reads; a task (or thread) and a buffer per connection.

use crate::epoll_loop;
use crate::runtimes::{self, SMOL, THREAD_STACK, in_may, in_smol, in_tokio, may_spawn};
use harness::{Args, ECHO_BUFFER, Figures};
use std::io::{self, Read, Write};

/// Where every server listens: the kernel chooses the port.
const ANY_PORT: &str = "127.0.0.1:0";

pub(crate) fn run(args: &Args) {
    match args.contender.as_str() {
        "tokio" | "tokio-current" => in_tokio(&runtimes::tokio(args), tokio(Figures::new)),
        "smol" => {
            runtimes::smol(args);
            in_smol(smol());
        }
        "may" => {
            runtimes::may(args);
            in_may(may);
        }
        "monoio" => monoio::RuntimeBuilder::<monoio::IoUringDriver>::new()
            .build()
            .expect("monoio needs io_uring")
            .block_on(monoio()),
        "std" => threads(),
        "epoll-loop" => epoll_loop::serve(false).expect("the epoll loop"),
        "epoll-loop-buffers" => epoll_loop::serve(true).expect("the epoll loop"),
        _ => args.unknown(),
    }
}

fn say_port(address: io::Result<std::net::SocketAddr>) {
    let port = address.expect("a bound socket has an address").port();
    harness::serve_until_stdin_ends(port, Figures::new);
}

/// Serves until standard input ends, and prints the figures of `at_end` then.
pub(crate) async fn tokio(at_end: impl FnOnce() -> Figures + Send + 'static) {
    let listener = tokio::net::TcpListener::bind(ANY_PORT)
        .await
        .expect("a port to listen on");
    let port = listener
        .local_addr()
        .expect("a bound socket has an address")
        .port();
    harness::serve_until_stdin_ends(port, at_end);
    loop {
        let (stream, _) = listener.accept().await.expect("accept");
        tokio::spawn(tokio_echo(stream));
    }
}

async fn tokio_echo(mut stream: tokio::net::TcpStream) -> io::Result<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    stream.set_nodelay(true)?;
    let mut buffer = [0; ECHO_BUFFER];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..count]).await?;
    }
}

async fn smol() {
    let listener = smol::net::TcpListener::bind(ANY_PORT)
        .await
        .expect("a port to listen on");
    say_port(listener.local_addr());
    loop {
        let (stream, _) = listener.accept().await.expect("accept");
        SMOL.spawn(smol_echo(stream)).detach();
    }
}

async fn smol_echo(mut stream: smol::net::TcpStream) -> io::Result<()> {
    use smol::io::{AsyncReadExt, AsyncWriteExt};
    stream.set_nodelay(true)?;
    let mut buffer = [0; ECHO_BUFFER];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..count]).await?;
    }
}

fn may() {
    let listener = may::net::TcpListener::bind(ANY_PORT).expect("a port to listen on");
    say_port(listener.local_addr());
    loop {
        let (stream, _) = listener.accept().expect("accept");
        may_spawn(move || {
            stream.set_nodelay(true)?;
            blocking_echo(stream)
        });
    }
}

/// What coroutines and threads run.
fn blocking_echo(mut stream: impl Read + Write) -> io::Result<()> {
    let mut buffer = [0; ECHO_BUFFER];
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..count])?;
    }
}

/// monoio: a runtime of one thread with its io_uring driver, whose buffers are owned.
async fn monoio() {
    let listener = monoio::net::TcpListener::bind(ANY_PORT).expect("a port to listen on");
    say_port(listener.local_addr());
    loop {
        let (stream, _) = listener.accept().await.expect("accept");
        monoio::spawn(monoio_echo(stream));
    }
}

async fn monoio_echo(mut stream: monoio::net::TcpStream) -> io::Result<()> {
    use monoio::buf::IoBuf;
    use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; ECHO_BUFFER];
    loop {
        let (read, filled) = stream.read(buffer).await;
        let count = read?;
        if count == 0 {
            return Ok(());
        }
        let (written, slice) = stream.write_all(filled.slice(..count)).await;
        written?;
        buffer = slice.into_inner();
    }
}

/// An OS thread per connection.
fn threads() {
    let listener = std::net::TcpListener::bind(ANY_PORT).expect("a port to listen on");
    say_port(listener.local_addr());
    for stream in listener.incoming() {
        let stream = stream.expect("accept");
        std::thread::Builder::new()
            .stack_size(THREAD_STACK)
            .spawn(move || {
                stream.set_nodelay(true)?;
                blocking_echo(stream)
            })
            .expect("room for a thread per connection");
    }
}
