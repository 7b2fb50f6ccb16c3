//! may: stackful coroutines that may move between its workers.

use harness::{Args, ECHO_BUFFER, Figures, Memory, SPAWN_WAVE};
use may::coroutine::{self, JoinHandle, yield_now};
use may::net::{TcpListener, TcpStream};
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

static SUM: AtomicU64 = AtomicU64::new(0);

pub(crate) fn run(args: &Args) {
    // Stacks for a whole wave of `spawn`: with its default of 1,000, may would map and unmap the other 9,000 each time.
    may::config()
        .set_workers(args.number("workers"))
        .set_pool_capacity(2 * SPAWN_WAVE);
    match args.bench.as_str() {
        "switch" => switch(args),
        "spawn" => spawn(args),
        "parked" => parked(args.number("tasks")),
        "echo" => inside(serve),
        _ => args.unknown(),
    }
}

fn start<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    // SAFETY: what runs here uses no thread-local storage across a switch, and no frame comes near may's stack of
    // 32 KiB: the two reasons why may calls its spawn unsafe.
    unsafe { coroutine::spawn(f) }
}

/// Runs `f` as a coroutine and waits for it.
fn inside<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    start(f).join().expect("the main coroutine ends well")
}

fn switch(args: &Args) {
    let tasks: u64 = args.number("tasks");
    let ns = harness::switch_rounds(args.number("seconds"), |switches| {
        inside(move || yields(tasks, switches / tasks))
    });
    Figures::new().with("ns_per_switch", ns).print();
}

fn yields(tasks: u64, each: u64) -> Duration {
    let begin = Arc::new(OnceLock::new());
    let handles: Vec<_> = (0..tasks)
        .map(|_| {
            let begin = Arc::clone(&begin);
            start(move || {
                begin.get_or_init(Instant::now);
                let mut done = 0;
                while done < each {
                    yield_now();
                    done += 1;
                }
                done
            })
        })
        .collect();
    let done: u64 = handles
        .into_iter()
        .map(|handle| handle.join().expect("no coroutine panics"))
        .sum();
    let taken = begin.get().expect("a coroutine has run").elapsed();
    assert_eq!(done, tasks * each);
    taken
}

fn spawn(args: &Args) {
    let total: usize = args.number("total");
    let taken = inside(move || {
        wave();
        let begin = Instant::now();
        for _ in 0..total / SPAWN_WAVE {
            wave();
        }
        begin.elapsed()
    });
    assert_eq!(SUM.load(Relaxed), (total + SPAWN_WAVE) as u64);
    Figures::new()
        .with("ns_per_task", taken.as_nanos() as f64 / total as f64)
        .print();
}

fn wave() {
    let handles: Vec<_> = (0..SPAWN_WAVE)
        .map(|_| start(|| SUM.fetch_add(1, Relaxed)))
        .collect();
    for handle in handles {
        handle.join().expect("no coroutine panics");
    }
}

fn parked(total: usize) {
    let before = Memory::now();
    let handles: Vec<_> = (0..total)
        .map(|_| {
            start(|| {
                SUM.fetch_add(1, Relaxed);
                loop {
                    coroutine::park();
                }
            })
        })
        .collect();
    while SUM.load(Relaxed) < total as u64 {
        std::thread::yield_now();
    }
    Figures::new().with_memory_per_task(before, total).print();
    std::mem::forget(handles);
    std::process::exit(0);
}

fn serve() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port to listen on");
    let port = listener
        .local_addr()
        .expect("a bound socket has an address")
        .port();
    harness::serve_until_stdin_ends(port, Figures::new);
    loop {
        let (stream, _) = listener.accept().expect("accept");
        start(move || echo(stream));
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
