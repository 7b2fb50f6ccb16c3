//! The main job: an upper-case TCP server on coroutines, and thousands of clients that talk
//! to it from a second process of this binary.
//!
//! The handler is `upper_case` in the library of the examples: plain blocking calls, the very
//! same function under `--carrier coroutine` and `--carrier thread`.

mod clients;

use std::fmt::Display;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::process::{Command, ExitCode, Stdio};

use bingfa::net::SocketAddr;
use bingfa_examples::{Carrier, Scale, listen, need_descriptors, serve, upper_case};
use clap::{Args, Parser, Subcommand};

/// An upper-case TCP server on coroutines, under the load of many clients.
///
/// Ends with a table; the exit status is 1 if any answer was wrong, any client failed, or
/// nothing was answered. BINGFA_IO=uring|epoll chooses the I/O backend, BINGFA_WORKERS the
/// number of worker threads (of the server and of the clients).
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    role: Option<Role>,
    #[command(flatten)]
    load: Load,
}

#[derive(Subcommand)]
enum Role {
    /// What the second process does
    #[command(hide = true)]
    Clients { addresses: Vec<SocketAddr> },
}

#[derive(Args)]
struct Load {
    /// How many clients are connected at once
    #[arg(long, value_name = "N", default_value_t = 1000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    clients: u32,
    /// How long they ask
    #[arg(long, value_name = "S", default_value_t = 3.0, value_parser = positive)]
    seconds: f64,
    /// Bytes of a message
    #[arg(long, value_name = "BYTES", default_value_t = 64)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1 << 26))]
    size: u32,
    /// What runs the server's handlers; clients are always coroutines
    #[arg(long, value_enum, default_value_t = Carrier::Coroutine)]
    carrier: Carrier,
    #[command(flatten)]
    scale: Scale,
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if seconds > 0.0 && seconds <= 1e6 => Ok(seconds),
        _ => Err("expected seconds, above 0 and at most 1000000".into()),
    }
}

/// Open files beside the connections: standard streams, listeners, and those of the runtime.
const OTHER_FILES: u64 = 200;

/// A connection is told from others by its two addresses and ports, and a client's address
/// has 28,232 ports to give by default. So there is a server address for so many clients.
const CLIENTS_PER_ADDRESS: u32 = 20_000;

fn main() -> ExitCode {
    let Cli { role, load } = Cli::parse();
    let all_is_well =
        need_descriptors(u64::from(load.clients) + OTHER_FILES).and_then(|()| match role {
            None => serve_and_measure(&load),
            Some(Role::Clients { addresses }) => clients::run(&load, &addresses),
        });
    match all_is_well {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The first process: serves until the second one has ended, then prints the table.
fn serve_and_measure(load: &Load) -> io::Result<bool> {
    let mut addresses = Vec::new();
    for i in 0..load.clients.div_ceil(CLIENTS_PER_ADDRESS) {
        let ip = Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + i); // all of 127 is ours
        let listener = listen(SocketAddr::from((ip, 0)))?;
        addresses.push(listener.local_addr()?.to_string());
        let carrier = load.carrier;
        carrier.spawn(format!("server {ip}"), move || {
            let error = serve(&listener, carrier, upper_case);
            eprintln!("error: the server ends: {error}"); // and its clients will notice
        })?;
    }
    // A plain blocking wait: this thread serves nobody.
    let clients = Command::new(std::env::current_exe()?)
        .args(["--clients", &load.clients.to_string()])
        .args(["--seconds", &load.seconds.to_string()])
        .args(["--size", &load.size.to_string()])
        .args(["--scale", &load.scale.factor().to_string()])
        .arg("clients")
        .args(addresses)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit()) // the progress bar, and what goes wrong
        .spawn()?
        .wait_with_output()?;
    let measured = String::from_utf8_lossy(&clients.stdout);
    if clients.status.code().is_none() || measured.is_empty() {
        return Err(io::Error::other(format!(
            "the clients' process has measured nothing: {}",
            clients.status
        )));
    }
    let info = bingfa::runtime_info();
    let backend = format!("{} ({})", info.io_backend, info.io_reason);
    let mut table = Table(measured.into_owned());
    table.row("carrier", load.carrier);
    match load.carrier {
        Carrier::Coroutine => {
            table.row("workers", info.workers);
            table.row("I/O backend", backend);
        }
        Carrier::Thread => {
            table.row("workers", "none: a thread per connection");
            table.row(
                "I/O backend",
                format!("blocking calls; the clients': {backend}"),
            );
        }
    }
    table.print()?;
    Ok(clients.status.success())
}

/// Names and values, line by line. The clients' process makes the first part of it.
#[derive(Default)]
struct Table(String);

impl Table {
    fn row(&mut self, name: &str, value: impl Display) {
        self.0.push_str(&format!("{name:<14} {value}\n"));
    }

    fn print(&self) -> io::Result<()> {
        io::stdout().write_all(self.0.as_bytes())
    }
}
