//! tokio, as `tokio` (multi_thread) and as `tokio-current` (current_thread).

use harness::{Args, ECHO_BUFFER, Figures, Memory, SPAWN_WAVE, compute_step, process_cpu_seconds};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio::task::yield_now;

static SUM: AtomicU64 = AtomicU64::new(0);

pub(crate) fn run(args: &Args) {
    let runtime = runtime(args);
    match args.bench.as_str() {
        "switch" => switch(&runtime, args),
        "spawn" => spawn(&runtime, args),
        "parked" => inside(&runtime, parked(args.number("tasks"))),
        "timers" => inside(&runtime, timers(args.number("sleepers"))),
        "echo" => inside(&runtime, serve(0, 0)),
        "fair" => inside(
            &runtime,
            serve(args.number("computing"), args.number("iterations")),
        ),
        _ => args.unknown(),
    }
}

fn runtime(args: &Args) -> Runtime {
    let mut builder = match args.contender.as_str() {
        "tokio-current" => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    if args.contender == "tokio" {
        builder.worker_threads(args.number("workers"));
    }
    builder.enable_all().build().expect("a tokio runtime")
}

/// Runs `future` as a task, on a worker and not on the thread that waits for it.
fn inside<T: Send + 'static>(
    runtime: &Runtime,
    future: impl Future<Output = T> + Send + 'static,
) -> T {
    runtime.block_on(async { tokio::spawn(future).await.expect("the main task ends well") })
}

fn switch(runtime: &Runtime, args: &Args) {
    let tasks: u64 = args.number("tasks");
    let ns = harness::switch_rounds(args.number("seconds"), |switches| {
        inside(runtime, yields(tasks, switches / tasks))
    });
    Figures::new().with("ns_per_switch", ns).print();
}

async fn yields(tasks: u64, each: u64) -> Duration {
    let start = Arc::new(OnceLock::new());
    let handles: Vec<_> = (0..tasks)
        .map(|_| {
            let start = Arc::clone(&start);
            tokio::spawn(async move {
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
        done += handle.await.expect("no task panics");
    }
    let taken = start.get().expect("a task has run").elapsed();
    assert_eq!(done, tasks * each);
    taken
}

fn spawn(runtime: &Runtime, args: &Args) {
    let total: usize = args.number("total");
    let taken = match args.text("alive") {
        Some("all") => inside(runtime, all_alive(total)),
        _ => inside(runtime, waves(total)),
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
            tokio::spawn(async {
                SUM.fetch_add(1, Relaxed);
            })
        })
        .collect();
    for handle in handles {
        handle.await.expect("no task panics");
    }
}

async fn all_alive(total: usize) -> Duration {
    let start = Instant::now();
    let gate = Arc::new(Notify::new());
    let handles = park_tasks(total, &gate).await;
    gate.notify_waiters();
    for handle in handles {
        handle.await.expect("no task panics");
    }
    start.elapsed()
}

/// Starts `total` tasks that wait at `gate`, and returns when all of them do.
async fn park_tasks(total: usize, gate: &Arc<Notify>) -> Vec<tokio::task::JoinHandle<()>> {
    let handles = (0..total)
        .map(|_| {
            let gate = Arc::clone(gate);
            tokio::spawn(async move {
                // Made before the task counts as parked: a later notify_waiters reaches it.
                let released = gate.notified();
                SUM.fetch_add(1, Relaxed);
                released.await;
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
    let gate = Arc::new(Notify::new());
    drop(park_tasks(total, &gate).await);
    Figures::new().with_memory_per_task(before, total).print();
    std::process::exit(0);
}

async fn timers(sleepers: usize) {
    let mut figures = Figures::new();
    for round in ["cold", "warm"] {
        let (cpu, start) = (process_cpu_seconds(), Instant::now());
        let handles: Vec<_> = harness::sleep_lengths(sleepers)
            .map(|length| {
                tokio::spawn(async move {
                    tokio::time::sleep(length).await;
                    SUM.fetch_add(1, Relaxed);
                })
            })
            .collect();
        for handle in handles {
            handle.await.expect("no task panics");
        }
        figures = figures
            .with(format!("{round}_cpu_s"), process_cpu_seconds() - cpu)
            .with(format!("{round}_wall_s"), start.elapsed().as_secs_f64());
    }
    assert_eq!(SUM.load(Relaxed), 2 * sleepers as u64);
    figures.print();
}

async fn serve(computing: u64, iterations: u64) {
    for seed in 0..computing {
        tokio::spawn(async move {
            let mut x = seed;
            loop {
                x = compute_step(x, iterations);
                SUM.fetch_add(1, Relaxed);
                yield_now().await;
            }
        });
    }
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port to listen on");
    let port = listener
        .local_addr()
        .expect("a bound socket has an address")
        .port();
    let start = Instant::now();
    harness::serve_until_stdin_ends(port, move || {
        let rate = SUM.load(Relaxed) as f64 / start.elapsed().as_secs_f64();
        Figures::new().with("compute_steps_per_s", rate)
    });
    loop {
        let (stream, _) = listener.accept().await.expect("accept");
        tokio::spawn(echo(stream));
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
