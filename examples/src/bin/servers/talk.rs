//! P90 to P93: servers that answer whatever they are told.

use std::io::{self, Read, Write};
use std::net::Ipv4Addr;

use bingfa::net::{SocketAddr, TcpListener, TcpStream};
use bingfa::process;
use bingfa::thread::{self, sleep};
use bingfa_examples::{
    Carrier, Scale, Task, accept_loop, converse, listen, need_descriptors, report, serve,
    upper_case,
};

use crate::Run;
use crate::per_process::Places;

/// P90. The notes' listener is on port 8002, or 8080 in the version with a keyboard.
pub(crate) fn upper_threads(clients: u32, run: Run, scale: Scale) -> io::Result<()> {
    let server = Server::start(Ipv4Addr::LOCALHOST, run.port, clients, start_threads)?;
    server.visit(clients, Carrier::Thread, hello(run, scale))
}

/// P91. In the notes the port is bound on import, so that a spawned child binds it again, or it
/// is 81, which only root has.
pub(crate) fn upper_processes(
    clients: u32,
    at_most: u16,
    run: Run,
    scale: Scale,
) -> io::Result<()> {
    let server = Server::start(Ipv4Addr::LOCALHOST, run.port, clients, |listener| {
        start_processes(listener, at_most, clients)
    })?;
    server.visit(clients, Carrier::Thread, hello(run, scale))
}

pub(crate) fn start_threads(listener: TcpListener) -> io::Result<Task<io::Error>> {
    Carrier::Thread.spawn("server".into(), move || {
        serve(&listener, Carrier::Thread, print_and_upper_case)
    })
}

pub(crate) fn start_processes(
    listener: TcpListener,
    at_most: u16,
    clients: u32,
) -> io::Result<Task<io::Error>> {
    let places = Places::new(at_most, clients)?;
    Carrier::Thread.spawn("server".into(), move || {
        accept_loop(&listener, |stream, peer| {
            places.serve(stream, peer, (), print_who_and_upper_case)
        })
    })
}

fn print_who_and_upper_case((stream, peer, ()): (TcpStream, SocketAddr, ())) {
    println!("客户端连接成功 {peer}, 进程{}", process::id());
    let talked = converse(stream, |data| {
        println!("从客户端收到了：{}", String::from_utf8_lossy(data));
        data.make_ascii_uppercase();
    });
    report(peer, talked);
}

/// A client of P90 and P91.
fn hello(run: Run, scale: Scale) -> impl Fn(TcpStream) -> io::Result<()> + Clone + Send + 'static {
    move |mut stream| {
        for _ in 0..run.rounds {
            println!("{}", ask(&mut stream, "hello", "HELLO")?);
            sleep(scale.seconds(2.0));
        }
        Ok(())
    }
}

fn print_and_upper_case(stream: TcpStream) -> io::Result<()> {
    converse(stream, |data| {
        println!("{}", String::from_utf8_lossy(data));
        data.make_ascii_uppercase();
    })
}

/// P90 and P91 with a client whose words are typed.
pub(crate) fn keyboard(
    port: u16,
    start: impl FnOnce(TcpListener) -> io::Result<Task<io::Error>>,
) -> io::Result<()> {
    let listener = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    let address = listener.local_addr()?;
    start(listener)?;
    let mut stream = TcpStream::connect(address)?;
    for line in bingfa::io::stdin().lines() {
        let line = line?;
        match line.trim() {
            "" => continue, // nothing to send, so nothing would come back
            "q" => break,
            words => println!("{}", ask(&mut stream, words, &words.to_ascii_uppercase())?),
        }
    }
    Ok(())
}

/// P92. Each client says its own name, and has to hear just that, in order.
pub(crate) fn upper_coroutines(clients: u32, run: Run, clients_on: Carrier) -> io::Result<()> {
    let server = Server::start(Ipv4Addr::LOCALHOST, run.port, clients, |listener| {
        Carrier::Coroutine.spawn("server".into(), move || {
            serve(&listener, Carrier::Coroutine, upper_case)
        })
    })?;
    server.visit(clients, clients_on, move |mut stream| {
        let current = thread::current(); // in a coroutine, that coroutine
        let name = current.name().unwrap_or_default();
        for num in 0..run.rounds {
            let message = format!("{name} say {num}");
            println!(
                "{}",
                ask(&mut stream, &message, &message.to_ascii_uppercase())?
            );
        }
        Ok(())
    })
}

/// P93. Bound to every interface (0.0.0.0), reached through the loopback one.
pub(crate) fn echo_coroutines(clients: u32, run: Run) -> io::Result<()> {
    let server = Server::start(Ipv4Addr::UNSPECIFIED, run.port, clients, |listener| {
        Carrier::Coroutine.spawn("server".into(), move || {
            // The notes' handler answers first and looks for the end of the stream later.
            serve(&listener, Carrier::Coroutine, |stream| {
                converse(stream, |data| {
                    println!("recv: {}", String::from_utf8_lossy(data));
                })
            })
        })
    })?;
    server.visit(clients, Carrier::Thread, move |mut stream| {
        let ident = thread::current().id().as_u64();
        for count in 0..run.rounds {
            let message = format!("hello {count}");
            let reply = ask(&mut stream, &message, &message)?;
            println!("[{ident}]recv from server: {reply}");
        }
        Ok(())
    })
}

/// A server that runs beside the clients. It is a daemon: it ends when `main` does.
struct Server {
    address: SocketAddr,
    task: Task<io::Error>,
}

impl Server {
    fn start(
        ip: Ipv4Addr,
        port: u16,
        clients: u32,
        spawn: impl FnOnce(TcpListener) -> io::Result<Task<io::Error>>,
    ) -> io::Result<Server> {
        if clients > 0 {
            // Both ends of every connection are in this process, and some files are open.
            need_descriptors(2 * u64::from(clients) + 64)?;
        }
        let listener = listen(SocketAddr::from((ip, port)))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, listener.local_addr()?.port()));
        let task = spawn(listener)?;
        Ok(Server { address, task })
    }

    /// See [`visit`]. Without clients: until the server fails.
    fn visit(
        self,
        clients: u32,
        carrier: Carrier,
        talk: impl Fn(TcpStream) -> io::Result<()> + Clone + Send + 'static,
    ) -> io::Result<()> {
        if clients == 0 {
            println!("listening on {}, Ctrl-C ends it", self.address);
            return Err(self.task.join().expect("the server does not panic"));
        }
        visit(self.address, clients, carrier, talk)
    }
}

/// Connects all clients, so that they are there at the same time, lets each `talk` on a carrier
/// of its own, and waits for them.
pub(crate) fn visit(
    address: SocketAddr,
    clients: u32,
    carrier: Carrier,
    talk: impl Fn(TcpStream) -> io::Result<()> + Clone + Send + 'static,
) -> io::Result<()> {
    let kind = match carrier {
        Carrier::Thread => "Thread",
        Carrier::Coroutine => "Coroutine",
    };
    let streams: io::Result<Vec<_>> = (0..clients).map(|_| TcpStream::connect(address)).collect();
    let mut tasks = Vec::new();
    for (i, stream) in streams?.into_iter().enumerate() {
        let talk = talk.clone();
        tasks.push(carrier.spawn(format!("{kind}-{}", i + 1), move || talk(stream))?);
    }
    for task in tasks {
        task.join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    }
    Ok(())
}

/// Sends `message` and reads the answer, which has to be `expected`.
///
/// TCP is a stream: one `read` may give a part of the answer, or more than that.
pub(crate) fn ask(stream: &mut TcpStream, message: &str, expected: &str) -> io::Result<String> {
    stream.write_all(message.as_bytes())?;
    let mut reply = vec![0; expected.len()];
    stream.read_exact(&mut reply)?;
    let reply = String::from_utf8_lossy(&reply).into_owned();
    if reply != expected {
        return Err(io::Error::other(format!(
            "sent '{message}', expected '{expected}', got '{reply}'"
        )));
    }
    Ok(reply)
}
