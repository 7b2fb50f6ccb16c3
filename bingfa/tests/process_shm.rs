//! Memory and locks that processes share, and what happens to them when processes die.

mod common;

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use bingfa::coroutine;
use bingfa::process::{
    self, Array, Builder, Connection, Mutex, RawArray, RawValue, SharedMemory, StartMethod,
    TryLockError, Value,
};
use common::{LONG, SHORT, assert_well, in_child, labelled, on_both, on_one_thread, until};

/// A test in a process of its own: it counts what is left of the process.
#[track_caller]
fn child(name: &str, test: impl FnOnce()) {
    if let Some(output) = in_child(name, &[], test) {
        assert_well(&output);
    }
}

fn quiet() -> Builder {
    Builder::new().env("RUST_BACKTRACE", "0")
}

/// Says that it has come here, and waits to be killed.
fn stay(here: &RawValue<u32>) {
    here.set(1);
    loop {
        std::thread::park();
    }
}

#[test]
fn values_are_shared_by_all_who_have_a_handle() {
    labelled("values", || {
        on_both(|| {
            let value = Value::new(5u64).unwrap();
            let array = Array::new(&[1u16, 2, 3]).unwrap();
            let raw = RawArray::new(&[[1u8, 2, 3]; 2]).unwrap();
            let memory = SharedMemory::new(10_000).unwrap();
            let arguments = (value.clone(), array.clone(), raw.clone(), memory.clone());
            let child = process::spawn(arguments, |(value, array, raw, memory)| {
                let (value, array): (Value<u64>, Array<u16>) = (value, array);
                let (raw, memory): (RawArray<[u8; 3]>, SharedMemory) = (raw, memory);
                value.update(|n| *n *= 2);
                array.lock().unwrap().reverse();
                raw.set(1, [7, 8, 9]);
                memory.write_at(4093, b"across a page");
                (array.len(), memory.len())
            });
            assert_eq!(child.join().unwrap(), (3, 10_000));
            assert_eq!(value.get(), 10);
            assert_eq!(*array.lock().unwrap(), [3, 2, 1]);
            assert_eq!(raw.to_vec(), [[1, 2, 3], [7, 8, 9]]);
            let mut text = [0; 13];
            memory.read_at(4093, &mut text);
            assert_eq!(&text, b"across a page");
        });
    });
}

#[test]
fn handles_come_back_as_results_and_go_on_to_grandchildren() {
    for method in [StartMethod::Zygote, StartMethod::Exec] {
        let made = quiet().start_method(method).spawn((), |()| {
            let value = Value::new(1u32).unwrap();
            let child = process::spawn(value.clone(), |value: Value<u32>| {
                value.update(|n| *n += 10);
                value
            });
            let same = child.join().unwrap();
            same.update(|n| *n += 100);
            value
        });
        // The child has ended when its object arrives.
        let value = made.unwrap().join().unwrap();
        assert_eq!(value.get(), 111, "{method:?}");
        let last = process::spawn(value.clone(), |value: Value<u32>| value.get());
        assert_eq!(last.join().unwrap(), 111);
    }
}

#[test]
fn a_handle_in_a_pipe_outlives_its_sender() {
    on_both(|| {
        let (ours, theirs) = process::pipe::<(), Value<u32>>().unwrap();
        let sender = process::spawn(theirs, |pipe: Connection<Value<u32>, ()>| {
            pipe.send(Value::new(42).unwrap()).unwrap();
        });
        sender.join().unwrap();
        assert_eq!(ours.recv().unwrap().get(), 42);
    });
}

#[test]
fn a_lock_excludes_processes_threads_and_coroutines() {
    fn add(lock: &Mutex<[u64; 2]>, times: u32) {
        for _ in 0..times {
            let mut sum = lock.lock().unwrap();
            assert_eq!(sum[0], sum[1]);
            sum[0] += 1;
            coroutine::checkpoint();
            sum[1] += 1;
        }
    }
    let lock = Mutex::new([0u64; 2]).unwrap();
    let children: Vec<_> = (0..3)
        .map(|_| process::spawn(lock.clone(), |lock: Mutex<[u64; 2]>| add(&lock, 2000)))
        .collect();
    std::thread::scope(|s| {
        s.spawn(|| add(&lock, 2000));
        on_one_thread(|| {
            let tasks: Vec<_> = (0..4)
                .map(|_| {
                    let lock = lock.clone();
                    coroutine::spawn_local(move || {
                        for _ in 0..50 {
                            let mut sum = lock.lock().unwrap();
                            assert_eq!(sum[0], sum[1]);
                            sum[0] += 1;
                            coroutine::yield_now(); // the others wait meanwhile
                            sum[1] += 1;
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.join().unwrap();
            }
        });
    });
    for child in children {
        child.join().unwrap();
    }
    let rounds = common::backends().len() as u64;
    assert_eq!(*lock.lock().unwrap(), [8000 + rounds * 200; 2]);
}

#[test]
fn a_coroutine_that_waits_for_a_process_lock_holds_nobody_up() {
    on_one_thread(|| {
        let lock = Mutex::new(0u32).unwrap();
        let (here, go) = (RawValue::new(0u32).unwrap(), RawValue::new(0u32).unwrap());
        let child = process::spawn(
            (lock.clone(), here.clone(), go.clone()),
            |(lock, here, go): (Mutex<u32>, RawValue<u32>, RawValue<u32>)| {
                let mut guard = lock.lock().unwrap();
                here.set(1);
                until(|| go.get() == 1);
                *guard = 7;
            },
        );
        until(|| here.get() == 1);
        let waiter = {
            let lock = lock.clone();
            coroutine::spawn_local(move || *lock.lock().unwrap())
        };
        common::until_in(&waiter, "process lock");
        for _ in 0..100 {
            coroutine::yield_now(); // we run, though it waits on our thread
        }
        let late = lock.lock_timeout(SHORT);
        assert!(matches!(late, Err(TryLockError::WouldBlock)));
        let cancelled = {
            let lock = lock.clone();
            coroutine::spawn_local(move || drop(lock.lock()))
        };
        common::until_in(&cancelled, "process lock");
        cancelled.cancel();
        assert!(cancelled.join().unwrap_err().is::<coroutine::Cancelled>());
        let outer = bingfa::time::timeout(SHORT, || drop(lock.lock()));
        assert!(outer.is_err());
        go.set(1);
        assert_eq!(waiter.join().unwrap(), 7);
        child.join().unwrap();
    });
}

#[test]
fn a_wait_on_a_thread_ends_in_time() {
    let lock = Mutex::new(()).unwrap();
    let guard = lock.lock().unwrap();
    std::thread::scope(|s| {
        s.spawn(|| {
            let start = Instant::now();
            let late = lock.lock_timeout(SHORT);
            assert!(matches!(late, Err(TryLockError::WouldBlock)));
            assert!(start.elapsed() >= SHORT);
            assert!(bingfa::time::timeout(SHORT, || drop(lock.lock())).is_err());
            assert!(matches!(lock.try_lock(), Err(TryLockError::WouldBlock)));
        });
    });
    drop(guard);
    assert!(lock.try_lock().is_ok());
}

#[test]
fn an_owner_that_is_killed_poisons_its_lock_for_all_who_wait() {
    on_both(|| {
        let lock = Mutex::new(1u32).unwrap();
        let here = RawValue::new(0u32).unwrap();
        let owner = process::spawn(
            (lock.clone(), here.clone()),
            |(lock, here): (Mutex<u32>, RawValue<u32>)| {
                let mut guard = lock.lock().unwrap();
                *guard = 2;
                stay(&here);
            },
        );
        until(|| here.get() == 1);
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                let lock = lock.clone();
                coroutine::spawn(move || {
                    let error = lock.lock().unwrap_err();
                    let text = error.to_string();
                    (*error.owner(), **error.get_ref(), text)
                })
            })
            .collect();
        for waiter in &waiters {
            common::until_in(waiter, "process lock");
        }
        // Another process waits, too.
        let other = process::spawn(lock.clone(), |lock: Mutex<u32>| {
            lock.lock().unwrap_err().owner().pid()
        });
        owner.kill().unwrap();
        for waiter in waiters {
            let (who, value, text) = waiter.join().unwrap();
            assert_eq!(who.pid(), owner.pid());
            assert!(who.has_died());
            assert_eq!(value, 2);
            let expected = format!("process {} ended while it had the lock", owner.pid());
            assert!(text.contains(&expected), "{text}");
            if let Some(status) = who.exit_status() {
                assert!(text.ends_with("signal: 9 (SIGKILL)"), "{text}: {status}");
            }
        }
        assert_eq!(other.join().unwrap(), owner.pid());
        assert!(lock.is_poisoned());
        lock.clear_poison();
        assert_eq!(*lock.lock().unwrap(), 2);
        owner.join().unwrap_err();
    });
}

#[test]
fn the_status_of_a_dead_owner_is_known_to_its_parent() {
    child("the_status_of_a_dead_owner_is_known_to_its_parent", || {
        let value = Value::new(1u32).unwrap();
        let owner = process::spawn(value.clone(), |value: Value<u32>| -> () {
            let _guard = value.lock().unwrap();
            std::process::exit(3); // without its destructor
        });
        let pid = owner.pid();
        owner.join().unwrap_err();
        let error = value.lock().unwrap_err();
        assert_eq!(error.owner().exit_status().unwrap().code(), Some(3));
        drop(error);
        let message = std::panic::catch_unwind(|| value.get()).unwrap_err();
        let message = message.downcast::<String>().unwrap();
        assert!(
            message.contains(&format!("process {pid} ended")),
            "{message}"
        );
    });
}

#[test]
fn a_panic_poisons_and_a_cancel_does_not() {
    let lock = Mutex::new(1u32).unwrap();
    let child = quiet()
        .stderr(process::Stdio::null())
        .spawn(lock.clone(), |lock: Mutex<u32>| -> () {
            let _guard = lock.lock().unwrap();
            panic!("on purpose");
        })
        .unwrap();
    let pid = child.pid();
    child.join().unwrap_err();
    let owner = *lock.lock().unwrap_err().owner();
    assert_eq!((owner.pid(), owner.has_died()), (pid, false));
    assert_eq!(owner.exit_status(), None);
    lock.clear_poison();

    on_one_thread(|| {
        let task = {
            let lock = lock.clone();
            coroutine::spawn_local(move || {
                let _guard = lock.lock().unwrap();
                coroutine::sleep(LONG);
            })
        };
        common::until_in(&task, "sleep");
        task.cancel();
        task.join().unwrap_err();
        assert!(lock.lock().is_ok());
    });
}

/// The parent of a process is killed, and that process holds a lock: its siblings hear of its
/// end although none of them is its parent.
#[test]
fn orphans_are_watched_by_their_siblings() {
    child("orphans_are_watched_by_their_siblings", || {
        let lock = Mutex::new(0u32).unwrap();
        let here = RawValue::new(0u32).unwrap();
        let pids = RawArray::new(&[0u32; 1]).unwrap();
        let parent = process::spawn(
            (lock.clone(), here.clone(), pids.clone()),
            |(lock, here, pids): (Mutex<u32>, RawValue<u32>, RawArray<u32>)| {
                let grandchild = process::spawn((lock, here), |(lock, here)| {
                    let (lock, here): (Mutex<u32>, RawValue<u32>) = (lock, here);
                    let _guard = lock.lock().unwrap();
                    stay(&here);
                });
                pids.set(0, grandchild.pid());
                grandchild.join().unwrap();
            },
        );
        let sibling = process::spawn(lock.clone(), |lock: Mutex<u32>| lock.lock().is_ok());
        until(|| here.get() == 1 && pids.get(0) != 0);
        parent.kill().unwrap();
        parent.join().unwrap_err();
        assert!(matches!(lock.try_lock(), Err(TryLockError::WouldBlock)));
        // SAFETY: takes no pointers; it is an orphan of ours that waits to be killed.
        unsafe { libc::kill(pids.get(0) as i32, libc::SIGKILL) };
        let error = lock.lock().unwrap_err();
        assert_eq!(error.owner().pid(), pids.get(0));
        drop(error);
        // It had the lock before, or has it now.
        sibling.join().unwrap();
    });
}

fn memory_files() -> usize {
    let fds = fs::read_dir("/proc/self/fd").unwrap();
    fds.filter(|fd| {
        let target = fs::read_link(fd.as_ref().unwrap().path()).unwrap_or_default();
        target.to_string_lossy().contains("memfd")
    })
    .count()
}

/// How much memory the family's file has.
fn committed() -> u64 {
    use std::os::unix::fs::MetadataExt;
    let fds = fs::read_dir("/proc/self/fd").unwrap();
    fds.filter_map(|fd| {
        let path = fd.unwrap().path();
        let target = fs::read_link(&path).ok()?;
        let is_memory = target.to_string_lossy().contains("memfd:bingfa");
        is_memory.then(|| fs::metadata(path).unwrap().blocks() * 512)
    })
    .sum()
}

#[test]
fn nothing_is_left_of_what_was_shared() {
    child("nothing_is_left_of_what_was_shared", || {
        let round = |kill: bool| {
            let memory = SharedMemory::new(64 << 20).unwrap();
            let lock = Mutex::new(0u64).unwrap();
            let here = RawValue::new(0u32).unwrap();
            let child = process::spawn(
                (memory, lock, here.clone(), kill),
                |(memory, lock, here, kill): (SharedMemory, Mutex<u64>, RawValue<u32>, bool)| {
                    let _guard = lock.lock().unwrap();
                    memory.write_at(0, &[1; 100]);
                    if kill {
                        stay(&here);
                    }
                },
            );
            if kill {
                until(|| here.get() == 1);
                // Only the child has it now, so it is still there.
                assert!(committed() >= 64 << 20);
                child.kill().unwrap();
            }
            assert_eq!(child.join().is_err(), kill);
        };
        round(false);
        let (before, files) = (committed(), common::usage::Usage::now());
        assert!(before < 16 << 20, "{before}");
        for i in 0..40 {
            round(i % 2 == 0);
        }
        assert_eq!(memory_files(), 1);
        assert!(
            committed() <= before + (1 << 20),
            "{before} {}",
            committed()
        );
        until(|| common::usage::Usage::now().descriptors <= files.descriptors);
    });
}

#[test]
fn ten_thousand_objects_need_one_descriptor() {
    child("ten_thousand_objects_need_one_descriptor", || {
        let locks: Vec<_> = (0..10_000u64).map(|n| Mutex::new(n).unwrap()).collect();
        assert_eq!(memory_files(), 1);
        let child = process::spawn(locks.clone(), |locks: Vec<Mutex<u64>>| {
            locks.iter().map(|lock| *lock.lock().unwrap()).sum::<u64>()
        });
        assert_eq!(child.join().unwrap(), 49_995_000);
    });
}

#[test]
fn without_memory_it_is_an_error() {
    let error = SharedMemory::new(usize::MAX).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
    assert!(error.to_string().contains("SharedMemory"), "{error}");
    let limited = quiet().memory_limit(400 << 20).spawn((), |()| {
        let small = SharedMemory::new(100).unwrap();
        let error = SharedMemory::new(1 << 30).unwrap_err();
        small.write_at(0, b"still there");
        error.to_string()
    });
    let text = limited.unwrap().join().unwrap();
    assert!(text.contains("no memory for a shared"), "{text}");
}

#[test]
fn a_handle_is_no_bytes() {
    let lock = Mutex::new(1u32).unwrap();
    let error = serde_json::to_string(&lock).unwrap_err().to_string();
    assert!(error.contains("Mutex<u32>"), "{error}");
    assert!(error.contains("can only be sent by bingfa"), "{error}");
}

#[test]
fn a_spawn_that_fails_takes_no_hold() {
    child("a_spawn_that_fails_takes_no_hold", || {
        let memory = SharedMemory::new(64 << 20).unwrap();
        let full = committed();
        let refused = Builder::new()
            .env("A=B", "impossible")
            .spawn(memory.clone(), |memory: SharedMemory| memory.len());
        refused.unwrap_err();
        drop(memory);
        assert!(committed() < full - (32 << 20));
    });
}

#[test]
fn named_memory_goes_with_its_owner() {
    let name = format!("test-{}", std::process::id());
    let memory = SharedMemory::create(&name, 5000).unwrap();
    let again = SharedMemory::create(&name, 1).unwrap_err();
    assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
    let child = process::spawn((memory.clone(), name.clone()), |(memory, name)| {
        let (memory, name): (SharedMemory, String) = (memory, name);
        let same = SharedMemory::open(&name).unwrap();
        same.write_at(4000, b"x");
        let mut byte = [0];
        memory.read_at(4000, &mut byte);
        (memory.name() == Some(&name), byte[0], same.len())
    });
    assert_eq!(child.join().unwrap(), (true, b'x', 5000));
    drop(memory);
    let gone = SharedMemory::open(&name).unwrap_err();
    assert_eq!(gone.kind(), io::ErrorKind::NotFound);
    for bad in ["", "a/b", "a\0b"] {
        let error = SharedMemory::create(bad, 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}

#[test]
fn a_name_that_is_no_file_of_ours_is_refused() {
    let name = format!("foreign-{}", std::process::id());
    let path = format!("/dev/shm/bingfa.{name}");
    let refused = || {
        for error in [
            SharedMemory::open(&name).unwrap_err(),
            SharedMemory::create(&name, 1).unwrap_err(),
        ] {
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
            assert!(error.to_string().contains(&path), "{error}");
        }
        fs::remove_file(&path).unwrap(); // nobody has removed it
    };
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    refused();
    fs::write(&path, "another's").unwrap();
    // Not without privileges.
    if std::os::unix::fs::chown(&path, Some(1), None).is_ok() {
        refused();
    } else {
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn the_name_of_a_killed_owner_is_removed_by_the_next_who_looks() {
    let name = format!("killed-{}", std::process::id());
    let here = RawValue::new(0u32).unwrap();
    let owner = process::spawn((name.clone(), here.clone()), |(name, here)| {
        let (name, here): (String, RawValue<u32>) = (name, here);
        let _memory = SharedMemory::create(&name, 100).unwrap();
        stay(&here);
    });
    until(|| here.get() == 1);
    let second = SharedMemory::open(&name).unwrap();
    owner.kill().unwrap();
    owner.join().unwrap_err();
    // We have it, so it is in use.
    assert_eq!(SharedMemory::open(&name).unwrap().len(), 100);
    drop(second);
    let path = format!("/dev/shm/bingfa.{name}");
    assert!(fs::exists(&path).unwrap());
    let gone = SharedMemory::open(&name).unwrap_err();
    assert_eq!(gone.kind(), io::ErrorKind::NotFound);
    assert!(!fs::exists(&path).unwrap());
    drop(SharedMemory::create(&name, 1).unwrap());
    assert!(!fs::exists(&path).unwrap());
}

#[test]
fn a_stopped_owner_is_waited_for_and_no_longer() {
    let lock = Mutex::new(0u32).unwrap();
    let here = RawValue::new(0u32).unwrap();
    let owner = process::spawn((lock.clone(), here.clone()), |(lock, here)| {
        let (lock, here): (Mutex<u32>, RawValue<u32>) = (lock, here);
        let _guard = lock.lock().unwrap();
        stay(&here);
    });
    until(|| here.get() == 1);
    owner.process().signal(libc::SIGSTOP).unwrap();
    let late = lock.lock_timeout(Duration::from_millis(20));
    assert!(matches!(late, Err(TryLockError::WouldBlock)));
    owner.kill().unwrap();
    lock.lock().unwrap_err();
    owner.join().unwrap_err();
}
