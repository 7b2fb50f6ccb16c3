//! Servers, with their clients in the same program.
//!
//! In the notes servers and clients run for ever; here clients go so many rounds, and then
//! the program ends. With `--clients 0` there is only the server, for `nc` or `telnet`.

mod levels;
mod per_process;
mod talk;
mod tickets;
mod udp;
mod welcome;

use std::process::ExitCode;

use bingfa::process;
use bingfa_examples::{Carrier, Scale, exit};
use clap::{Args, Parser, Subcommand};

/// Servers, with their clients in the same program
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    program: Program,
    #[command(flatten)]
    scale: Scale,
}

#[derive(Subcommand)]
enum Program {
    /// P90: upper-case TCP server, a thread per connection
    #[command(visible_alias = "p90")]
    UpperThreads {
        /// How many clients say hello; 0: only the server, until Ctrl-C
        #[arg(long, default_value_t = 3)]
        clients: u32,
        #[command(flatten)]
        run: Run,
        /// One client, which sends what is typed, a line at a time, until 'q'
        #[arg(long)]
        keyboard: bool,
    },
    /// P91: upper-case TCP server, a process per connection
    #[command(visible_alias = "p91")]
    UpperProcesses {
        /// How many clients say hello; 0: only the server, until Ctrl-C
        #[arg(long, default_value_t = 3)]
        clients: u32,
        #[command(flatten)]
        children: Children,
        #[command(flatten)]
        run: Run,
        /// One client, which sends what is typed, a line at a time, until 'q'
        #[arg(long)]
        keyboard: bool,
    },
    /// P92: upper-case TCP server on coroutines, with 1,000 clients at once
    #[command(visible_alias = "p92")]
    UpperCoroutines {
        /// How many clients talk; 0: only the server, until Ctrl-C
        #[arg(long, default_value_t = 1000)]
        clients: u32,
        #[command(flatten)]
        run: Run,
        /// What runs the clients
        #[arg(long, value_enum, default_value_t = Carrier::Thread)]
        clients_on: Carrier,
    },
    /// P93: echo server on coroutines, with 100 clients at once
    #[command(visible_alias = "p93")]
    EchoCoroutines {
        /// How many clients talk; 0: only the server, until Ctrl-C
        #[arg(long, default_value_t = 100)]
        clients: u32,
        #[command(flatten)]
        run: Run,
    },
    /// P100: a server that greets one client at a time, 100 s each
    #[command(visible_alias = "p100")]
    Welcome {
        /// How many clients come; 0: only the server, until Ctrl-C
        #[arg(long, default_value_t = 2)]
        clients: u32,
        /// The server's port; 0 is any free one, the notes have 5002
        #[arg(long, default_value_t = 0)]
        port: u16,
    },
    /// P101: a server that greets every client at once, on a thread each, for 10 s
    #[command(visible_alias = "p101")]
    WelcomeThreads {
        /// How many clients come; 0: only the server, until Ctrl-C
        #[arg(long, default_value_t = 3)]
        clients: u32,
        /// The server's port; 0 is any free one, the notes have 5002
        #[arg(long, default_value_t = 0)]
        port: u16,
    },
    /// P102: a ticket office that serves one client at a time, 5 s each
    #[command(visible_alias = "p102")]
    Tickets {
        /// How many clients want a ticket; 0: only the server, until Ctrl-C
        #[arg(long, default_value_t = 3)]
        clients: u32,
        /// The server's port; 0 is any free one, the notes have 5002
        #[arg(long, default_value_t = 0)]
        port: u16,
    },
    /// P103: a ticket office with a process per client
    #[command(visible_alias = "p103")]
    TicketsProcesses {
        /// How many clients want a ticket; 0: only the server, until Ctrl-C
        #[arg(long, default_value_t = 3)]
        clients: u32,
        #[command(flatten)]
        children: Children,
        /// The server's port; 0 is any free one, the notes have 5002
        #[arg(long, default_value_t = 0)]
        port: u16,
    },
    /// P104: datagrams: no connection, and their limits are kept
    #[command(visible_alias = "p104")]
    Udp {
        /// How many clients send datagrams; more would overrun the server's receive buffer
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=50))]
        clients: u32,
    },
    /// P109: an echo server of processes that hold threads that hold coroutines
    #[command(visible_alias = "p109")]
    Levels {
        /// How many clients talk; 0: only the server, until Ctrl-C
        #[arg(long, default_value_t = 100)]
        clients: u32,
        #[command(flatten)]
        shape: Shape,
        #[command(flatten)]
        run: Run,
    },
}

#[derive(Args, Clone, Copy)]
struct Shape {
    /// How many processes
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=100))]
    processes: u16,
    /// How many threads each of them has
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=100))]
    threads: u16,
}

#[derive(Args, Clone, Copy)]
struct Run {
    /// How many messages each client sends
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// The server's port; 0 is any free one
    #[arg(long, default_value_t = 0)]
    port: u16,
}

#[derive(Args, Clone, Copy)]
struct Children {
    /// How many processes there are at once; the next clients wait
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..))]
    at_most: u16,
}

fn main() -> ExitCode {
    process::init();
    let Cli { program, scale } = Cli::parse();
    exit(match program {
        Program::UpperThreads {
            run,
            keyboard: true,
            ..
        } => talk::keyboard(run.port, talk::start_threads),
        Program::UpperThreads { clients, run, .. } => talk::upper_threads(clients, run, scale),
        Program::UpperProcesses {
            children: Children { at_most },
            run,
            keyboard: true,
            ..
        } => talk::keyboard(run.port, |listener| {
            talk::start_processes(listener, at_most, 1)
        }),
        Program::UpperProcesses {
            clients,
            children: Children { at_most },
            run,
            ..
        } => talk::upper_processes(clients, at_most, run, scale),
        Program::UpperCoroutines {
            clients,
            run,
            clients_on,
        } => talk::upper_coroutines(clients, run, clients_on),
        Program::EchoCoroutines { clients, run } => talk::echo_coroutines(clients, run),
        Program::Welcome { clients, port } => welcome::one_by_one(clients, port, scale),
        Program::WelcomeThreads { clients, port } => welcome::threads(clients, port, scale),
        Program::Tickets { clients, port } => tickets::one_by_one(clients, port, scale),
        Program::TicketsProcesses {
            clients,
            children: Children { at_most },
            port,
        } => tickets::processes(clients, at_most, port, scale),
        Program::Udp { clients } => udp::exchange(clients),
        Program::Levels {
            clients,
            shape,
            run,
        } => levels::echo(clients, shape, run, scale),
    })
}
