//! What the tests of sockets share: a connection, and a server with its clients.

use std::sync::Arc;

use bingfa::coroutine;
use bingfa::io::{self, Read, Write};
use bingfa::net::{SocketAddr, TcpListener, TcpStream};

use socket2::{Domain, Socket, Type};

use super::cancel_and_join;

pub const LOCAL: &str = "127.0.0.1:0";

pub fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(LOCAL).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

/// Answers in upper case until its client has finished.
pub fn shout(mut stream: &TcpStream) -> io::Result<()> {
    let mut buf = [0; 1024];
    loop {
        match stream.read(&mut buf)? {
            0 => return Ok(()),
            n => stream.write_all(&buf[..n].to_ascii_uppercase())?,
        }
    }
}

/// Asks the server and checks the answer.
pub fn ask(mut stream: &TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, text.to_uppercase().as_bytes());
}

/// A server that hands every connection to `handle` in a coroutine of its own.
pub struct Server {
    pub addr: SocketAddr,
    accepting: coroutine::JoinHandle<()>,
}

impl Server {
    pub fn start(handle: impl Fn(TcpStream) + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind(LOCAL).unwrap();
        let addr = listener.local_addr().unwrap();
        let handle = Arc::new(handle);
        let accepting = coroutine::spawn(move || {
            for stream in listener.incoming() {
                let handle = handle.clone();
                let stream = stream.unwrap();
                drop(coroutine::spawn(move || handle(stream)));
            }
        });
        Server { addr, accepting }
    }

    pub fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).unwrap()
    }

    pub fn stop(self) {
        cancel_and_join(self.accepting);
    }
}

/// A listener that takes no more connections: connecting to it hangs.
pub struct FullListener {
    pub addr: SocketAddr,
    _listener: Socket,
    _queued: Vec<Socket>,
}

impl FullListener {
    pub fn new() -> FullListener {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        listener.bind(&any.into()).unwrap();
        listener.listen(0).unwrap();
        let addr = listener.local_addr().unwrap().as_socket().unwrap();
        let mut queued = Vec::new();
        for _ in 0..4 {
            let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            client.set_nonblocking(true).unwrap();
            let _ = client.connect(&addr.into());
            queued.push(client);
        }
        FullListener {
            addr,
            _listener: listener,
            _queued: queued,
        }
    }
}
