//! P102, P103: a ticket office, and what a slow client does to those after it.
//!
//! In the notes the answer is two numbers glued together and read at one go, however many pieces
//! it comes in. Here they are apart, and the end of the connection is the end of the answer.

use std::io::{self, Read, Write};
use std::time::Instant;

use bingfa::net::{SocketAddr, TcpStream};
use bingfa::process::Value;
use bingfa::thread::{self, sleep};
use bingfa_examples::{Scale, accept_loop, report};

use crate::per_process::Places;
use crate::welcome::{announce, prepare, visit};

const TICKETS: u32 = 2;

/// What is left after a try to buy one, and whether that was a success.
#[derive(Clone, Copy)]
struct Sale {
    left: u32,
    bought: bool,
}

fn buy(tickets: &mut u32) -> Sale {
    let bought = *tickets > 0;
    *tickets -= u32::from(bought);
    Sale {
        left: *tickets,
        bought,
    }
}

fn tell(mut stream: TcpStream, sale: Sale, scale: Scale) -> io::Result<()> {
    sleep(scale.seconds(5.0)); // stands for the transmission
    let answer = format!("{} {}", sale.left, u8::from(sale.bought));
    stream.write_all(answer.as_bytes())
}

/// P102: one process, one client at a time.
pub(crate) fn one_by_one(clients: u32, port: u16, scale: Scale) -> io::Result<()> {
    let (listener, address) = prepare(port)?;
    let server = thread::spawn(move || {
        let mut tickets = TICKETS;
        accept_loop(&listener, |stream, peer| {
            announce(&stream, peer);
            // Served right here, so nobody is accepted meanwhile.
            let sale = buy(&mut tickets);
            report(peer, tell(stream, sale, scale));
            println!("等待客户端连接");
            Ok(())
        })
    });
    visit(clients, address, server, customer)
}

/// P103: a process per client; the number of tickets lies in memory that they share.
pub(crate) fn processes(clients: u32, at_most: u16, port: u16, scale: Scale) -> io::Result<()> {
    let places = Places::new(at_most, clients)?;
    let (listener, address) = prepare(port)?;
    let office = Value::new(TICKETS)?;
    let server = thread::spawn(move || {
        accept_loop(&listener, |stream, peer| {
            announce(&stream, peer);
            places.serve(stream, peer, (office.clone(), scale), sell)?;
            println!("等待客户端连接");
            Ok(())
        })
    });
    visit(clients, address, server, customer)
}

/// What is left is read with the lock. The notes read it again 5 s later, when all have bought,
/// so that both who have a ticket are told that none is left.
fn sell((stream, peer, (office, scale)): (TcpStream, SocketAddr, (Value<u32>, Scale))) {
    let sale = match office.lock() {
        Ok(mut tickets) => buy(&mut tickets),
        // Somebody died with the lock, and the number is right all the same: it changes at one
        // go. In the notes nobody would ever get the lock again.
        Err(dead) => {
            eprintln!("{dead}");
            office.mutex().clear_poison();
            buy(&mut dead.into_inner())
        }
    };
    report(peer, tell(stream, sale, scale));
}

fn customer(number: u32, mut stream: TcpStream) -> io::Result<()> {
    let begin = Instant::now();
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let seconds = begin.elapsed().as_secs_f64();
    let (left, outcome) = match answer.split_once(' ') {
        Some((left, "1")) => (left, "成功买到了一张票"),
        Some((left, "0")) => (left, "没有买到票"),
        _ => {
            return Err(io::Error::other(format!(
                "client {number}: the office hung up, and said only '{answer}'"
            )));
        }
    };
    println!("现在还剩下{left}张票, 客户端{number}{outcome} ({seconds:.2} s)");
    Ok(())
}
