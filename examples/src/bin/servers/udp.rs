//! P104: UDP. The notes only describe it: no connection, one `sendto` is one `recvfrom`, and
//! nothing is promised to arrive.

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use bingfa::coroutine;
use bingfa::net::{SocketAddr, UdpSocket};

/// Of very different lengths: TCP would run them together, and would not send the empty one.
const MESSAGES: [&str; 3] = ["hello", "", "a datagram arrives whole or not at all"];

/// One server, to which several clients send all they have to say before they listen.
pub(crate) fn exchange(clients: u32) -> io::Result<()> {
    let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = server.local_addr()?;
    coroutine::spawn(move || serve(&server));

    let clients: Vec<_> = (1..=clients)
        .map(|number| coroutine::spawn(move || talk(number, address)))
        .collect();
    for client in clients {
        client
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    }
    Ok(())
}

/// One socket for all clients: nobody is accepted, nobody leaves.
fn serve(server: &UdpSocket) -> io::Result<()> {
    let mut buffer = [0; 65536]; // no datagram is larger
    loop {
        let (length, client) = server.recv_from(&mut buffer)?;
        let data = &mut buffer[..length];
        data.make_ascii_uppercase();
        server.send_to(data, client)?;
    }
}

fn talk(number: u32, server: SocketAddr) -> io::Result<()> {
    // Bound, not connected: the system chooses the port, by which the server tells us apart.
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    // A lost datagram is never announced, so do not wait for ever.
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    for message in MESSAGES {
        let sent = socket.send_to(message.as_bytes(), server)?;
        println!("[client {number}] sendto: {sent} bytes '{message}'");
    }
    let mut buffer = [0; 65536];
    for message in MESSAGES {
        let (length, peer) = socket
            .recv_from(&mut buffer)
            .map_err(|error| lost(number, message, &error))?;
        let reply = String::from_utf8_lossy(&buffer[..length]);
        println!("[client {number}] recvfrom: {length} bytes '{reply}'");
        // On the loopback interface nothing is lost or overtaken.
        if peer != server || reply != message.to_ascii_uppercase() {
            return Err(io::Error::other(format!(
                "client {number}: expected '{message}' in upper case from {server}, got \
                 '{reply}' from {peer}"
            )));
        }
    }
    Ok(())
}

fn lost(client: u32, message: &str, error: &io::Error) -> io::Error {
    io::Error::other(format!(
        "client {client}: no answer to '{message}': {error}"
    ))
}
