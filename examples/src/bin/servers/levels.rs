//! P109: processes that hold threads that hold coroutines. The notes call that the ideal, and have
//! no program for it.
//!
//! Each thread listens to the same port by itself (`SO_REUSEPORT`), and the kernel chooses one for
//! each client, whose coroutine stays there. So threads and processes share nothing and wait
//! for nothing of each other. A process that dies takes its clients along, and another
//! takes its place.

use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bingfa::net::{SocketAddr, TcpListener, TcpStream};
use bingfa::process::{self, Builder, Event, JoinHandle, Sender};
use bingfa::thread::{self, sleep};
use bingfa::{Runtime, coroutine};
use bingfa_examples::{
    Carrier, Scale, converse, ended, must, need_descriptors, not_listening, serve,
};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Socket, Type};

use crate::talk::{ask, visit};
use crate::{Run, Shape};

pub(crate) fn echo(clients: u32, shape: Shape, run: Run, scale: Scale) -> io::Result<()> {
    need_descriptors(u64::from(clients) + 64)?; // children have the limits of their parent
    // Never listens, so no client comes here: it keeps the port while no process has it.
    let reserved = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, run.port)))?;
    let address = reserved.local_addr()?.as_socket().expect("an IPv4 address");
    let end = Event::new()?;
    let servers: io::Result<Vec<_>> = (1..=shape.processes)
        .map(|number| {
            let server = Server {
                name: format!("server {number}"),
                address,
                threads: shape.threads,
                scale,
                end: end.clone(),
            };
            let child = server.start()?;
            Ok(coroutine::spawn(move || server.keep(child)))
        })
        .collect();
    let servers = servers?;
    if clients == 0 {
        println!("listening on {address}, Ctrl-C ends it");
    } else {
        let begin = Instant::now();
        visit(address, clients, Carrier::Coroutine, move |mut stream| {
            for count in 0..run.rounds {
                let message = format!("hello {count}");
                ask(&mut stream, &message, &message)?;
            }
            Ok(())
        })?;
        println!("{clients} clients: {:.2} s", begin.elapsed().as_secs_f64());
        end.set();
    }
    for (process, server) in (1..).zip(servers) {
        let threads = server
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        for (thread, served) in (1..).zip(threads) {
            println!("process {process} thread {thread}: {served}");
        }
    }
    Ok(())
}

fn bind(address: SocketAddr) -> io::Result<Socket> {
    let bind = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?; // a restart finds the port free
        socket.set_reuse_port(true)?;
        socket.bind(&address.into())?;
        Ok(socket)
    };
    bind().map_err(|error| not_listening(address, error))
}

/// What a process is to do.
#[derive(Clone, Serialize, Deserialize)]
struct Server {
    name: String,
    address: SocketAddr,
    threads: u16,
    scale: Scale,
    end: Event,
}

/// What a thread has done.
#[derive(Serialize, Deserialize)]
struct Served {
    clients: u64,
    most: u64,
    bytes: u64,
}

impl fmt::Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Served {
            clients,
            most,
            bytes,
        } = self;
        write!(f, "{clients} clients, {most} at once, {bytes} bytes")
    }
}

impl Server {
    /// Starts the process and waits until it listens.
    fn start(&self) -> io::Result<JoinHandle<Vec<Served>>> {
        let (ready, is_ready) = process::channel(None)?;
        // A daemon: it does not outlive main, however that ends.
        let builder = Builder::new().name(self.name.clone()).daemon(true);
        let child = builder.spawn((self.clone(), ready), Server::run)?;
        match is_ready.recv() {
            Ok(()) => Ok(child),
            Err(never) => Err(ended(child)
                .err()
                .unwrap_or_else(|| io::Error::other(never))),
        }
    }

    /// Waits for the process's end; one that dies is replaced.
    fn keep(&self, mut child: JoinHandle<Vec<Served>>) -> io::Result<Vec<Served>> {
        loop {
            match child.join() {
                Ok(served) => return Ok(served),
                Err(died) => eprintln!("{died}; another takes its place"),
            }
            sleep(Duration::from_millis(100)); // one that dies at once is no full-time occupation
            child = self
                .start()
                .inspect_err(|error| eprintln!("error: {error}"))?;
        }
    }

    /// The process.
    fn run((server, ready): (Server, Sender<()>)) -> Vec<Served> {
        let threads: Vec<_> = (1..=server.threads)
            .map(|number| must(Thread::start(number, &server)))
            .collect();
        must(ready.send(()).map_err(io::Error::other));
        server.end.wait();
        threads.iter().map(Thread::served).collect()
    }
}

struct Thread {
    counts: Arc<Counts>,
    /// With one worker, which is the thread.
    _runtime: Runtime,
}

#[derive(Default)]
struct Counts {
    clients: AtomicU64,
    now: AtomicU64,
    most: AtomicU64,
    bytes: AtomicU64,
}

impl Thread {
    fn start(number: u16, server: &Server) -> io::Result<Thread> {
        let socket = bind(server.address)?;
        socket.listen(4096)?; // or as many as the kernel allows
        let listener = TcpListener::from(OwnedFd::from(socket));
        let name = format!("thread {number}");
        let runtime = Runtime::builder().name(name).workers(1).build()?;
        let counts = Arc::new(Counts::default());
        let (count, scale) = (counts.clone(), server.scale);
        runtime.spawn(move || {
            let error = serve(&listener, Carrier::Coroutine, move |stream| {
                count.serve(stream, number, scale)
            });
            eprintln!("error: {error}");
            process::exit(1); // and main starts another
        });
        let _runtime = runtime;
        Ok(Thread { counts, _runtime })
    }

    fn served(&self) -> Served {
        let of = |count: &AtomicU64| count.load(Relaxed); // one by one, as they are
        let Counts {
            clients,
            most,
            bytes,
            ..
        } = &*self.counts;
        Served {
            clients: of(clients),
            most: of(most),
            bytes: of(bytes),
        }
    }
}

impl Counts {
    /// A coroutine for each client. The sleep stands for a database, or another server.
    fn serve(&self, stream: TcpStream, number: u16, scale: Scale) -> io::Result<()> {
        let (pid, id, peer) = (process::id(), thread::current().id(), stream.peer_addr()?);
        println!(
            "process {pid} thread {number} coroutine {}: {peer}",
            id.as_u64()
        );
        self.clients.fetch_add(1, Relaxed);
        let now = self.now.fetch_add(1, Relaxed) + 1;
        self.most.fetch_max(now, Relaxed);
        let end = converse(stream, |data| {
            sleep(scale.seconds(0.1));
            self.bytes.fetch_add(data.len() as u64, Relaxed);
        });
        self.now.fetch_sub(1, Relaxed);
        end
    }
}
