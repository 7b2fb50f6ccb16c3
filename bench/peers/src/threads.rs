//! `std`: an OS thread for each task or connection.

use harness::{Args, ECHO_BUFFER, Figures, Memory, SPAWN_WAVE};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::{self, Builder};
use std::time::Instant;

static SUM: AtomicU64 = AtomicU64::new(0);

/// Small, so that thousands fit; std's own default is 2 MiB, which costs address space only.
const STACK: usize = 64 * 1024;

pub(crate) fn run(args: &Args) {
    match args.bench.as_str() {
        "spawn" => spawn(args.number("total")),
        "parked" => parked(args.number("tasks")),
        "echo" => serve(),
        _ => args.unknown(),
    }
}

fn spawn(total: usize) {
    let start = Instant::now();
    for _ in 0..total / SPAWN_WAVE {
        let start_one = |_| {
            let thread = Builder::new()
                .stack_size(STACK)
                .spawn(|| SUM.fetch_add(1, Relaxed));
            thread.expect("the system has room for a wave of threads")
        };
        let handles: Vec<_> = (0..SPAWN_WAVE).map(start_one).collect();
        for handle in handles {
            handle.join().expect("no thread panics");
        }
    }
    let taken = start.elapsed();
    assert_eq!(SUM.load(Relaxed), total as u64);
    Figures::new()
        .with("ns_per_task", taken.as_nanos() as f64 / total as f64)
        .print();
}

fn parked(total: usize) {
    let before = Memory::now();
    for _ in 0..total {
        let body = || {
            SUM.fetch_add(1, Relaxed);
            loop {
                thread::park();
            }
        };
        Builder::new()
            .stack_size(STACK)
            .spawn(body)
            .expect("the system has room for the threads");
    }
    while SUM.load(Relaxed) < total as u64 {
        thread::yield_now();
    }
    Figures::new().with_memory_per_task(before, total).print();
    std::process::exit(0);
}

fn serve() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port to listen on");
    let port = listener
        .local_addr()
        .expect("a bound socket has an address")
        .port();
    harness::serve_until_stdin_ends(port, Figures::new);
    for stream in listener.incoming() {
        let stream = stream.expect("accept");
        Builder::new()
            .stack_size(STACK)
            .spawn(move || echo(stream))
            .expect("room for a thread per connection");
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
