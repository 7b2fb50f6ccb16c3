//! The benches that serve: `echo` and `fair`.

use bingfa::coroutine;
use bingfa::net::{TcpListener, TcpStream};
use harness::{ECHO_BUFFER, Figures, compute_step};
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

static STEPS: AtomicU64 = AtomicU64::new(0);

/// Echoes what it reads, beside so many coroutines that compute.
pub(crate) fn serve(computing: u64, iterations: u64) {
    for seed in 0..computing {
        coroutine::spawn(move || {
            let mut x = seed;
            loop {
                x = compute_step(x, iterations);
                STEPS.fetch_add(1, Relaxed);
                coroutine::checkpoint();
            }
        });
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port to listen on");
    let port = listener
        .local_addr()
        .expect("a bound socket has an address")
        .port();
    let start = Instant::now();
    harness::serve_until_stdin_ends(port, move || {
        let rate = STEPS.load(Relaxed) as f64 / start.elapsed().as_secs_f64();
        Figures::new().with("compute_steps_per_s", rate)
    });
    loop {
        let (stream, _) = listener.accept().expect("accept");
        coroutine::spawn(move || echo(stream));
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
