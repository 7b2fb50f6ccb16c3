//! The load generator: this program again, as a child of its own on the load core. One for all servers.
//!
//! One thread, raw epoll, no runtime. Every answer is compared byte for byte with what was sent; the first that differs
//! ends the run.

mod closed;
mod fair;
mod message;

use crate::plan::Load;
use harness::{Args, Cpu, Figures};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

/// The word that makes this program a load generator.
pub(crate) const SUBCOMMAND: &str = "load-generator";

/// Connections made before each of them has to answer: more would overrun a backlog of 128.
const BATCH: usize = 64;

/// The rest of the command line for `load` against process `server`.
pub(crate) fn words(load: &Load, port: u16, server: u32) -> Vec<String> {
    let (kind, counts, warmup, seconds) = match load {
        Load::Closed {
            connections,
            warmup,
            seconds,
        } => (
            "closed",
            vec![format!("connections={connections}")],
            warmup,
            seconds,
        ),
        Load::Fair {
            paced,
            busy,
            warmup,
            seconds,
        } => (
            "fair",
            vec![format!("paced={paced}"), format!("busy={busy}")],
            warmup,
            seconds,
        ),
    };
    let mut words = vec![
        kind.to_string(),
        format!("port={port}"),
        format!("server={server}"),
    ];
    words.extend([format!("warmup={warmup}"), format!("seconds={seconds}")]);
    words.extend(counts);
    words
}

/// The load generator's `main`.
pub(crate) fn main() -> ExitCode {
    let args = Args::from_env();
    harness::raise_descriptor_limit();
    let result = match args.bench.as_str() {
        "closed" => closed::run(&args),
        "fair" => fair::run(&args),
        _ => args.unknown(),
    };
    match result {
        Ok(figures) => {
            figures.print();
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bench: load generator: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A connection to the server: blocking, TCP_NODELAY, closed by a reset so that thousands leave no TIME_WAIT behind.
fn connect(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?;
    Ok(stream)
}

/// CPU time of the server: its process, and the kernel thread that does deferred network work on its core.
struct ServerCpu {
    process: Cpu,
    kernel: Option<Cpu>,
}

impl ServerCpu {
    fn new(pid: u32) -> io::Result<Self> {
        Ok(Self {
            process: Cpu::of_process(pid)?,
            kernel: Cpu::of_ksoftirqd(crate::execute::SERVER_CORE),
        })
    }

    fn used(&self) -> io::Result<Duration> {
        let kernel = self.kernel.as_ref().map_or(Ok(Duration::ZERO), Cpu::used)?;
        Ok(self.process.used()? + kernel)
    }
}

/// Adds median and 99th percentile of latencies in nanoseconds.
fn with_latencies(figures: Figures, mut nanos: Vec<u64>) -> Figures {
    use crate::stats::percentile;
    nanos.sort_unstable();
    figures
        .with("p50_us", percentile(&nanos, 0.5) / 1e3)
        .with("p99_us", percentile(&nanos, 0.99) / 1e3)
}
