//! smol: one `Executor`, run by as many threads as there are to be workers.

use harness::{Args, ECHO_BUFFER, Figures, Memory, SPAWN_WAVE, process_cpu_seconds};
use smol::channel::Receiver;
use smol::future::yield_now;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::{TcpListener, TcpStream};
use smol::{Executor, Task, Timer};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

static EXECUTOR: Executor<'static> = Executor::new();
static SUM: AtomicU64 = AtomicU64::new(0);

pub(crate) fn run(args: &Args) {
    for _ in 1..args.number("workers") {
        std::thread::spawn(|| smol::block_on(EXECUTOR.run(smol::future::pending::<()>())));
    }
    match args.bench.as_str() {
        "switch" => switch(args),
        "spawn" => spawn(args),
        "parked" => inside(parked(args.number("tasks"))),
        "timers" => inside(timers(args.number("sleepers"))),
        "echo" => inside(serve()),
        _ => args.unknown(),
    }
}

/// Runs `future` as a task; this thread is a worker meanwhile.
fn inside<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
    smol::block_on(EXECUTOR.run(EXECUTOR.spawn(future)))
}

fn switch(args: &Args) {
    let tasks: u64 = args.number("tasks");
    let ns = harness::switch_rounds(args.number("seconds"), |switches| {
        inside(yields(tasks, switches / tasks))
    });
    Figures::new().with("ns_per_switch", ns).print();
}

async fn yields(tasks: u64, each: u64) -> Duration {
    let start = Arc::new(OnceLock::new());
    let handles: Vec<_> = (0..tasks)
        .map(|_| {
            let start = Arc::clone(&start);
            EXECUTOR.spawn(async move {
                start.get_or_init(Instant::now);
                let mut done = 0;
                while done < each {
                    yield_now().await;
                    done += 1;
                }
                done
            })
        })
        .collect();
    let mut done = 0;
    for handle in handles {
        done += handle.await;
    }
    let taken = start.get().expect("a task has run").elapsed();
    assert_eq!(done, tasks * each);
    taken
}

fn spawn(args: &Args) {
    let total: usize = args.number("total");
    let taken = match args.text("alive") {
        Some("all") => inside(all_alive(total)),
        _ => inside(waves(total)),
    };
    Figures::new()
        .with("ns_per_task", taken.as_nanos() as f64 / total as f64)
        .print();
}

async fn waves(total: usize) -> Duration {
    wave().await;
    let start = Instant::now();
    for _ in 0..total / SPAWN_WAVE {
        wave().await;
    }
    let taken = start.elapsed();
    assert_eq!(SUM.load(Relaxed), (total + SPAWN_WAVE) as u64);
    taken
}

async fn wave() {
    let handles: Vec<_> = (0..SPAWN_WAVE)
        .map(|_| {
            EXECUTOR.spawn(async {
                SUM.fetch_add(1, Relaxed);
            })
        })
        .collect();
    for handle in handles {
        handle.await;
    }
}

async fn all_alive(total: usize) -> Duration {
    let start = Instant::now();
    let (gate, at_gate) = smol::channel::bounded::<()>(1);
    let handles = park_tasks(total, at_gate).await;
    gate.close();
    for handle in handles {
        handle.await;
    }
    start.elapsed()
}

/// Starts `total` tasks that wait until the channel is closed, and returns when all of them do.
async fn park_tasks(total: usize, gate: Receiver<()>) -> Vec<Task<()>> {
    let handles = (0..total)
        .map(|_| {
            let gate = gate.clone();
            EXECUTOR.spawn(async move {
                SUM.fetch_add(1, Relaxed);
                let closed = gate.recv().await;
                assert!(closed.is_err());
            })
        })
        .collect();
    while SUM.load(Relaxed) < total as u64 {
        yield_now().await;
    }
    handles
}

async fn parked(total: usize) {
    let before = Memory::now();
    let (gate, at_gate) = smol::channel::bounded::<()>(1);
    park_tasks(total, at_gate)
        .await
        .into_iter()
        .for_each(Task::detach);
    Figures::new().with_memory_per_task(before, total).print();
    drop(gate);
    std::process::exit(0);
}

async fn timers(sleepers: usize) {
    let mut figures = Figures::new();
    for round in ["cold", "warm"] {
        let (cpu, start) = (process_cpu_seconds(), Instant::now());
        let handles: Vec<_> = harness::sleep_lengths(sleepers)
            .map(|length| {
                EXECUTOR.spawn(async move {
                    Timer::after(length).await;
                    SUM.fetch_add(1, Relaxed);
                })
            })
            .collect();
        for handle in handles {
            handle.await;
        }
        figures = figures
            .with(format!("{round}_cpu_s"), process_cpu_seconds() - cpu)
            .with(format!("{round}_wall_s"), start.elapsed().as_secs_f64());
    }
    assert_eq!(SUM.load(Relaxed), 2 * sleepers as u64);
    figures.print();
}

async fn serve() {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port to listen on");
    let port = listener
        .local_addr()
        .expect("a bound socket has an address")
        .port();
    harness::serve_until_stdin_ends(port, Figures::new);
    loop {
        let (stream, _) = listener.accept().await.expect("accept");
        EXECUTOR.spawn(echo(stream)).detach();
    }
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
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
