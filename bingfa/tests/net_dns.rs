//! Names are looked up off the worker. The C library's resolver is replaced here by one that
//! answers for a host `*.gate` when the test lets it.

mod common;

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int};
use std::sync::{Condvar, LazyLock, Mutex};
use std::thread::ThreadId;

use bingfa::coroutine;
use bingfa::net::{SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use bingfa::time::timeout;
use common::{SHORT, cancel_and_join, on_one_thread, until, until_in};

#[derive(Default)]
struct Gate {
    is_open: bool,
    /// Who asked.
    asked: Vec<ThreadId>,
    answered: usize,
}

static GATES: LazyLock<Mutex<HashMap<String, Gate>>> = LazyLock::new(Mutex::default);
static OPENED: Condvar = Condvar::new();

type GetAddrInfo = unsafe extern "C" fn(
    *const c_char,
    *const c_char,
    *const libc::addrinfo,
    *mut *mut libc::addrinfo,
) -> c_int;

/// What `std` calls instead of the C library's.
///
/// # Safety
/// As of `getaddrinfo(3)`.
#[unsafe(no_mangle)]
unsafe extern "C" fn getaddrinfo(
    node: *const c_char,
    service: *const c_char,
    hints: *const libc::addrinfo,
    result: *mut *mut libc::addrinfo,
) -> c_int {
    // SAFETY: a text that ends with 0; the next function of this name has this type.
    let (host, next) = unsafe {
        let next = libc::dlsym(libc::RTLD_NEXT, c"getaddrinfo".as_ptr());
        assert!(!next.is_null());
        let next = std::mem::transmute::<*mut libc::c_void, GetAddrInfo>(next);
        (CStr::from_ptr(node).to_str().unwrap(), next)
    };
    if !host.ends_with(".gate") {
        // SAFETY: the caller's duty.
        return unsafe { next(node, service, hints, result) };
    }
    let mut gates = GATES.lock().unwrap();
    let gate = gates.entry(host.to_owned()).or_default();
    gate.asked.push(std::thread::current().id());
    let mut gates = OPENED
        .wait_while(gates, |gates| !gates[host].is_open)
        .unwrap();
    gates.get_mut(host).unwrap().answered += 1;
    drop(gates);
    // SAFETY: as above, with another text.
    unsafe { next(c"127.0.0.1".as_ptr(), service, hints, result) }
}

/// A host for one run of one test.
struct Host(String);

impl Host {
    fn new(name: &str) -> Host {
        let host = format!("{name}.gate");
        GATES.lock().unwrap().insert(host.clone(), Gate::default());
        Host(host)
    }

    fn at_port(&self, port: u16) -> String {
        format!("{}:{port}", self.0)
    }

    fn open(&self) {
        GATES.lock().unwrap().get_mut(&self.0).unwrap().is_open = true;
        OPENED.notify_all();
    }

    fn with<R>(&self, f: impl FnOnce(&Gate) -> R) -> R {
        f(&GATES.lock().unwrap()[&self.0])
    }

    /// Waits until so many ask the resolver.
    fn until_asked(&self, count: usize) {
        until(|| self.with(|gate| gate.asked.len() == count));
    }
}

fn look_up(host: String) -> std::io::Result<Vec<SocketAddr>> {
    host.to_socket_addrs().map(Iterator::collect)
}

#[test]
fn others_of_the_only_worker_run_meanwhile() {
    on_one_thread(|| {
        let host = Host::new("slow");
        let lookups = [1, 2].map(|port| {
            let address = host.at_port(port);
            let lookup = coroutine::spawn_local(move || look_up(address));
            // That this goes on, on the same thread, is the point.
            until_in(&lookup, "resolve");
            lookup
        });
        host.until_asked(2);
        let here = std::thread::current().id();
        assert!(host.with(|gate| gate.answered == 0 && !gate.asked.contains(&here)));
        // Not even another lookup waits for those.
        assert_eq!(look_up("127.0.0.1:7".into()).unwrap().len(), 1);
        assert!(look_up("localhost:7".into()).is_ok());
        host.open();
        for (lookup, port) in lookups.into_iter().zip([1, 2]) {
            let expected = SocketAddr::from(([127, 0, 0, 1], port));
            assert_eq!(lookup.join().unwrap().unwrap(), [expected]);
        }
    });
}

#[test]
fn a_lookup_that_is_cancelled_or_late_is_abandoned() {
    on_one_thread(|| {
        let host = Host::new("abandoned");
        let address = host.at_port(1);
        let lookup = coroutine::spawn_local(move || look_up(address));
        host.until_asked(1);
        cancel_and_join(lookup);
        assert!(timeout(SHORT, || look_up(host.at_port(1))).is_err());
        // So are those of calls that take names.
        let address = host.at_port(1);
        let connect = coroutine::spawn_local(move || TcpStream::connect(address));
        let address = host.at_port(1);
        let bind = coroutine::spawn_local(move || UdpSocket::bind(address));
        until_in(&connect, "resolve");
        until_in(&bind, "resolve");
        cancel_and_join(connect);
        cancel_and_join(bind);
        assert!(host.with(|gate| gate.answered == 0));
        // The answers come, and go nowhere.
        host.open();
        until(|| host.with(|gate| gate.answered == gate.asked.len()));
        assert!(look_up(host.at_port(1)).is_ok());
    });
}

#[test]
fn a_thread_looks_up_by_itself() {
    let host = Host::new("thread");
    let address = host.at_port(1);
    let lookup = std::thread::spawn(move || (look_up(address), std::thread::current().id()));
    host.until_asked(1);
    host.open();
    let (addresses, thread) = lookup.join().unwrap();
    assert!(addresses.is_ok());
    assert!(host.with(|gate| gate.asked == [thread]));
}
