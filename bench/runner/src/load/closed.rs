//! The closed loop: each connection has one request in flight; an answer is followed by the next request at once.

use super::message::{MESSAGE, check, message};
use super::{BATCH, ServerCpu, connect, with_latencies};
use harness::{Args, Figures, process_cpu_seconds};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

struct Connection {
    stream: TcpStream,
    sequence: u64,
    /// Bytes of the answer that have come.
    received: usize,
    sent_at: Instant,
    /// Answers within the time that counts.
    answers: u64,
}

pub(super) fn run(args: &Args) -> io::Result<Figures> {
    let connections: usize = args.number("connections");
    let server = ServerCpu::new(args.number("server"))?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let mut connections = connect_all(args.number("port"), connections)?;
    for (index, connection) in connections.iter().enumerate() {
        connection.stream.set_nonblocking(true)?;
        epoll::add(
            &epoll,
            &connection.stream,
            EventData::new_u64(index as u64),
            EventFlags::IN | EventFlags::ET,
        )?;
    }
    for (index, connection) in connections.iter_mut().enumerate() {
        connection.send(index as u64, Instant::now())?;
    }

    let mut events: Vec<Event> = Vec::with_capacity(1024);
    let mut latencies: Vec<u64> = Vec::with_capacity(1 << 20);
    let begin = Instant::now() + Duration::from_secs_f64(args.number("warmup"));
    let end = begin + Duration::from_secs_f64(args.number("seconds"));
    let mut since: Option<(Instant, Duration, f64)> = None;
    loop {
        let timeout = rustix::time::Timespec {
            tv_sec: 20,
            tv_nsec: 0,
        };
        if epoll::wait(&epoll, spare_capacity(&mut events), Some(&timeout))? == 0 {
            return Err(io::Error::new(ErrorKind::TimedOut, "no answer for 20 s"));
        }
        let mut now = Instant::now();
        if since.is_none() && now >= begin {
            since = Some((now, server.used()?, process_cpu_seconds()));
        }
        if now >= end {
            break;
        }
        for event in events.drain(..) {
            let index = event.data.u64();
            let connection = &mut connections[index as usize];
            if !connection.receive(index)? {
                continue;
            }
            now = Instant::now();
            if since.is_some() {
                let nanos = (now - connection.sent_at).as_nanos();
                latencies.push(nanos as u64);
                connection.answers += 1;
            }
            connection.send(index, now)?;
        }
    }

    let (start, server_before, own_before) =
        since.ok_or_else(|| io::Error::other("the server has stalled during the warm-up"))?;
    let seconds = start.elapsed().as_secs_f64();
    if latencies.is_empty() {
        return Err(io::Error::other(
            "not one answer within the time that counts",
        ));
    }
    let answers = latencies.len() as f64;
    let own = process_cpu_seconds() - own_before;
    let starved = connections
        .iter()
        .filter(|connection| connection.answers == 0)
        .count();
    let figures = Figures::new()
        .with("requests_per_s", answers / seconds)
        .with(
            "cpu_us_per_request",
            (server.used()? - server_before).as_secs_f64() * 1e6 / answers,
        )
        .with("load_core_use", own / seconds)
        .with("load_capacity_per_s", answers / own)
        .with("starved_connections", starved as f64);
    Ok(with_latencies(figures, latencies))
}

/// Connects in batches; every connection has been accepted and has answered once before the next batch.
fn connect_all(port: u16, count: usize) -> io::Result<Vec<Connection>> {
    let mut all: Vec<Connection> = Vec::with_capacity(count);
    while all.len() < count {
        let first = all.len();
        for index in first..count.min(first + BATCH) {
            let mut connection = Connection {
                stream: connect(port)?,
                sequence: 0,
                received: 0,
                sent_at: Instant::now(),
                answers: 0,
            };
            connection.send(index as u64, Instant::now())?;
            all.push(connection);
        }
        for (index, connection) in all.iter_mut().enumerate().skip(first) {
            while !connection.receive(index as u64)? {}
        }
    }
    Ok(all)
}

impl Connection {
    fn send(&mut self, index: u64, now: Instant) -> io::Result<()> {
        self.sequence += 1;
        self.received = 0;
        self.sent_at = now;
        // One message in flight always fits into the socket's buffer.
        match self.stream.write(&message(index, self.sequence))? {
            MESSAGE => Ok(()),
            count => Err(io::Error::other(format!(
                "connection {index}: only {count} bytes could be sent"
            ))),
        }
    }

    /// Takes what has come; whether the answer is complete. One read for an edge: nothing can follow the answer, and
    /// the rest of a part brings an edge of its own.
    fn receive(&mut self, index: u64) -> io::Result<bool> {
        let mut buffer = [0; 2 * MESSAGE];
        let count = match self.stream.read(&mut buffer) {
            Ok(0) => {
                return Err(io::Error::other(format!(
                    "connection {index}: the server has closed it"
                )));
            }
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        };
        check(index, self.sequence, self.received, &buffer[..count])?;
        self.received += count;
        Ok(self.received == MESSAGE)
    }
}
