//! `epoll-loop`, the floor of `echo`: one thread, edge-triggered epoll, no runtime.
//!
//! Since nothing is kept between two requests, all connections can use one buffer, which is always in the cache.
//! `epoll-loop-buffers` has a buffer per connection, as every runtime has, and a parser would need.
//!
//! After a short read it waits for the next edge instead of reading again: two system calls for a request.

use harness::{ECHO_BUFFER, Figures};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;

const LISTENER: u64 = u64::MAX;

struct Connection {
    stream: TcpStream,
    own_buffer: Option<Box<[u8; ECHO_BUFFER]>>,
}

pub(crate) fn serve(own_buffers: bool) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(
        &epoll,
        &listener,
        EventData::new_u64(LISTENER),
        EventFlags::IN,
    )?;
    harness::serve_until_stdin_ends(listener.local_addr()?.port(), Figures::new);

    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut events: Vec<Event> = Vec::with_capacity(1024);
    let mut buffer = [0; ECHO_BUFFER];
    loop {
        epoll::wait(&epoll, spare_capacity(&mut events), None)?;
        for event in events.drain(..) {
            if event.data.u64() == LISTENER {
                accept(&listener, &epoll, &mut connections, own_buffers)?;
                continue;
            }
            let slot = &mut connections[event.data.u64() as usize];
            if let Some(connection) = slot {
                let buffer = match &mut connection.own_buffer {
                    Some(own) => &mut **own,
                    None => &mut buffer,
                };
                if echo(&mut connection.stream, buffer).is_err() {
                    *slot = None;
                }
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    epoll: &OwnedFd,
    connections: &mut Vec<Option<Connection>>,
    own_buffers: bool,
) -> io::Result<()> {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let data = EventData::new_u64(connections.len() as u64);
        epoll::add(
            epoll,
            &stream,
            data,
            EventFlags::IN | EventFlags::RDHUP | EventFlags::ET,
        )?;
        let own_buffer = own_buffers.then(|| Box::new([0; ECHO_BUFFER]));
        connections.push(Some(Connection { stream, own_buffer }));
    }
}

/// Answers what has come. An error also when the peer has finished: the connection is to be dropped.
fn echo(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<()> {
    loop {
        match stream.read(buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            // A closed loop of small messages never fills a socket: WouldBlock here would be a fault, and ends it.
            Ok(count) => {
                stream.write_all(&buffer[..count])?;
                if count < buffer.len() {
                    return Ok(());
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
