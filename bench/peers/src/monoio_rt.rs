//! monoio with its io_uring driver: a runtime of one thread, whose buffers are owned.

use harness::{Args, ECHO_BUFFER, Figures};
use monoio::buf::IoBuf;
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};
use monoio::{IoUringDriver, RuntimeBuilder};
use std::io;

pub(crate) fn run(args: &Args) {
    let mut runtime = RuntimeBuilder::<IoUringDriver>::new()
        .build()
        .expect("monoio needs io_uring");
    match args.bench.as_str() {
        "echo" => runtime.block_on(serve()),
        _ => args.unknown(),
    }
}

async fn serve() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port to listen on");
    let port = listener
        .local_addr()
        .expect("a bound socket has an address")
        .port();
    harness::serve_until_stdin_ends(port, Figures::new);
    loop {
        let (stream, _) = listener.accept().await.expect("accept");
        monoio::spawn(echo(stream));
    }
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
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
