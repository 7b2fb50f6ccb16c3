//! P100, P101: servers that greet, and what a slow client does to those after it.

use std::io::{self, Read, Write};
use std::net::Ipv4Addr;
use std::time::Instant;

use bingfa::net::{SocketAddr, TcpListener, TcpStream};
use bingfa::thread::{self, JoinHandle, sleep};
use bingfa_examples::{Scale, accept_loop, listen, report};

const WELCOME: &str = "欢迎访问服务器";

/// P100: one thread. The second client is greeted when the first has been served, 100 s later.
pub(crate) fn one_by_one(clients: u32, port: u16, scale: Scale) -> io::Result<()> {
    let (listener, address) = prepare(port)?;
    let server = thread::spawn(move || {
        accept_loop(&listener, |mut stream, peer| {
            announce(&stream, peer);
            // Served right here, so nobody is accepted meanwhile.
            let served = stream.write_all(WELCOME.as_bytes());
            sleep(scale.seconds(100.0)); // stands for work
            drop(stream);
            report(peer, served);
            println!("等待客户端连接");
            Ok(())
        })
    });
    visit(clients, address, server, |_, stream| {
        greeting(stream).map(drop)
    })
}

/// P101: a thread per client. All are greeted at once; 10 s later each is let go.
pub(crate) fn threads(clients: u32, port: u16, scale: Scale) -> io::Result<()> {
    let (listener, address) = prepare(port)?;
    let server = thread::spawn(move || {
        accept_loop(&listener, |stream, peer| {
            announce(&stream, peer);
            // The notes hand over the server's address here, and the client's gets lost.
            let builder = thread::Builder::new().name(format!("client {peer}"));
            builder.spawn(move || report(peer, link_handler(stream, scale)))?;
            println!("等待客户端连接");
            Ok(())
        })
    });
    visit(clients, address, server, |_, stream| {
        let mut stream = greeting(stream)?;
        let rest = stream.read(&mut [0])?; // waits until the server closes
        if rest == 0 {
            Ok(())
        } else {
            Err(io::Error::other("more than a greeting came"))
        }
    })
}

fn link_handler(mut link: TcpStream, scale: Scale) -> io::Result<()> {
    link.write_all(WELCOME.as_bytes())?;
    sleep(scale.seconds(10.0));
    println!("关闭客服端");
    Ok(()) // dropping the link closes it
}

/// On every interface. `bind` sets SO_REUSEADDR, so that a restart finds the port free, and
/// takes the kernel's largest backlog where the notes have `listen(1)`.
pub(crate) fn prepare(port: u16) -> io::Result<(TcpListener, SocketAddr)> {
    println!("初始化服务器主机信息");
    println!("初始化服务器主机套接字对象.....");
    println!("绑定的主机信息.....");
    let listener = listen(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, listener.local_addr()?.port()));
    println!("开始启动服务器.....");
    println!("等待客户端连接");
    Ok((listener, address))
}

pub(crate) fn announce(stream: &TcpStream, peer: SocketAddr) {
    println!("连接的客服端套接字对象为: {stream:?}");
    println!("客服端的IP地址 (拨进电话号码): {peer}");
}

/// Sends so many clients, one after the other has connected, and waits for them; without
/// clients until the server fails.
pub(crate) fn visit(
    clients: u32,
    address: SocketAddr,
    server: JoinHandle<io::Error>,
    client: fn(u32, TcpStream) -> io::Result<()>,
) -> io::Result<()> {
    if clients == 0 {
        println!("listening on {address}, Ctrl-C ends it");
        return Err(server.join().expect("the server does not panic"));
    }
    let mut visitors = Vec::new();
    for number in 1..=clients {
        let stream = TcpStream::connect(address)?;
        visitors.push(thread::spawn(move || client(number, stream)));
    }
    for visitor in visitors {
        visitor
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    }
    Ok(())
}

/// Reads the greeting and prints it, with how long it took.
fn greeting(mut stream: TcpStream) -> io::Result<TcpStream> {
    let begin = Instant::now();
    let mut data = [0; WELCOME.len()]; // all of it, in however many pieces it comes
    stream.read_exact(&mut data)?;
    let seconds = begin.elapsed().as_secs_f64();
    println!("{} ({seconds:.2} s)", String::from_utf8_lossy(&data));
    Ok(stream)
}
