//! What a client says that knows the key but means harm, and who is next.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde::Serialize;

use super::auth::Key;
use super::client::Route;
use super::link::{Incoming, LONGEST, Outgoing, Received};
use super::meeting::Meeting;
use super::protocol::{BarrierOp, Hello, Kind, LockOp, QueueOp, Reply, Request, Welcome};
use super::state::{Next, Session, State};
use super::{Client, List, Manager, Proxy, Queue};
use crate::coroutine;
use crate::io::op::Wait;
use crate::io::socket::{self, Socket};
use crate::os::unix::net::UnixStream;
use crate::sched::runtime::Runtime;

fn client(token: u8) -> Client {
    let route = Route::Path("/nowhere".into(), Key(Vec::new()));
    let welcome = Welcome {
        name: "test".into(),
        pid: 1,
        token: [token; 16],
    };
    Client::new(route, welcome, 1)
}

fn state() -> State {
    State::new(client(7))
}

fn session(instance: u64) -> Session {
    let hello = Hello {
        pid: 1,
        instance,
        fingerprint: 3,
    };
    Session::new(&hello, Some("afar"))
}

/// Has a request done that needs no wait, and reads the answer.
fn done(state: &State, session: &Session, request: Request<'_>) -> bool {
    let mut out = Outgoing::default();
    let next = state
        .perform(session, request, Vec::new(), &mut out)
        .unwrap();
    assert!(matches!(next, Next::Answer));
    matches!(out.content(), Reply::Done)
}

/// Lets the neighbours run until each of them waits.
fn settle() {
    (0..10).for_each(|_| coroutine::yield_now());
}

#[test]
fn who_comes_later_gets_a_lock_later() {
    let runtime = Runtime::builder().workers(1).build().unwrap();
    runtime.run(|| {
        let state = Rc::new(state());
        let [owner, waiter, third] = [2, 3, 4].map(session);
        let create = Request::Create(Kind::Lock);
        state
            .perform(&owner, create, Vec::new(), &mut Outgoing::default())
            .unwrap();
        let acquire = |patience| Request::Lock(1, LockOp::Acquire(patience));
        assert!(done(&state, &owner, acquire(Some(0))));
        let mut out = Outgoing::default();
        let asked = state
            .perform(&waiter, acquire(None), Vec::new(), &mut out)
            .unwrap();
        let Next::Wait(pending, until) = asked else {
            panic!("the lock is held");
        };
        let waiter = coroutine::spawn_local({
            let state = state.clone();
            move || {
                state.finish(&waiter, pending, until, &mut out).unwrap();
                assert!(done(
                    &state,
                    &waiter,
                    Request::Lock(1, LockOp::Release(None))
                ));
            }
        });
        settle();
        assert!(done(
            &state,
            &owner,
            Request::Lock(1, LockOp::Release(None))
        ));
        assert!(!done(&state, &third, acquire(Some(0))), "it overtakes");
        waiter.join().unwrap();
        assert!(done(&state, &third, acquire(Some(0))));
    });
}

/// A connection whose frames a test makes itself.
struct Bare {
    socket: Socket,
    out: Outgoing,
    incoming: Incoming,
}

impl Bare {
    fn connect(path: &Path) -> Bare {
        let socket = OwnedFd::from(UnixStream::connect(path).unwrap());
        let socket = Socket::new(socket, socket::Kind::Stream);
        Key(b"key".into()).answer(&socket).unwrap();
        let mut bare = Bare {
            socket,
            out: Outgoing::default(),
            incoming: Incoming::default(),
        };
        bare.send(&Hello {
            pid: 1,
            instance: 2,
            fingerprint: 3,
        });
        bare.next().unwrap();
        bare
    }

    fn send<T: Serialize>(&mut self, content: &T) {
        self.out.fill(content, Vec::new()).unwrap();
        self.out.send(&self.socket, Wait::Forever).unwrap();
    }

    fn next(&mut self) -> io::Result<Received> {
        let soon = Wait::Until(Instant::now() + Duration::from_secs(30));
        self.incoming.next(&self.socket, LONGEST, soon)
    }
}

fn manager_at(name: &str) -> (Manager, PathBuf) {
    let path = std::env::temp_dir().join(format!("bingfa-{name}-{}", std::process::id()));
    let manager = Manager::builder().path(&path).key(b"key").start().unwrap();
    (manager, path)
}

#[test]
fn a_frame_that_comes_during_a_wait_ends_the_connection() {
    let (manager, path) = manager_at("frames");
    let queue: Proxy<Queue<u32>> = manager.queue(None).unwrap();
    let mut rude = Bare::connect(&path);
    rude.send(&Request::Queue(queue.id, QueueOp::Get(None)));
    rude.send(&Request::Ack);
    let late = |error: &io::Error| error.kind() == io::ErrorKind::TimedOut;
    match rude.next() {
        Ok(Received::Closed) => {}
        Err(error) if !late(&error) => {}
        other => panic!("{other:?}"),
    }
    queue.put(1).unwrap();
    assert_eq!(queue.get_timeout(Duration::from_secs(30)).unwrap(), 1);
}

#[test]
fn nobody_meets_one_who_has_gone() {
    let (manager, path) = manager_at("meeting");
    let barrier = manager.barrier(2).unwrap();
    let wait = |patience| Request::Barrier(barrier.id, BarrierOp::Wait(patience));
    let mut stays = Bare::connect(&path);
    for _ in 0..50 {
        let mut goes = Bare::connect(&path);
        goes.send(&wait(None));
        // The first may overtake it; when the others are answered, the manager has seen it.
        for _ in 0..3 {
            assert!(!barrier.is_broken().unwrap());
        }
        drop(goes);
        stays.send(&wait(Some(1)));
        stays.next().unwrap();
        let reply = postcard::from_bytes(stays.incoming.body()).unwrap();
        assert!(matches!(reply, Reply::TooLate), "{reply:?}");
    }
}

#[test]
fn whoever_has_come_is_missed_also_after_a_reset() {
    let meeting = Meeting::new(3);
    for _ in 0..2 {
        let round = [2, 3, 4].map(|client| meeting.arrive(client).unwrap().is_none());
        assert_eq!(round, [false, false, true]);
        meeting.reset(); // of one that is not broken
    }
    assert!(meeting.arrive(3).unwrap().is_some());
    meeting.bury(2, "the second");
    assert!(meeting.is_broken());
    meeting.reset();
    assert!(meeting.arrive(3).unwrap().is_some());
    meeting.bury(4, "the fourth");
    assert!(meeting.is_broken());
}

#[test]
fn an_object_is_published_by_its_own_manager() {
    let (one, other) = (client(8), client(9));
    let list: Proxy<List<u32>> = Proxy::new(one, 1);
    let error = other.publish("list", &list).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
}

proptest! {
    /// Each list of bytes is one request; some make objects for others to use.
    #[test]
    fn any_requests_are_answered(
        requests in prop::collection::vec(prop::collection::vec(0..40u8, 1..20), 1..40),
        noise in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let state = state();
        let session = session(2);
        state.enter(&session);
        let mut out = Outgoing::default();
        // An object of each kind, but for a user's.
        let kinds = [Kind::Dict, Kind::List, Kind::Queue, Kind::Lock, Kind::Event, Kind::Condvar];
        let creates = kinds.map(Request::Create).into_iter();
        let counted = [
            Request::CreateSemaphore(2, false),
            Request::CreateSemaphore(2, true),
            Request::CreateBarrier(2),
        ];
        for create in creates.chain(counted) {
            state.perform(&session, create, Vec::new(), &mut out).unwrap();
        }
        for bytes in requests.iter().chain([&noise]) {
            if let Ok(request) = postcard::from_bytes(bytes) {
                // Those that would wait are left.
                state.perform(&session, request, Vec::new(), &mut out).unwrap();
            }
        }
        state.leave(&session);
    }
}
