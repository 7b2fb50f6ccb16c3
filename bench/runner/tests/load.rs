//! The load generator against servers of known speed: it has to say that a slow server was slow, and not itself.

use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::thread;
use std::time::Duration;

/// Figures of the load generator with one connection to a server that sleeps for `pause` before each answer.
fn figures(pause: Duration) -> Value {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the load generator");
        let mut message = [0; 64];
        // Ends when the load generator resets the connection.
        while stream.read_exact(&mut message).is_ok() {
            thread::sleep(pause);
            if stream.write_all(&message).is_err() {
                break;
            }
        }
    });
    let output = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(["load-generator", "closed", "connections=1"])
        .args(["warmup=0.05", "seconds=0.4"])
        .arg(format!("port={port}"))
        .arg(format!("server={}", std::process::id()))
        .output()
        .expect("the program starts");
    server.join().expect("the server ends");
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("a line of JSON")
}

#[test]
fn a_slow_server_is_not_the_load_generators_fault() {
    let figures = figures(Duration::from_millis(4));
    let figure = |name: &str| figures[name].as_f64().expect("a number");
    // CPU time, not wall time: what else the machine does hardly matters.
    assert!(figure("requests_per_s") <= 250.0, "{figures}");
    assert!(figure("load_core_use") < 0.5, "{figures}");
    let headroom = figure("load_capacity_per_s") / figure("requests_per_s");
    assert!(headroom > 2.0, "{figures}");
    assert!(
        (headroom * figure("load_core_use") - 1.0).abs() < 0.01,
        "{figures}"
    );
}
