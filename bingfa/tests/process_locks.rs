//! Locks and semaphores that processes share, and what happens to those who wait when processes
//! die.

mod common;

use std::time::Instant;

use bingfa::coroutine;
use bingfa::process::{
    self, Barrier, BoundedSemaphore, Condvar, Event, Mutex, RawValue, ReentrantLock, RwLock,
    RwLockWriteGuard, Semaphore, TryLockError, Value,
};
use common::family::{child, flag, kill_and_join, stay, wait_here};
use common::{
    Flag, LONG, SHORT, cancel_and_join, labelled, on_both, on_one_thread, until, until_in,
};

// ReentrantLock

#[test]
fn a_reentrant_lock_is_its_owners_and_nobody_elses() {
    fn add(lock: &ReentrantLock<[u32; 2]>, levels: u32) {
        let guard = lock.lock().unwrap();
        let [a, b] = guard.get();
        assert_eq!(a, b);
        guard.set([a + 1, b]);
        if levels > 1 {
            guard.set([a + 1, b + 1]);
            add(lock, levels - 1);
        } else {
            coroutine::yield_now();
            guard.set([a + 1, b + 1]);
        }
    }
    let lock = ReentrantLock::new([0u32; 2]).unwrap();
    let children: Vec<_> = (0..2)
        .map(|_| {
            process::spawn(lock.clone(), |lock: ReentrantLock<[u32; 2]>| {
                (0..500).for_each(|_| add(&lock, 3));
            })
        })
        .collect();
    let mut rounds = 0;
    on_one_thread(|| {
        let tasks: Vec<_> = (0..3)
            .map(|_| {
                let lock = lock.clone();
                coroutine::spawn_local(move || (0..50).for_each(|_| add(&lock, 2)))
            })
            .collect();
        coroutine::join_all(tasks).unwrap();
    });
    rounds += common::backends().len() as u32;
    children.into_iter().for_each(|child| child.join().unwrap());
    let expected = 2 * 500 * 3 + rounds * 3 * 50 * 2;
    assert_eq!(lock.lock().unwrap().get(), [expected; 2]);
}

#[test]
fn another_coroutine_of_the_same_thread_waits_for_a_reentrant_lock() {
    on_one_thread(|| {
        let lock = ReentrantLock::new(0u32).unwrap();
        let first = lock.lock().unwrap();
        let second = lock.try_lock().unwrap();
        let late = Flag::new();
        let other = {
            let (lock, late) = (lock.clone(), late.clone());
            coroutine::spawn_local(move || {
                assert!(matches!(lock.try_lock(), Err(TryLockError::WouldBlock)));
                let result = lock.lock_timeout(SHORT);
                assert!(matches!(result, Err(TryLockError::WouldBlock)));
                late.set();
                let guard = lock.lock().unwrap();
                guard.set(guard.get() + 1);
            })
        };
        late.wait();
        until_in(&other, "process lock");
        drop(first);
        assert!(!other.is_finished());
        drop(second);
        other.join().unwrap();
        assert_eq!(lock.lock_timeout(LONG).unwrap().get(), 1);
    });
}

#[test]
fn the_owner_of_a_reentrant_lock_is_killed() {
    on_both(|| {
        let (lock, here) = (ReentrantLock::new(1u32).unwrap(), flag());
        let owner = process::spawn((lock.clone(), here.clone()), |(lock, here)| {
            let lock: ReentrantLock<u32> = lock;
            let guards = [lock.lock().unwrap(), lock.lock().unwrap()];
            guards[1].set(2);
            stay(&here);
        });
        until(|| here.get() == 1);
        let waiter = {
            let lock = lock.clone();
            coroutine::spawn(move || {
                let error = lock.lock().unwrap_err();
                (error.owner().pid(), error.get_ref().get())
            })
        };
        until_in(&waiter, "process lock");
        let pid = kill_and_join(owner);
        assert_eq!(waiter.join().unwrap(), (pid, 2));
        assert!(lock.is_poisoned());
        lock.clear_poison();
        // The dead one's depth is not ours.
        drop(lock.lock().unwrap());
        let child = process::spawn(lock, |lock: ReentrantLock<u32>| lock.try_lock().is_ok());
        assert!(child.join().unwrap());
    });
}

// Semaphore

#[test]
fn no_more_than_the_permits_are_inside() {
    fn visit(slots: &Semaphore, inside: &Value<u32>) {
        for _ in 0..100 {
            let permit = slots.acquire();
            assert!(
                inside.update(|n| {
                    *n += 1;
                    *n
                }) <= 3
            );
            coroutine::checkpoint();
            inside.update(|n| *n -= 1);
            drop(permit);
        }
    }
    let (slots, inside) = (Semaphore::new(3).unwrap(), Value::new(0u32).unwrap());
    let children: Vec<_> = (0..3)
        .map(|_| {
            process::spawn((slots.clone(), inside.clone()), |(slots, inside)| {
                let tasks: Vec<_> = (0..3)
                    .map(|_| {
                        let (slots, inside) = (Semaphore::clone(&slots), Value::clone(&inside));
                        coroutine::spawn(move || visit(&slots, &inside))
                    })
                    .collect();
                coroutine::join_all(tasks).unwrap();
            })
        })
        .collect();
    on_one_thread(|| {
        let tasks: Vec<_> = (0..4)
            .map(|_| {
                let (slots, inside) = (slots.clone(), inside.clone());
                coroutine::spawn_local(move || visit(&slots, &inside))
            })
            .collect();
        coroutine::join_all(tasks).unwrap();
    });
    visit(&slots, &inside);
    children.into_iter().for_each(|child| child.join().unwrap());
    assert_eq!(slots.available_permits(), 3);
}

#[test]
fn whoever_wants_several_permits_is_next() {
    on_one_thread(|| {
        let slots = Semaphore::new(4).unwrap();
        let held = slots.acquire_many(2);
        let large = {
            let slots = slots.clone();
            coroutine::spawn_local(move || slots.acquire_many(4).num_permits())
        };
        until_in(&large, "process semaphore");
        assert!(slots.try_acquire().is_none()); // though two are free
        assert!(slots.acquire_timeout(SHORT).is_none());
        let small = {
            let slots = slots.clone();
            coroutine::spawn_local(move || slots.acquire().num_permits())
        };
        until_in(&small, "process semaphore");
        cancel_and_join(large); // then the others may
        assert_eq!(small.join().unwrap(), 1);
        let several: Vec<_> = (0..2)
            .map(|_| {
                let slots = slots.clone();
                let task = coroutine::spawn_local(move || slots.acquire_many(3).num_permits());
                until_in(&task, "process semaphore");
                task
            })
            .collect();
        drop(held);
        assert_eq!(coroutine::join_all(several).unwrap(), [3, 3]);
        assert!(slots.acquire_many_timeout(5, SHORT).is_none());
        assert!(bingfa::time::timeout(SHORT, || drop(slots.acquire_many(5))).is_err());
        assert_eq!(slots.available_permits(), 4);
        slots.add_permits(1);
        slots.acquire_many(5).forget();
        assert_eq!(slots.available_permits(), 0);
        assert!(slots.try_acquire_many(usize::MAX).is_none());
    });
    assert!(Semaphore::new(usize::MAX).is_err());
}

#[test]
fn the_permits_of_a_killed_process_are_given_back() {
    on_both(|| {
        let (slots, here) = (Semaphore::new(4).unwrap(), flag());
        let holder = process::spawn((slots.clone(), here.clone()), |(slots, here)| {
            let slots: Semaphore = slots;
            slots.acquire().forget(); // this one is not
            let _permits = (slots.acquire(), slots.acquire_many(2));
            stay(&here);
        });
        until(|| here.get() == 1);
        assert_eq!(slots.available_permits(), 0);
        let waiter = {
            let slots = slots.clone();
            coroutine::spawn(move || slots.acquire_many(3).num_permits())
        };
        until_in(&waiter, "process semaphore");
        kill_and_join(holder);
        assert_eq!(waiter.join().unwrap(), 3);
        assert_eq!(slots.available_permits(), 3);
        // A killed waiter for several holds nobody up.
        let here = flag();
        let waiter = process::spawn((slots.clone(), here.clone()), |(slots, here)| {
            let slots: Semaphore = slots;
            wait_here(&here, "process semaphore", move || {
                drop(slots.acquire_many(4))
            });
        });
        until(|| here.get() == 1);
        assert!(slots.try_acquire().is_none());
        kill_and_join(waiter);
        drop(slots.acquire());
        assert_eq!(slots.available_permits(), 3);
    });
}

#[test]
fn a_bounded_semaphore_takes_back_what_was_forgotten_and_no_more() {
    let slots = BoundedSemaphore::new(3).unwrap();
    assert!(slots.release(1).is_err());
    let opener = process::spawn(slots.clone(), |slots: BoundedSemaphore| {
        slots.acquire_many(2).forget();
    });
    opener.join().unwrap();
    let held = slots.acquire();
    assert!(slots.try_acquire().is_none());
    assert!(slots.release(3).is_err());
    slots.release(2).unwrap();
    assert!(slots.release(1).is_err());
    drop(held);
    assert_eq!(slots.available_permits(), 3);
    let too_many = std::panic::catch_unwind(|| drop(slots.acquire_many(4)));
    assert!(too_many.is_err());
}

// RwLock

#[test]
fn readers_share_and_a_writer_is_alone() {
    fn write(table: &RwLock<[u64; 2]>) {
        let mut table = table.write().unwrap();
        table[0] += 1;
        coroutine::checkpoint();
        table[1] += 1;
    }
    fn work(table: &RwLock<[u64; 2]>) {
        for round in 0..200 {
            if round % 4 == 0 {
                write(table);
            } else {
                let table = table.read().unwrap();
                assert_eq!(table[0], table[1]);
            }
        }
    }
    let table = RwLock::new([0u64; 2]).unwrap();
    let children: Vec<_> = (0..3)
        .map(|_| process::spawn(table.clone(), |table: RwLock<[u64; 2]>| work(&table)))
        .collect();
    on_one_thread(|| {
        let tasks: Vec<_> = (0..3)
            .map(|_| {
                let table = table.clone();
                coroutine::spawn_local(move || work(&table))
            })
            .collect();
        coroutine::join_all(tasks).unwrap();
    });
    children.into_iter().for_each(|child| child.join().unwrap());
    let writes = 50 * (3 + 3 * common::backends().len() as u64);
    assert_eq!(*table.read().unwrap(), [writes; 2]);
}

#[test]
fn a_waiting_writer_keeps_readers_out_until_it_gives_up() {
    on_one_thread(|| {
        let table = RwLock::new(1u32).unwrap();
        let (first, second) = (table.read().unwrap(), table.read().unwrap());
        let writer = {
            let table = table.clone();
            coroutine::spawn_local(move || *table.write().unwrap() = 2)
        };
        until_in(&writer, "process rwlock (write)");
        assert!(matches!(table.try_read(), Err(TryLockError::WouldBlock)));
        let late = table.read_timeout(SHORT);
        assert!(matches!(late, Err(TryLockError::WouldBlock)));
        let reader = {
            let table = table.clone();
            coroutine::spawn_local(move || *table.read().unwrap())
        };
        until_in(&reader, "process rwlock (read)");
        cancel_and_join(writer);
        assert_eq!(reader.join().unwrap(), 1);
        let late = table.write_timeout(SHORT);
        assert!(matches!(late, Err(TryLockError::WouldBlock)));
        drop((first, second));
        assert!(table.try_read().is_ok());
        let mut guard = table.write_deadline(Instant::now() + LONG).unwrap();
        *guard = 3;
        assert!(matches!(table.try_write(), Err(TryLockError::WouldBlock)));
        let guard = RwLockWriteGuard::downgrade(guard);
        assert_eq!(*table.try_read().unwrap(), *guard);
        assert!(matches!(table.try_write(), Err(TryLockError::WouldBlock)));
        drop(guard);
        assert!(table.try_write().is_ok());
    });
}

#[test]
fn a_killed_reader_has_gone_and_a_killed_writer_poisons() {
    on_both(|| {
        let (table, here) = (RwLock::new(1u32).unwrap(), flag());
        let reader = process::spawn((table.clone(), here.clone()), |(table, here)| {
            let table: RwLock<u32> = table;
            let _guards = (table.read().unwrap(), table.read().unwrap());
            stay(&here);
        });
        until(|| here.get() == 1);
        // A writer that waits changes nothing when it is killed.
        let there = flag();
        let next = process::spawn((table.clone(), there.clone()), |(table, there)| {
            let table: RwLock<u32> = table;
            let wait = move || drop(table.write());
            wait_here(&there, "process rwlock (write)", wait);
        });
        until(|| there.get() == 1);
        kill_and_join(next);
        assert_eq!(*table.read().unwrap(), 1);
        let writer = {
            let table = table.clone();
            coroutine::spawn(move || *table.write().unwrap() = 2)
        };
        until_in(&writer, "process rwlock (write)");
        kill_and_join(reader);
        writer.join().unwrap();

        here.set(0);
        let writer = process::spawn((table.clone(), here.clone()), |(table, here)| {
            let table: RwLock<u32> = table;
            let mut guard = table.write().unwrap();
            *guard = 3;
            stay(&here);
        });
        until(|| here.get() == 1);
        let waiter = {
            let table = table.clone();
            coroutine::spawn(move || {
                let error = table.read().unwrap_err();
                (error.owner().pid(), **error.get_ref())
            })
        };
        until_in(&waiter, "process rwlock (read)");
        let pid = kill_and_join(writer);
        assert_eq!(waiter.join().unwrap(), (pid, 3));
        assert_eq!(table.write().unwrap_err().owner().pid(), pid);
        table.clear_poison();
        assert!(table.read().is_ok());
    });
}

// All

/// Whatever a process does when it is killed, what it had is known.
#[test]
fn nothing_is_lost_by_kills_at_any_moment() {
    labelled("kills", || {
        let (slots, table) = (Semaphore::new(5).unwrap(), RwLock::new([0u32; 2]).unwrap());
        let done = flag();
        for round in 0..40u32 {
            done.set(0);
            let arguments = (slots.clone(), table.clone(), done.clone());
            let child = process::spawn(arguments, |(slots, table, done)| {
                let (slots, done): (Semaphore, RawValue<u32>) = (slots, done);
                let table: RwLock<[u32; 2]> = table;
                for n in 1.. {
                    let permits = (slots.acquire(), slots.acquire_many(n as usize % 3));
                    let shared = table
                        .read()
                        .map_or_else(|e| *e.into_inner(), |guard| *guard);
                    drop(permits);
                    if n % 4 == 0 {
                        *table.write().unwrap_or_else(|e| e.into_inner()) = [shared[0] + 1; 2];
                    }
                    done.set(n);
                }
            });
            until(|| done.get() > round * 7 % 50);
            kill_and_join(child);
            let all = slots.acquire_many_timeout(5, LONG).unwrap();
            assert_eq!(slots.available_permits(), 0);
            drop(all);
            let guard = table.write_timeout(LONG);
            drop(guard);
            table.clear_poison();
        }
        assert_eq!(slots.available_permits(), 5);
        assert!(table.try_write().is_ok());
    });
}

#[test]
fn a_stopped_process_is_waited_for_and_no_longer() {
    let (barrier, event) = (Barrier::new(2).unwrap(), Event::new().unwrap());
    let (lock, here) = (ReentrantLock::new(()).unwrap(), flag());
    let (slots, table) = (Semaphore::new(1).unwrap(), RwLock::new(1u8).unwrap());
    let shared = (slots.clone(), table.clone());
    let arguments = (
        barrier.clone(),
        event.clone(),
        lock.clone(),
        shared,
        here.clone(),
    );
    let stopped = process::spawn(arguments, |(barrier, event, lock, shared, here)| {
        let (_barrier, _event): (Barrier, Event) = (barrier, event);
        let (slots, table): (Semaphore, RwLock<u8>) = shared;
        let (_permit, _reader) = (slots.acquire(), table.read());
        let lock: ReentrantLock<()> = lock;
        let _guard = lock.lock().unwrap();
        stay(&here);
    });
    until(|| here.get() == 1);
    stopped.process().signal(libc::SIGSTOP).unwrap();
    assert!(barrier.wait_timeout(SHORT).unwrap().is_none());
    assert!(!event.wait_timeout(SHORT));
    let late = lock.lock_timeout(SHORT);
    assert!(matches!(late, Err(TryLockError::WouldBlock)));
    assert!(slots.acquire_timeout(SHORT).is_none());
    assert!(table.read_timeout(SHORT).is_ok());
    let late = table.write_timeout(SHORT);
    assert!(matches!(late, Err(TryLockError::WouldBlock)));
    let pid = kill_and_join(stopped);
    drop((slots.acquire(), table.write().unwrap()));
    assert_eq!(barrier.wait().unwrap_err().pid(), pid);
    assert_eq!(lock.lock().unwrap_err().owner().pid(), pid);
}

#[test]
fn locks_are_no_bytes() {
    labelled("bytes", || {
        let errors = [
            serde_json::to_string(&Event::new().unwrap()).unwrap_err(),
            serde_json::to_string(&Barrier::new(1).unwrap()).unwrap_err(),
            serde_json::to_string(&Condvar::new().unwrap()).unwrap_err(),
            serde_json::to_string(&ReentrantLock::new(1u8).unwrap()).unwrap_err(),
            serde_json::to_string(&Semaphore::new(1).unwrap()).unwrap_err(),
            serde_json::to_string(&BoundedSemaphore::new(1).unwrap()).unwrap_err(),
            serde_json::to_string(&RwLock::new(1u8).unwrap()).unwrap_err(),
        ];
        let names = [
            "Event",
            "Barrier",
            "Condvar",
            "ReentrantLock",
            "Semaphore",
            "BoundedSemaphore",
            "RwLock",
        ];
        for (error, name) in errors.iter().zip(names) {
            let error = error.to_string();
            assert!(error.contains(name), "{error}");
            assert!(error.contains("can only be sent by bingfa"), "{error}");
        }
    });
}
#[test]
fn what_a_fork_has_copied_unlocks_nothing() {
    child("what_a_fork_has_copied_unlocks_nothing", || {
        let (mutex, rwlock) = (Mutex::new(1u32).unwrap(), RwLock::new(1u32).unwrap());
        let (shared, again) = (
            RwLock::new(1u32).unwrap(),
            ReentrantLock::new(1u32).unwrap(),
        );
        let mut locked = Some((
            mutex.lock().unwrap(),
            rwlock.write().unwrap(),
            shared.read().unwrap(),
            again.lock().unwrap(),
            again.lock().unwrap(),
        ));
        // SAFETY: the copy only drops what needs no lock, and ends by `_exit`.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            locked = None;
            // SAFETY: ends the copy.
            unsafe { libc::_exit(if locked.is_none() { 42 } else { 1 }) };
        }
        let mut status = 0;
        // SAFETY: `status` is writable.
        assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
        assert_eq!(libc::WEXITSTATUS(status), 42);
        let free = || {
            let elsewhere = || {
                [
                    mutex.try_lock().is_ok(),
                    rwlock.try_read().is_ok(),
                    shared.try_write().is_ok(),
                    again.try_lock().is_ok(),
                ]
            };
            std::thread::scope(|scope| scope.spawn(elsewhere).join().unwrap())
        };
        assert_eq!(free(), [false; 4]);
        drop(locked);
        assert_eq!(free(), [true; 4]);
    });
}
