//! The second process: clients on coroutines, and what they measure.

use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bingfa::net::{SocketAddr, TcpStream};
use bingfa::{coroutine, time};
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};

use crate::{Load, Table};

/// How long a client waits for an answer before it calls the server dead.
const PATIENCE: Duration = Duration::from_secs(30);

/// Connects all clients, lets them ask for as long as was said, and prints their part of the
/// table. True if every client got right answers, and there were some.
pub(crate) fn run(load: &Load, addresses: &[SocketAddr]) -> io::Result<bool> {
    let duration = load.scale.seconds(load.seconds);
    let bar = progress_bar(duration);
    let tally = Arc::new(SharedTally::default());

    // First all connect, so that all are there when the clock starts.
    bar.set_message(format!("connecting {} clients", load.clients));
    let size = load.size as usize;
    let connecting: Vec<_> = (0..load.clients)
        .zip(addresses.iter().copied().cycle())
        .map(|(number, address)| {
            let tally = tally.clone();
            coroutine::spawn(move || {
                time::timeout(PATIENCE, || Client::connect(number, address, size, &tally))?
            })
        })
        .collect();
    let mut clients = Vec::new();
    for client in connecting {
        match client.join() {
            Ok(Ok(client)) => clients.push(client),
            Ok(Err(error)) => tally.lock().failed(&error),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    let begin = Instant::now();
    let end = begin + duration;
    let mut asking: Vec<_> = clients
        .into_iter()
        .map(|client| {
            let tally = tally.clone();
            coroutine::spawn(move || {
                // One timer for the client's whole life: its waits cost nothing more.
                let asked = time::timeout_at(end + PATIENCE, || client.ask_until(end, &tally));
                if let Err(error) = asked.unwrap_or_else(|elapsed| Err(elapsed.into())) {
                    tally.lock().failed(&error);
                }
            })
        })
        .collect();
    while let Some(client) = asking.pop() {
        let Err(still_asking) = client.join_timeout(Duration::from_millis(100)) else {
            continue;
        };
        asking.push(still_asking);
        bar.set_position(begin.elapsed().min(duration).as_millis() as u64);
        bar.set_message(format!("{} answers", tally.lock().latency.len()));
    }
    let elapsed = begin.elapsed();
    bar.finish_and_clear();
    report(load, elapsed, &tally.lock())
}

/// On standard error, and only if that is a terminal.
fn progress_bar(duration: Duration) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {percent:>3}% {msg}")
        .expect("the template is well-formed");
    ProgressBar::new(duration.as_millis() as u64).with_style(style)
}

/// One connection, and what is said on it.
struct Client {
    stream: TcpStream,
    message: Vec<u8>,
    expected: Vec<u8>,
    answer: Vec<u8>,
    number: u32,
    asked: u64,
}

impl Client {
    /// Connects and asks once: only an answer proves that the server has accepted.
    fn connect(
        number: u32,
        address: SocketAddr,
        size: usize,
        tally: &SharedTally,
    ) -> io::Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let mut alphabet = *b"abcdefghijklmnopqrstuvwxyz";
        alphabet.rotate_left(number as usize % 26);
        let mut message = alphabet.repeat(size / 26 + 1);
        message.truncate(size);
        let mut client = Client {
            stream,
            message,
            expected: vec![0; size],
            answer: vec![0; size],
            number,
            asked: 0,
        };
        if !client.ask()? {
            tally.lock().mismatches += 1;
        }
        Ok(client)
    }

    /// Asks one question after the other.
    fn ask_until(mut self, end: Instant, tally: &SharedTally) -> io::Result<()> {
        let mut before = Instant::now();
        while before < end {
            let right = self.ask()?;
            let after = Instant::now();
            tally.lock().answered(after - before, right);
            before = after;
        }
        Ok(())
    }

    /// Sends the next message, waits for its answer, and tells whether it is the right one.
    fn ask(&mut self) -> io::Result<bool> {
        // No two messages are alike, so that an answer to another one is seen. (If this does
        // not fit into a short message, its beginning has to do.)
        let _ = write!(
            &mut self.message[..],
            "{} of client {} ",
            self.asked,
            self.number
        );
        self.asked += 1;
        self.expected.copy_from_slice(&self.message);
        self.expected.make_ascii_uppercase();

        // What the kernel's buffers hold anyway can be written before anything is read. More
        // than that needs somebody who reads meanwhile, or both sides wait for the other.
        if self.message.len() <= 32 << 10 {
            self.stream.write_all(&self.message)?;
            self.stream.read_exact(&mut self.answer)?;
        } else {
            let mut stream = &self.stream;
            coroutine::scope(|scope| {
                let writer = scope.spawn_local(|| (&self.stream).write_all(&self.message));
                stream.read_exact(&mut self.answer)?;
                writer.join().expect("writing does not panic")
            })?;
        }
        Ok(self.answer == self.expected)
    }
}

/// What all clients have measured together.
struct Tally {
    latency: Histogram<u64>,
    mismatches: u64,
    failed: u64,
    first_failure: Option<String>,
}

impl Tally {
    fn answered(&mut self, after: Duration, right: bool) {
        self.latency.saturating_record(after.as_nanos() as u64);
        self.mismatches += u64::from(!right);
    }

    fn failed(&mut self, error: &io::Error) {
        self.failed += 1;
        self.first_failure.get_or_insert_with(|| error.to_string());
    }
}

/// A std lock is fine between coroutines as long as nothing waits while it is held.
struct SharedTally(Mutex<Tally>);

impl SharedTally {
    fn lock(&self) -> MutexGuard<'_, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for SharedTally {
    fn default() -> Self {
        Self(Mutex::new(Tally {
            // From 1 us to 100 s, to three digits.
            latency: Histogram::new_with_bounds(1_000, 100_000_000_000, 3)
                .expect("the bounds are in order"),
            mismatches: 0,
            failed: 0,
            first_failure: None,
        }))
    }
}

fn report(load: &Load, elapsed: Duration, tally: &Tally) -> io::Result<bool> {
    let answers = tally.latency.len();
    let percentile = |quantile: f64| {
        let nanos = tally.latency.value_at_quantile(quantile);
        format!("{:.3} ms", nanos as f64 / 1e6)
    };
    let mut table = Table::default();
    table.row("clients", load.clients);
    table.row("message", format!("{} bytes", load.size));
    table.row("seconds", format!("{:.2}", elapsed.as_secs_f64()));
    table.row("requests", answers);
    table.row(
        "requests/s",
        format!("{:.0}", answers as f64 / elapsed.as_secs_f64()),
    );
    table.row("p50", percentile(0.5));
    table.row("p99", percentile(0.99));
    table.row("p99.9", percentile(0.999));
    table.row("mismatches", tally.mismatches);
    table.row("failed clients", tally.failed);
    table.print()?;
    if let Some(error) = &tally.first_failure {
        eprintln!(
            "error: {} of {} clients failed; the first: {error}",
            tally.failed, load.clients
        );
    }
    Ok(answers > 0 && tally.mismatches == 0 && tally.failed == 0)
}
