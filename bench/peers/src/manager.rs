//! `manager`: SET and GET on a redis server over a Unix socket; and a server that only answers (`socket-echo`), which
//! shows what two messages over such a socket cost.

use harness::{Args, DictWork, Figures};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Barrier;
use std::time::{Duration, Instant};

pub(crate) fn run(args: &Args) {
    let (clients, seconds): (u64, f64) = (args.number("clients"), args.number("seconds"));
    let path = std::env::temp_dir().join(format!("bingfa-bench-{}.sock", std::process::id()));
    let rate = match args.contender.as_str() {
        "redis" => {
            let _server = Redis::start(&path);
            total(clients, &path, seconds, |mut link, work, timed| {
                timed.rate(work, &mut |key, value| redis_step(&mut link, key, value))
            })
        }
        "socket-echo" => {
            let listener = UnixListener::bind(&path).expect("a socket");
            // It ends with this process.
            std::thread::spawn(move || serve_echo(&listener));
            total(clients, &path, seconds, |mut link, work, timed| {
                timed.rate(work, &mut |key, value| echo_step(&mut link, key, value))
            })
        }
        _ => args.unknown(),
    };
    let _ = std::fs::remove_file(&path);
    Figures::new().with("ops_per_s", rate).print();
}

/// How a client's loop is timed.
struct Timed<'a> {
    start: &'a Barrier,
    seconds: f64,
}

impl Timed<'_> {
    fn rate(&self, mut work: DictWork, step: &mut impl FnMut(u64, u64)) -> f64 {
        work.steps(500, step);
        self.start.wait();
        work.rate(self.seconds, step)
    }
}

/// The sum of the clients' rates.
fn total(
    clients: u64,
    path: &Path,
    seconds: f64,
    client: impl Fn(BufReader<UnixStream>, DictWork, Timed<'_>) -> f64 + Sync,
) -> f64 {
    let (client, start) = (&client, &Barrier::new(clients as usize));
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..clients)
            .map(|n| {
                let link = UnixStream::connect(path).expect("a connection");
                let timed = Timed { start, seconds };
                scope.spawn(move || client(BufReader::new(link), DictWork::new(n), timed))
            })
            .collect();
        all.into_iter().map(|one| one.join().expect("a rate")).sum()
    })
}

struct Redis(Child);

impl Redis {
    fn start(path: &PathBuf) -> Redis {
        let server = Command::new("redis-server")
            .args([
                "--port",
                "0",
                "--save",
                "",
                "--appendonly",
                "no",
                "--unixsocket",
            ])
            .arg(path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        let server = Redis(server.expect("redis-server"));
        let begun = Instant::now();
        while UnixStream::connect(path).is_err() {
            assert!(
                begun.elapsed() < Duration::from_secs(10),
                "redis does not begin"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        server
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.0.kill().expect("redis runs");
        self.0.wait().expect("redis ends");
    }
}

fn redis_step(link: &mut BufReader<UnixStream>, key: u64, value: u64) {
    let (key, value) = (key.to_string(), value.to_string());
    let (k, v) = (key.len(), value.len());
    let set = format!("*3\r\n$3\r\nSET\r\n${k}\r\n{key}\r\n${v}\r\n{value}\r\n");
    let mut line = String::new();
    link.get_mut()
        .write_all(set.as_bytes())
        .expect("redis lives");
    link.read_line(&mut line).expect("redis lives");
    assert_eq!(line, "+OK\r\n");
    let get = format!("*2\r\n$3\r\nGET\r\n${k}\r\n{key}\r\n");
    link.get_mut()
        .write_all(get.as_bytes())
        .expect("redis lives");
    for expected in [format!("${v}\r\n"), format!("{value}\r\n")] {
        line.clear();
        link.read_line(&mut line).expect("redis lives");
        assert_eq!(line, expected);
    }
}

/// Messages of 16 bytes, each sent back by a thread of its own per connection.
fn serve_echo(listener: &UnixListener) {
    for link in listener.incoming() {
        let mut link = link.expect("a connection");
        std::thread::spawn(move || {
            let mut bytes = [0; 16];
            while link.read_exact(&mut bytes).is_ok() {
                link.write_all(&bytes).expect("the client lives");
            }
        });
    }
}

fn echo_step(link: &mut BufReader<UnixStream>, key: u64, value: u64) {
    for n in [key, value] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&n.to_le_bytes());
        link.get_mut().write_all(&bytes).expect("the server lives");
        let mut back = [0; 16];
        link.read_exact(&mut back).expect("the server lives");
        assert_eq!(bytes, back);
    }
}
