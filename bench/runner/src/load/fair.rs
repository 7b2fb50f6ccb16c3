//! The mixed load: connections with a request each 10 ms, on a schedule that does not wait for answers, and connections
//! that always have a window of data in flight.
//!
//! A latency runs from the moment the request was due, not from when it could be sent. This thread never sleeps, and
//! looks at the schedule and at the paced connections after each piece of bulk work; how late it sends is reported.

use super::message::{MESSAGE, check, message};
use super::{BATCH, connect, with_latencies};
use crate::stats::percentile;
use harness::{Args, Figures};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::time::Timespec;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// The number of the message that each connection exchanges first: that of no other.
const HELLO: u64 = u64::MAX;
const PERIOD: Duration = Duration::from_millis(10);
/// Bytes that a busy connection has in flight: several reads of a server, so that data waits at it.
const WINDOW: usize = 32 * 1024;
/// Bytes of bulk work between two looks at the schedule.
const PIECE: usize = 8 * 1024;
/// How long the last answers are waited for.
const PATIENCE: Duration = Duration::from_secs(1);
const AT_ONCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

pub(super) fn run(args: &Args) -> io::Result<Figures> {
    let port = args.number("port");
    let mut busy = Busy::new(port, args.number("busy"))?;
    let mut paced = Paced::new(port, args.number("paced"))?;
    busy.fill()?;

    let begin = Instant::now();
    let counts_from = begin + Duration::from_secs_f64(args.number("warmup"));
    let end = counts_from + Duration::from_secs_f64(args.number("seconds"));
    let mut bytes_before = None;
    paced.schedule(begin, counts_from, end);
    loop {
        let now = Instant::now();
        if now >= counts_from && bytes_before.is_none() {
            bytes_before = Some(busy.bytes);
        }
        if now >= end {
            break;
        }
        paced.send_due()?;
        paced.receive()?;
        busy.exchange()?;
    }
    let bytes = busy.bytes - bytes_before.unwrap_or(busy.bytes);
    while paced.waiting() && end.elapsed() < PATIENCE {
        paced.receive()?;
        busy.exchange()?;
    }
    paced.give_up();

    paced.late.sort_unstable();
    let figures = Figures::new()
        .with(
            "busy_mb_per_s",
            bytes as f64 / 1e6 / args.number::<f64>("seconds"),
        )
        .with("load_late_p99_us", percentile(&paced.late, 0.99) / 1e3);
    Ok(with_latencies(figures, paced.latencies))
}

/// The paced connections. Request `n` of all goes to connection `n % count`, so a connection's requests are
/// `index`, `index + count`, and so on.
struct Paced {
    connections: Vec<Slow>,
    epoll: OwnedFd,
    events: Vec<Event>,
    begin: Instant,
    counts_from: Instant,
    end: Instant,
    /// Requests sent so far, by all connections.
    sent: u64,
    latencies: Vec<u64>,
    late: Vec<u64>,
}

struct Slow {
    stream: TcpStream,
    /// Requests sent and bytes of answers that have come.
    sent: u64,
    received: u64,
}

impl Paced {
    fn new(port: u16, count: usize) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let mut connections: Vec<Slow> = Vec::with_capacity(count);
        while connections.len() < count {
            let first = connections.len();
            for index in first..count.min(first + BATCH) {
                let mut stream = connect(port)?;
                stream.write_all(&message(index as u64, HELLO))?;
                connections.push(Slow {
                    stream,
                    sent: 0,
                    received: 0,
                });
            }
            for (index, connection) in connections.iter_mut().enumerate().skip(first) {
                let mut answer = [0; MESSAGE];
                connection.stream.read_exact(&mut answer)?;
                check(index as u64, HELLO, 0, &answer)?;
                connection.stream.set_nonblocking(true)?;
                let data = EventData::new_u64(index as u64);
                epoll::add(&epoll, &connection.stream, data, EventFlags::IN)?;
            }
        }
        let now = Instant::now();
        Ok(Self {
            connections,
            epoll,
            events: Vec::with_capacity(64),
            begin: now,
            counts_from: now,
            end: now,
            sent: 0,
            latencies: Vec::new(),
            late: Vec::new(),
        })
    }

    fn schedule(&mut self, begin: Instant, counts_from: Instant, end: Instant) {
        (self.begin, self.counts_from, self.end) = (begin, counts_from, end);
    }

    /// When request `number` of connection `index` is due.
    fn due(&self, index: u64, number: u64) -> Instant {
        let count = self.connections.len() as u64;
        self.begin
            + Duration::from_nanos((number * count + index) * PERIOD.as_nanos() as u64 / count)
    }

    fn send_due(&mut self) -> io::Result<()> {
        let count = self.connections.len() as u64;
        loop {
            let index = self.sent % count;
            let due = self.due(index, self.sent / count);
            let now = Instant::now();
            if due > now || due >= self.end {
                return Ok(());
            }
            let connection = &mut self.connections[index as usize];
            let written = connection.stream.write(&message(index, connection.sent))?;
            if written != MESSAGE {
                return Err(io::Error::other(format!(
                    "connection {index}: only {written} bytes could be sent"
                )));
            }
            connection.sent += 1;
            self.sent += 1;
            if due >= self.counts_from {
                self.late.push(nanos(now - due));
            }
        }
    }

    fn receive(&mut self) -> io::Result<()> {
        epoll::wait(
            &self.epoll,
            spare_capacity(&mut self.events),
            Some(&AT_ONCE),
        )?;
        let mut buffer = [0; 16 * MESSAGE];
        let mut events = std::mem::take(&mut self.events);
        for event in events.drain(..) {
            let index = event.data.u64();
            let connection = &mut self.connections[index as usize];
            let mut part = match connection.stream.read(&mut buffer) {
                Ok(0) => {
                    return Err(io::Error::other(format!(
                        "paced connection {index}: the server has closed it"
                    )));
                }
                Ok(count) => &buffer[..count],
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            };
            let now = Instant::now();
            while !part.is_empty() {
                let connection = &mut self.connections[index as usize];
                let (number, offset) = (
                    connection.received / MESSAGE as u64,
                    connection.received as usize % MESSAGE,
                );
                let (head, rest) = part.split_at(part.len().min(MESSAGE - offset));
                check(index, number, offset, head)?;
                connection.received += head.len() as u64;
                if offset + head.len() == MESSAGE {
                    self.answered(index, number, now);
                }
                part = rest;
            }
        }
        self.events = events;
        Ok(())
    }

    fn answered(&mut self, index: u64, number: u64, now: Instant) {
        let due = self.due(index, number);
        if due >= self.counts_from {
            self.latencies.push(nanos(now - due));
        }
    }

    /// Whether an answer is still to come.
    fn waiting(&self) -> bool {
        self.connections
            .iter()
            .any(|connection| connection.received < connection.sent * MESSAGE as u64)
    }

    /// Counts the requests that were never answered with the time that they have waited: leaving them out would make
    /// the worst server look good.
    fn give_up(&mut self) {
        let now = Instant::now();
        for index in 0..self.connections.len() {
            let (sent, answered) = (
                self.connections[index].sent,
                self.connections[index].received / MESSAGE as u64,
            );
            for number in answered..sent {
                self.answered(index as u64, number, now);
            }
        }
    }
}

/// The connections that always have data in flight.
struct Busy {
    connections: Vec<Bulk>,
    epoll: OwnedFd,
    /// What is sent, over and over: long enough for a piece from any position.
    pattern: Vec<u8>,
    bytes: u64,
}

struct Bulk {
    stream: TcpStream,
    sent: usize,
    received: usize,
}

/// Not a power of two, so that a piece that is lost or doubled shows.
const CYCLE: usize = 997;

impl Busy {
    fn new(port: u16, count: usize) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let mut connections = Vec::with_capacity(count);
        for index in 0..count {
            let stream = connect(port)?;
            epoll::add(
                &epoll,
                &stream,
                EventData::new_u64(index as u64),
                EventFlags::IN,
            )?;
            connections.push(Bulk {
                stream,
                sent: 0,
                received: 0,
            });
        }
        let pattern = (0..CYCLE + PIECE)
            .map(|position| ((position % CYCLE * 31) >> 2) as u8)
            .collect();
        Ok(Self {
            connections,
            epoll,
            pattern,
            bytes: 0,
        })
    }

    fn fill(&mut self) -> io::Result<()> {
        for connection in &mut self.connections {
            connection.stream.set_nonblocking(true)?;
            while connection.sent < WINDOW {
                if connection.send(&self.pattern, WINDOW)? == 0 {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Takes one piece from one connection, and sends as much.
    fn exchange(&mut self) -> io::Result<()> {
        let mut event = Vec::with_capacity(1);
        epoll::wait(&self.epoll, spare_capacity(&mut event), Some(&AT_ONCE))?;
        let Some(event) = event.first() else {
            return Ok(());
        };
        let index = event.data.u64();
        let connection = &mut self.connections[index as usize];
        let mut buffer = [0; PIECE];
        let count = match connection.stream.read(&mut buffer) {
            Ok(0) => {
                return Err(io::Error::other(format!(
                    "busy connection {index}: the server has closed it"
                )));
            }
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let position = connection.received % CYCLE;
        if self.pattern[position..position + count] != buffer[..count] {
            return Err(io::Error::other(format!(
                "busy connection {index}: what came back is not what was sent"
            )));
        }
        connection.received += count;
        self.bytes += count as u64;
        connection.send(&self.pattern, WINDOW)?;
        Ok(())
    }
}

impl Bulk {
    /// Sends one piece, as far as the window and the socket allow.
    fn send(&mut self, pattern: &[u8], window: usize) -> io::Result<usize> {
        let room = window - (self.sent - self.received);
        let position = self.sent % CYCLE;
        match self
            .stream
            .write(&pattern[position..position + room.min(PIECE)])
        {
            Ok(count) => {
                self.sent += count;
                Ok(count)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(error),
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    duration.as_nanos() as u64
}
