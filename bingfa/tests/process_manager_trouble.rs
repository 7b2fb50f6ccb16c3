//! `process::manager` when something goes wrong: deaths, hostile and slow clients, keys, limits.

mod common;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use bingfa::io::{Read, Write};
use bingfa::net::{TcpListener, TcpStream};
use bingfa::os::unix::net::UnixStream;
use bingfa::process::manager::{Client, Dict, Event, List, Lock, Manager, Proxy, Queue};
use bingfa::process::{self, Connection, Fd, pipe};
use bingfa::{coroutine, thread};
use common::usage::Usage;
use common::{LONG, SHORT, Watchdog, assert_well, in_child, until};

/// A path for a socket.
fn path(name: &str) -> std::path::PathBuf {
    static LAST: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = LAST.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    std::env::temp_dir().join(format!("bingfa-{name}-{}-{number}", std::process::id()))
}

fn listening(key: &[u8]) -> (Manager, SocketAddr) {
    let manager = Manager::builder().bind("127.0.0.1:0").key(key).start();
    let manager = manager.unwrap();
    let address = manager.local_addr().unwrap();
    (manager, address)
}

/// Takes numbers, and notes each, for ever.
fn take((queue, seen): (Proxy<Queue<u32>>, Proxy<Dict<u32, u32>>)) {
    loop {
        let n = queue.get().unwrap();
        seen.update(&n, 1, |times, more| *times.get_or_insert(0) += more)
            .unwrap();
        queue.task_done().unwrap();
    }
}

#[bingfa::test]
fn who_is_cancelled_or_killed_in_get_has_taken_nothing() {
    let _dog = Watchdog::new("taken nothing");
    let manager = Manager::new().unwrap();
    let queue: Proxy<Queue<u32>> = manager.queue(None).unwrap();
    for _ in 0..20 {
        let waiter = coroutine::spawn({
            let queue = queue.clone();
            move || queue.get().unwrap()
        });
        waiter.cancel();
        let cancelled = waiter.join();
        queue.put(1).unwrap();
        if cancelled.is_err() {
            assert_eq!(queue.get_timeout(LONG).unwrap(), 1);
        }
        while queue.try_get().is_ok() {}
    }
    let ready = manager.event().unwrap();
    let child = process::spawn(
        (queue.clone(), ready.clone()),
        |(queue, ready): (_, Proxy<Event>)| {
            let queue: Proxy<Queue<u32>> = queue;
            ready.set().unwrap();
            queue.get().unwrap();
        },
    );
    ready.wait().unwrap();
    child.kill().unwrap();
    child.join().unwrap_err();
    queue.put(2).unwrap();
    assert_eq!(queue.get_timeout(LONG).unwrap(), 2);
}

#[bingfa::test]
fn what_a_dead_consumer_took_is_an_error_of_join() {
    let _dog = Watchdog::new("abandoned");
    let manager = Manager::new().unwrap();
    let queue: Proxy<Queue<u32>> = manager.queue(None).unwrap();
    let taken = manager.event().unwrap();
    (0..3).for_each(|n| queue.put(n).unwrap());
    let args = (queue.clone(), taken.clone());
    let child = process::spawn(args, |(queue, taken): (Proxy<Queue<u32>>, Proxy<Event>)| {
        queue.get().unwrap();
        queue.get().unwrap();
        queue.task_done().unwrap();
        taken.set().unwrap();
        std::thread::sleep(LONG);
    });
    taken.wait().unwrap();
    let pid = child.pid();
    let joiner = thread::spawn({
        let queue = queue.clone();
        move || queue.join().unwrap_err().to_string()
    });
    child.kill().unwrap();
    let text = joiner.join().unwrap();
    assert!(text.contains(&format!("process {pid} has ended")), "{text}");
    assert!(text.contains("1 items taken"), "{text}");
    child.join().unwrap_err();
    assert_eq!(queue.get().unwrap(), 2);
}

#[bingfa::test]
fn a_lock_whose_holder_dies_is_free_and_says_who_it_was() {
    let _dog = Watchdog::new("poison");
    let manager = Manager::new().unwrap();
    let (lock, held) = (manager.lock().unwrap(), manager.event().unwrap());
    let args = (lock.clone(), held.clone());
    let child = process::spawn(args, |(lock, held): (Proxy<Lock>, Proxy<Event>)| {
        let _guard = lock.lock().unwrap();
        held.set().unwrap();
        std::thread::sleep(LONG);
    });
    held.wait().unwrap();
    let pid = child.pid();
    let waiter = thread::spawn({
        let lock = lock.clone();
        move || lock.lock().unwrap_err().to_string()
    });
    child.kill().unwrap();
    child.join().unwrap_err();
    let text = waiter.join().unwrap();
    let expected = format!("process {pid} has ended while it held the lock");
    assert!(text.contains(&expected), "{text}");
    assert!(lock.try_lock().unwrap_err().to_string().contains(&expected));
    lock.clear_poison().unwrap();
    drop(lock.try_lock().unwrap());

    let result = std::panic::catch_unwind(|| {
        let _guard = lock.lock().unwrap();
        std::panic::resume_unwind(Box::new("as it happens"));
    });
    assert!(result.is_err());
    let text = lock.lock().unwrap_err().to_string();
    assert!(text.contains("panicked while it held the lock"), "{text}");
}

#[bingfa::test]
fn a_manager_that_is_killed_is_an_error_for_all_who_wait() {
    let _dog = Watchdog::new("killed");
    let manager = Manager::new().unwrap();
    let queue: Proxy<Queue<u32>> = manager.queue(None).unwrap();
    let (lock, event) = (manager.lock().unwrap(), manager.event().unwrap());
    let guard = lock.lock().unwrap();
    let waiting: Vec<thread::JoinHandle<std::io::Error>> = vec![
        thread::spawn({
            let queue = queue.clone();
            move || queue.get().unwrap_err()
        }),
        thread::spawn({
            let lock = lock.clone();
            move || lock.lock().unwrap_err()
        }),
        thread::spawn({
            let event = event.clone();
            move || event.wait().unwrap_err()
        }),
    ];
    let far = process::spawn(queue.clone(), |queue: Proxy<Queue<u32>>| {
        queue.get().unwrap_err().to_string()
    });
    event.is_set().unwrap();
    manager.process().kill().unwrap();
    let expected = format!(
        "the manager {} (pid {}) has ended",
        manager.name(),
        manager.pid()
    );
    for waiter in waiting {
        let error = waiter.join().unwrap();
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    }
    assert_eq!(far.join().unwrap(), expected);
    assert_eq!(queue.len().unwrap_err().to_string(), expected);
    drop(guard);
    manager.shutdown();
    assert_eq!(queue.len().unwrap_err().to_string(), expected);
}

#[test]
fn it_dies_with_its_owner() {
    let _dog = Watchdog::new("owner");
    let owner = process::spawn((), |()| {
        let manager = Manager::new().unwrap();
        let list: Proxy<List<u32>> = manager.list().unwrap();
        std::mem::forget(manager);
        list
    });
    let list = owner.join().unwrap();
    until(|| list.len().is_err());

    let (ours, theirs) = pipe::<(), Proxy<List<u32>>>().unwrap();
    let owner = process::spawn(theirs, |end: Connection<Proxy<List<u32>>, ()>| {
        let manager = Manager::new().unwrap();
        end.send(manager.list().unwrap()).unwrap();
        std::thread::sleep(LONG);
    });
    let list = ours.recv().unwrap();
    list.push(1).unwrap();
    owner.kill().unwrap();
    owner.join().unwrap_err();
    until(|| list.len().is_err());
}

#[bingfa::test]
fn a_path() {
    let _dog = Watchdog::new("path");
    let path = path("manager");
    let start = || Manager::builder().path(&path).key(b"secret").start();
    let manager = start().unwrap();
    let list: Proxy<List<u32>> = manager.list().unwrap();
    manager.publish("list", &list).unwrap();
    let far = Client::connect_path(&path, b"secret").unwrap();
    assert_eq!((far.name(), far.pid()), (manager.name(), manager.pid()));
    let same: Proxy<List<u32>> = far.open("list").unwrap();
    same.push(7).unwrap();
    // Sent on, with all that it takes to connect.
    let child = process::spawn(same, |list: Proxy<List<u32>>| list.push(8).unwrap());
    child.join().unwrap();
    assert_eq!(list.to_vec().unwrap(), [7, 8]);

    assert_eq!(start().unwrap_err().kind(), ErrorKind::AddrInUse);
    manager.shutdown();
    assert!(!path.exists());
    // Left behind.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let manager = start().unwrap();
    let wrong = Client::connect_path(&path, b"wrong").unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::PermissionDenied);
    manager.shutdown();
    let nobody = Client::connect_path(&path, b"secret").unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::NotFound);
}

#[bingfa::test]
fn both_sides_have_to_know_the_key() {
    let _dog = Watchdog::new("key");
    let (_manager, address) = listening(b"right");
    drop(Client::connect(address, b"right").unwrap());
    let error = Client::connect(address, b"wrong").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(
        error.to_string().contains("does not accept the key"),
        "{error}"
    );
    for builder in [
        Manager::builder().bind("127.0.0.1:0"),
        Manager::builder().path("/nowhere").key(b""),
    ] {
        let error = builder.start().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }

    // One that says the right words but knows nothing, and one that says others.
    for words in [&b"bingfa manager 1"[..], b"something elseee"] {
        let impostor = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = impostor.local_addr().unwrap();
        let served = thread::spawn(move || {
            let (mut client, _) = impostor.accept().unwrap();
            client.write_all(&[words, &[7; 32]].concat()).unwrap();
            let mut answer = [0; 64];
            if client.read_exact(&mut answer).is_ok() {
                // What comes back is the client's own proof, which must not serve.
                client.write_all(&answer[32..]).unwrap();
            }
        });
        let error = Client::connect(address, b"right").unwrap_err();
        let expected = match words[0] {
            b'b' => ErrorKind::PermissionDenied,
            _ => ErrorKind::InvalidData,
        };
        assert_eq!(error.kind(), expected, "{error}");
        served.join().unwrap();
    }
}

#[bingfa::test]
fn slow_and_hostile_clients_do_not_disturb_others() {
    let _dog = Watchdog::new("hostile");
    let (manager, address) = listening(b"key");
    let list: Proxy<List<u32>> = manager.list().unwrap();
    let mut silent = Vec::new();
    for n in 0..20u8 {
        silent.push(TcpStream::connect(address).unwrap());
        let mut noisy = TcpStream::connect(address).unwrap();
        let noise: Vec<u8> = (0..200).map(|i| n.wrapping_mul(31) ^ i).collect();
        noisy.write_all(&noise).unwrap();
        // It says its greeting, and closes.
        let mut greeting = Vec::new();
        let _ = noisy.read_to_end(&mut greeting);
        assert!(
            greeting.len() <= 48,
            "no word to those who do not know the key"
        );
        list.push(u32::from(n)).unwrap();
    }
    assert_eq!(list.len().unwrap(), 20);
    let far = Client::connect(address, b"key").unwrap();
    drop(silent);
    drop(far.list::<u32>().unwrap());
}

#[bingfa::test]
fn a_crowd_of_strangers_does_not_take_all_descriptors() {
    let _dog = Watchdog::new("strangers");
    let (manager, address) = listening(b"key");
    let open = || {
        let list = std::fs::read_dir(format!("/proc/{}/fd", manager.pid()));
        list.unwrap().count()
    };
    let before = open();
    let strangers: Vec<_> = (0..100)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    until(|| open() >= before + 64);
    drop(manager.list::<u32>().unwrap());
    assert!(
        open() < before + 80,
        "{} of 100 are let in",
        open() - before
    );
    drop(strangers);
    let far = Client::connect(address, b"key").unwrap();
    drop(far.list::<u32>().unwrap());
}

#[bingfa::test]
fn a_message_that_is_too_long_is_refused() {
    let _dog = Watchdog::new("too long");
    let manager = Manager::builder().max_message(10_000).start().unwrap();
    let list: Proxy<List<Vec<u8>>> = manager.list().unwrap();
    list.push(vec![1; 9_000]).unwrap();
    for len in [11_000, 5 << 20] {
        let error = list.push(vec![1; len]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        let text = error.to_string();
        assert!(text.contains(manager.name()), "{text}");
        assert!(text.contains("at most 10000 are taken"), "{text}");
    }
    assert_eq!(list.len().unwrap(), 1, "and others go on");
}

#[bingfa::test]
fn a_call_that_ends_early_abandons_nothing() {
    let _dog = Watchdog::new("ends early");
    let manager = Manager::new().unwrap();
    let (queue, never) = (
        manager.queue::<u32>(None).unwrap(),
        manager.event().unwrap(),
    );
    queue.put(1).unwrap();
    queue.put(2).unwrap();
    assert_eq!(queue.get().unwrap(), 1);
    for _ in 0..5 {
        // It closes the connection that it had, the only one.
        assert!(bingfa::time::timeout(SHORT, || never.wait()).is_err());
        let error = queue.join_timeout(SHORT).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    }
    queue.task_done().unwrap();
    assert_eq!(queue.get().unwrap(), 2);
    queue.task_done().unwrap();
    queue.join().unwrap();
}

#[bingfa::test]
fn a_manager_leaves_the_path_to_the_one_that_has_replaced_it() {
    let _dog = Watchdog::new("replaced");
    let path = path("replaced");
    let start = || Manager::builder().path(&path).key(b"secret").start();
    let first = start().unwrap();
    first.process().kill().unwrap();
    // The kernel may keep the dead one's listener for a moment.
    let second = loop {
        match start() {
            Ok(second) => break second,
            Err(error) => assert_eq!(error.kind(), ErrorKind::AddrInUse),
        }
        thread::sleep(SHORT);
    };
    first.shutdown();
    let far = Client::connect_path(&path, b"secret").unwrap();
    assert_eq!(far.pid(), second.pid());
    second.shutdown();
    assert!(!path.exists());
}

#[bingfa::test]
fn a_stopped_manager_is_a_timeout() {
    let manager = Manager::new().unwrap();
    let queue: Proxy<Queue<u32>> = manager.queue(None).unwrap();
    manager.process().signal(19).unwrap(); // SIGSTOP
    let error = queue.get_timeout(Duration::from_millis(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(error.to_string().contains("does not answer"), "{error}");
    manager.process().signal(18).unwrap(); // SIGCONT
    queue.put(1).unwrap();
    assert_eq!(queue.get().unwrap(), 1);
}

#[test]
fn nothing_leaks() {
    let round = || {
        let manager = Manager::new().unwrap();
        let queue: Proxy<Queue<Fd>> = manager.queue(None).unwrap();
        let (_out, inp) = std::io::pipe().unwrap();
        queue.put(Fd::from(OwnedFd::from(inp))).unwrap();
        drop(queue.get().unwrap());
        let _ = queue.get_timeout(SHORT);
        manager.shutdown();
    };
    let output = in_child("nothing_leaks", &[], || {
        round();
        let before = Usage::settled();
        (0..20).for_each(|_| round());
        let after = Usage::settled();
        let grown = after.descriptors.saturating_sub(before.descriptors);
        assert!(grown <= 4, "{before:?} {after:?}");
    });
    if let Some(output) = output {
        assert_well(&output);
    }
}

#[test]
fn a_client_that_was_handed_nothing_is_no_error_for_others() {
    // The other side of a Unix socket that is no manager.
    let path = path("no-manager");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let deaf = std::thread::spawn(move || drop(listener.accept()));
    let error = Client::connect_path(&path, b"k").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{error}");
    deaf.join().unwrap();
    drop(UnixStream::connect(&path));
    std::fs::remove_file(&path).unwrap();
}

#[bingfa::test]
fn consumers_that_are_killed_at_any_moment_lose_no_more_than_they_held() {
    const NUMBERS: u32 = 400;
    const KILLS: usize = 12;
    let _dog = Watchdog::new("random kills");
    let manager = Manager::new().unwrap();
    let (queue, seen) = (manager.queue(None).unwrap(), manager.dict().unwrap());
    let start = || process::spawn((queue.clone(), seen.clone()), take);
    let mut children = vec![start(), start()];
    for n in 0..NUMBERS {
        queue.put(n).unwrap();
        if (n as usize).is_multiple_of(NUMBERS as usize / KILLS) {
            let child = children.remove(0);
            child.kill().unwrap();
            child.join().unwrap_err();
            children.push(start());
        }
    }
    until(|| queue.is_empty().unwrap());
    // What is still on its way to a living one is noted soon; what the dead held is reported.
    let missing = || NUMBERS as usize - seen.len().unwrap();
    until(|| missing() <= queue.unfinished().unwrap() && missing() <= KILLS + 1);
    for (n, times) in seen.entries().unwrap() {
        assert_eq!(times, 1, "{n}");
    }
    for child in children {
        child.kill().unwrap();
        child.join().unwrap_err();
    }
}

#[bingfa::test]
fn holders_that_are_killed_at_any_moment_leave_the_lock_free() {
    let _dog = Watchdog::new("random holders");
    let manager = Manager::new().unwrap();
    let lock = manager.lock().unwrap();
    for n in 0..12 {
        let holder = process::spawn(lock.clone(), |lock: Proxy<Lock>| {
            while let Ok(guard) = lock.lock() {
                drop(guard);
            }
        });
        let others = thread::spawn({
            let lock = lock.clone();
            move || {
                for _ in 0..n * 5 {
                    let _ = lock.lock(); // poisoned, perhaps
                }
            }
        });
        others.join().unwrap();
        let pid = holder.pid();
        holder.kill().unwrap();
        holder.join().unwrap_err();
        match lock.lock_timeout(LONG) {
            Ok(guard) => drop(guard),
            Err(error) => {
                assert!(
                    error
                        .to_string()
                        .contains(&format!("process {pid} has ended")),
                    "{error}"
                );
                lock.clear_poison().unwrap();
            }
        }
        drop(lock.lock_timeout(LONG).unwrap());
    }
}

#[bingfa::test]
fn items_that_others_reported_done_are_not_abandoned() {
    let _dog = Watchdog::new("reported by others");
    let manager = Manager::new().unwrap();
    let queue: Proxy<Queue<u32>> = manager.queue(None).unwrap();
    queue.put(1).unwrap();
    let child = process::spawn(queue.clone(), |queue: Proxy<Queue<u32>>| {
        queue.get().unwrap()
    });
    // It waits for the child's end: by then the manager may know of it or not.
    assert_eq!(child.join().unwrap(), 1);
    queue.task_done().unwrap();
    queue.join().unwrap();
}

#[test]
fn a_guard_that_is_dropped_with_a_cancel_pending_frees_the_lock() {
    let _dog = Watchdog::new("a cancel before the drop");
    for io in common::backends() {
        common::runtime(io, 1).run(|| {
            let manager = Manager::new().unwrap();
            let lock = manager.lock().unwrap();
            let holder = coroutine::spawn_local({
                let lock = lock.clone();
                move || {
                    let guard = lock.lock().unwrap();
                    coroutine::shield(coroutine::park);
                    drop(guard);
                }
            });
            while lock.try_lock().is_ok() {
                coroutine::yield_now();
            }
            holder.cancel();
            holder.unpark();
            drop(holder.join());
            drop(lock.lock().unwrap());
        });
    }
}

#[bingfa::test]
fn a_cancelled_start_leaves_no_process_behind() {
    let _dog = Watchdog::new("cancelled start");
    let name = format!("cancelled-{:?}", thread::current().id());
    let there = || {
        let children = process::active_children();
        children.iter().any(|child| child.name() == name)
    };
    for yields in [0, 1, 10, 100] {
        let starter = coroutine::spawn({
            let name = name.clone();
            move || drop(Manager::builder().name(name).start())
        });
        for _ in 0..yields {
            thread::yield_now();
        }
        starter.cancel();
        let _ = starter.join(); // it may have been faster
        until(|| !there());
    }
    let starter = coroutine::spawn({
        let name = name.clone();
        move || drop(Manager::builder().name(name).start())
    });
    until(|| starter.is_finished() || there()); // it has a process, which has not begun
    starter.cancel();
    let _ = starter.join();
    until(|| !there());
}

/// The timers of the sockets that are connected from or to this port (`proc(5)`); 2: keepalive.
fn timers(port: u16) -> Vec<u8> {
    let port = format!(":{port:04X}");
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let timer = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let connected = fields[3] == "01";
        let ours = fields[1].ends_with(&port) || fields[2].ends_with(&port);
        (connected && ours).then(|| u8::from_str_radix(&fields[5][..2], 16).unwrap())
    };
    table.lines().skip(1).filter_map(timer).collect()
}

#[bingfa::test]
fn both_ends_of_a_network_look_whether_the_other_is_there() {
    let _dog = Watchdog::new("keepalive");
    let (manager, address) = listening(b"k");
    let client = Client::connect(address, b"k").unwrap();
    // Until what was sent is acknowledged another timer runs.
    until(|| timers(address.port()) == [2, 2]);
    drop((client, manager));
}
