//! The manager's process: a coroutine for each client.

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Client;
use super::auth::Key;
use super::client::Route;
use super::link::{self, Incoming, Outgoing, Received};
use super::pending::Pending;
use super::protocol::{Hello, Refusal, Reply, Welcome};
use super::state::{Next, Session, State};
use super::store::Until;
use crate::coroutine;
use crate::io::op::Wait;
use crate::io::packet;
use crate::io::socket::{Kind, Socket};
use crate::net::TcpListener;
use crate::os::unix::net::UnixListener;
use crate::park::{check, more_than_one_cpu};
use crate::process::Fd;
use crate::sched::runtime::Runtime;
use crate::sync::{Arc, ArcSemaphorePermit, Semaphore};
use crate::sys::launch;
use crate::sys::random;

/// What the manager's process is given.
#[derive(Serialize, Deserialize)]
pub(super) struct Orders {
    /// Where new connections are handed in, and the other end of it.
    pub(super) doors: (Fd, Fd),
    pub(super) listeners: Vec<Listener>,
    /// For who comes by a listener.
    pub(super) key: Key,
    pub(super) welcome: Welcome,
    /// The longest message that is taken.
    pub(super) longest: usize,
}

#[derive(Serialize, Deserialize)]
pub(super) enum Listener {
    Path(UnixListener),
    Internet(TcpListener),
}

/// How long a client may take to say hello.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest hello.
const LONGEST_HELLO: usize = 64;
/// How many who came by a listener and have not shown yet that they know the key are heard
/// at a time: a crowd of strangers does not take all descriptors.
const STRANGERS: usize = 64;
/// The stacks of the coroutines, as large as a main thread's: values of users' types are
/// decoded there, which may be nested deeply. Untouched, it is only address space.
const STACK: usize = 8 << 20;
/// How long to look for the next call before falling asleep: a client with one core and us on
/// another would else spend most of its time on being woken.
const LOOKING: Duration = Duration::from_micros(30);
/// How long to wait when there are no more descriptors.
const PAUSE: Duration = Duration::from_millis(20);

/// The life of the manager's process; it ends by being killed.
pub(super) fn serve(orders: Orders) {
    launch::ignore_interrupts();
    let mut builder = Runtime::builder()
        .name("manager")
        .workers(1)
        .stack_size(STACK);
    if more_than_one_cpu() {
        builder = builder.polling(LOOKING);
    }
    let runtime = builder.build();
    let runtime = runtime.unwrap_or_else(|error| panic!("no runtime: {error}"));
    let live = || {
        let (door, own) = orders.doors;
        let mut welcome = orders.welcome;
        welcome.pid = std::process::id();
        let own = Route::Handed(Socket::new(OwnedFd::from(own), Kind::Datagram));
        let instance = random::bytes().unwrap_or_else(|error| panic!("{error}"));
        let home = Client::new(own, welcome.clone(), u64::from_le_bytes(instance));
        let house = Rc::new(House {
            state: State::new(home),
            key: orders.key,
            welcome,
            longest: orders.longest,
            strangers: Arc::new(Semaphore::new(STRANGERS)),
        });
        for listener in orders.listeners {
            let house = house.clone();
            spawn(move || house.listen(&listener));
        }
        house.attend_door(&Socket::new(OwnedFd::from(door), Kind::Datagram));
    };
    runtime.run(|| check::without(live));
}

/// A coroutine beside the others. Unchecked: reading symbols takes longer than many managers
/// live, and the frames here are known.
fn spawn(f: impl FnOnce() + 'static) -> coroutine::JoinHandle<()> {
    coroutine::spawn_local(move || check::without(f))
}

struct House {
    state: State,
    key: Key,
    welcome: Welcome,
    longest: usize,
    strangers: Arc<Semaphore>,
}

/// One who came by a listener: from where, and its place among the strangers.
type Stranger = (String, ArcSemaphorePermit);

impl House {
    /// Takes in the connections that are handed over.
    fn attend_door(self: &Rc<Self>, door: &Socket) {
        loop {
            let mut word = Vec::with_capacity(1);
            match packet::receive(door, &mut word, 1, Wait::Forever) {
                Ok(fds) => {
                    for fd in fds {
                        self.admit(Socket::new(fd, Kind::Stream), None);
                    }
                }
                Err(_) => coroutine::sleep(PAUSE),
            }
        }
    }

    fn listen(self: &Rc<Self>, listener: &Listener) {
        loop {
            let accepted = match listener {
                Listener::Path(listener) => listener
                    .accept()
                    .map(|(socket, _)| (OwnedFd::from(socket), "a path".to_owned())),
                Listener::Internet(listener) => listener.accept().map(|(socket, peer)| {
                    // Fails only for what is no TCP socket.
                    let _ = link::over_a_network(&socket);
                    (OwnedFd::from(socket), peer.to_string())
                }),
            };
            match accepted {
                Ok((fd, place)) => {
                    let stranger = (place, self.strangers.acquire_arc());
                    self.admit(Socket::new(fd, Kind::Stream), Some(stranger));
                }
                Err(_) => coroutine::sleep(PAUSE),
            }
        }
    }

    fn admit(self: &Rc<Self>, socket: Socket, stranger: Option<Stranger>) {
        let house = self.clone();
        spawn(move || {
            // An error concerns this client alone, and it has seen it.
            let _ = house.attend(socket, stranger);
        });
    }

    /// Serves one connection.
    fn attend(self: &Rc<Self>, socket: Socket, stranger: Option<Stranger>) -> io::Result<()> {
        let place = match stranger {
            None => None,
            Some((place, _heard)) => {
                self.key.challenge(&socket)?;
                Some(place)
            }
        };
        let place = place.as_deref();
        let mut incoming = Incoming::default();
        let soon = Wait::Until(Instant::now() + PATIENCE);
        if let Received::TooLong(why) = incoming.next(&socket, LONGEST_HELLO, soon)? {
            return Err(io::Error::new(ErrorKind::InvalidData, why));
        }
        let hello: Hello = postcard::from_bytes(incoming.body()).map_err(io::Error::other)?;
        let mut out = Outgoing::default();
        out.fill(&self.welcome, Vec::new())?;
        out.send(&socket, soon)?;

        let guest = Rc::new(Guest {
            house: self.clone(),
            session: Session::new(&hello, place),
            socket,
            answered: Cell::new(false),
        });
        self.state.enter(&guest.session);
        let _leave = Leave(&guest);
        let mut waiting = None::<coroutine::JoinHandle<()>>;
        let result = guest.converse(&mut incoming, &mut out, &mut waiting);
        guest.session.hangs_up();
        if let Some(waiting) = waiting {
            waiting.cancel();
            let _ = waiting.join();
        }
        result
    }
}

/// One connection.
struct Guest {
    house: Rc<House>,
    session: Session,
    socket: Socket,
    /// That what had to wait has its answer, which is on its way.
    answered: Cell<bool>,
}

/// Puts right what a connection leaves behind, however it ends.
struct Leave<'a>(&'a Guest);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.house.state.leave(&self.0.session);
    }
}

impl Guest {
    /// Answers until the client goes. What has to wait is left to another coroutine, so that
    /// the client's end is seen meanwhile.
    fn converse(
        self: &Rc<Self>,
        incoming: &mut Incoming,
        out: &mut Outgoing,
        waiting: &mut Option<coroutine::JoinHandle<()>>,
    ) -> io::Result<()> {
        let longest = self.house.longest;
        let refuse = |out: &mut Outgoing, why: &str| {
            out.fill(&Reply::Refused(Refusal::Invalid, why), Vec::new())?;
            out.send(&self.socket, Wait::Forever)
        };
        loop {
            let received = incoming.next(&self.socket, longest, Wait::Forever)?;
            let fds = match received {
                Received::Frame(fds) => Ok(fds),
                Received::TooLong(why) => Err(why),
                Received::Closed => return Ok(()),
            };
            if let Some(under_way) = waiting.take() {
                if !self.answered.get() {
                    *waiting = Some(under_way);
                    let why = "a connection carries one call at a time";
                    return Err(io::Error::new(ErrorKind::InvalidData, why));
                }
                let _ = under_way.join(); // its answer is on its way
            }
            let fds = match fds {
                Ok(fds) => fds,
                Err(why) => {
                    incoming.skip(&self.socket, Wait::Forever)?;
                    refuse(out, &why)?;
                    continue;
                }
            };
            let request = match postcard::from_bytes(incoming.body()) {
                Ok(request) => request,
                Err(error) => {
                    refuse(out, &format!("a request that makes no sense: {error}"))?;
                    continue;
                }
            };
            match self.house.state.perform(&self.session, request, fds, out)? {
                Next::Answer => out.send(&self.socket, Wait::Forever)?,
                Next::Silence => {}
                Next::Wait(pending, until) => {
                    self.answered.set(false);
                    let guest = self.clone();
                    *waiting = Some(spawn(move || guest.wait(pending, until)));
                }
            }
        }
    }

    fn wait(&self, pending: Pending, until: Until) {
        let mut out = Outgoing::default();
        let state = &self.house.state;
        let finished = state.finish(&self.session, pending, until, &mut out);
        self.answered.set(true);
        // An error: the client has gone, which is seen when it is read from.
        let _ = finished.and_then(|()| out.send(&self.socket, Wait::Forever));
    }
}
