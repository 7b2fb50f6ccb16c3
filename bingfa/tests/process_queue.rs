//! Queues and channels between processes, and what happens to them when processes die.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bingfa::coroutine;
use bingfa::process::{
    self, Builder, Fd, GetError, JoinHandle, PutError, Queue, RawValue, Receiver, Sender,
    SharedMemory, Unjoined, Value,
};
use common::family::child;
use common::usage::{Usage, limit_descriptors, shared_memory};
use common::{LONG, SHORT, labelled, on_both, on_one_thread, until};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Dish {
    Bun(u32),
    Soup { name: String, hot: bool },
    Nothing,
}

#[test]
fn items_of_every_length_arrive_in_order() {
    labelled("lengths", || {
        on_both(|| {
            let (there, back) = (Queue::bounded(4).unwrap(), Queue::unbounded().unwrap());
            let child = process::spawn((there.clone(), back.clone()), |(there, back)| {
                let (there, back): (Queue<Vec<u8>>, Queue<Vec<u8>>) = (there, back);
                while let Ok(mut item) = there.get() {
                    item.reverse();
                    back.put(item).unwrap();
                }
            });
            let lengths = [
                0, 1, 7, 8, 9, 100, 1000, 4093, 4094, 4095, 4096, 4097, 70_000, 3,
            ];
            let item = |len: usize| (0..len).map(|i| (i * 7 + len) as u8).collect::<Vec<_>>();
            for round in 0..20 {
                for len in lengths {
                    there.put(item(len + round)).unwrap();
                }
            }
            there.close();
            assert!(matches!(there.put(vec![]), Err(PutError::Closed(item, _)) if item.is_empty()));
            for round in 0..20 {
                for len in lengths {
                    let mut same = back.get().unwrap();
                    same.reverse();
                    assert!(same == item(len + round), "{len} {round}");
                }
            }
            child.join().unwrap();
        });
    });
}

#[test]
fn many_producers_and_consumers_lose_and_double_nothing() {
    const EACH: u64 = 3000;
    let (queue, sums) = (Queue::bounded(16).unwrap(), Queue::unbounded().unwrap());
    let producers: Vec<_> = (0..3u64)
        .map(|who| {
            process::spawn((queue.clone(), who), |(queue, who): (Queue<u64>, u64)| {
                for n in 0..EACH {
                    queue.put(who * EACH + n).unwrap();
                }
            })
        })
        .collect();
    let consumers: Vec<_> = (0..3)
        .map(|_| {
            process::spawn((queue.clone(), sums.clone()), |(queue, sums)| {
                let (queue, sums): (Queue<u64>, Queue<Vec<u64>>) = (queue, sums);
                let mut mine = Vec::new();
                while let Ok(n) = queue.get() {
                    mine.push(n);
                    queue.task_done().unwrap();
                }
                sums.put(mine).unwrap();
            })
        })
        .collect();
    for producer in producers {
        producer.join().unwrap();
    }
    queue.join().unwrap();
    queue.close();
    let mut all: Vec<u64> = (0..3).flat_map(|_| sums.get().unwrap()).collect();
    all.sort_unstable();
    assert!(all.iter().copied().eq(0..3 * EACH));
    for consumer in consumers {
        consumer.join().unwrap();
    }
}

#[test]
fn what_a_queue_says_of_itself() {
    on_both(|| {
        let queue = Queue::bounded(2).unwrap();
        assert!(queue.is_empty() && !queue.is_full() && queue.capacity() == Some(2));
        queue.put(Dish::Bun(1)).unwrap();
        let soup = Dish::Soup {
            name: "wonton".into(),
            hot: true,
        };
        queue.try_put(soup).unwrap();
        assert!(queue.is_full() && queue.len() == 2);
        let full = queue.try_put(Dish::Nothing).unwrap_err();
        assert!(full.is_full() && full.into_inner() == Dish::Nothing);
        let late = queue.put_timeout(Dish::Nothing, SHORT).unwrap_err();
        assert_eq!(late.to_string(), "the queue is full");
        assert_eq!(queue.get().unwrap(), Dish::Bun(1));
        assert_eq!(queue.join_timeout(SHORT), Err(Unjoined::Unfinished(2)));
        assert!(matches!(queue.get().unwrap(), Dish::Soup { hot: true, .. }));
        assert!(matches!(queue.try_get(), Err(GetError::Empty)));
        assert!(matches!(queue.get_timeout(SHORT), Err(GetError::Empty)));
        queue.task_done().unwrap();
        queue.task_done().unwrap();
        queue.task_done().unwrap_err();
        queue.join().unwrap();
        queue.close();
        assert!(queue.is_closed());
        let closed = queue.get().unwrap_err();
        assert_eq!(
            closed.to_string(),
            "the queue is empty, and the queue is closed"
        );
        assert!(Queue::<u8>::bounded(0).is_err());
        let fd = Queue::unbounded().unwrap();
        let (_r, w) = std::io::pipe().unwrap();
        let refused = fd.put(Fd::from(std::os::fd::OwnedFd::from(w))).unwrap_err();
        assert!(refused.to_string().contains("process::pipe"), "{refused}");
    });
}

#[test]
fn waits_suspend_a_coroutine_and_can_be_cut_short() {
    on_one_thread(|| {
        let queue: Queue<u32> = Queue::bounded(1).unwrap();
        let getters: Vec<_> = (0..3)
            .map(|_| {
                let queue = queue.clone();
                coroutine::spawn_local(move || queue.get().unwrap())
            })
            .collect();
        for getter in &getters {
            common::until_in(getter, "process queue get");
        }
        getters[1].cancel();
        let child = process::spawn(queue.clone(), |queue: Queue<u32>| {
            queue.put(1).unwrap();
            queue.put(1).unwrap();
        });
        let ended = getters.into_iter().map(|getter| getter.join().ok());
        assert_eq!(ended.flatten().sum::<u32>(), 2);
        child.join().unwrap();
        assert!(queue.is_empty());

        let queue: Queue<u32> = Queue::bounded(1).unwrap(); // which nobody has let go of
        queue.put(5).unwrap();
        let putter = {
            let queue = queue.clone();
            coroutine::spawn_local(move || drop(queue.put_timeout(6, LONG)))
        };
        common::until_in(&putter, "process queue put");
        putter.cancel();
        putter.join().unwrap_err();
        assert_eq!(queue.get().unwrap(), 5);
        assert!(bingfa::time::timeout(SHORT, || drop(queue.get_timeout(LONG))).is_err());
    });
}

#[test]
fn a_wait_that_nobody_can_end_is_an_error_that_names_the_last() {
    on_both(|| {
        let queue: Queue<u32> = Queue::bounded(1).unwrap();
        let producer = process::spawn(queue.clone(), |queue: Queue<u32>| {
            queue.put(1).unwrap();
            std::thread::sleep(LONG);
        });
        assert_eq!(queue.get().unwrap(), 1);
        let waiter = {
            let queue = queue.clone();
            coroutine::spawn(move || queue.get().unwrap_err().to_string())
        };
        common::until_in(&waiter, "process queue get");
        producer.kill().unwrap();
        let text = waiter.join().unwrap();
        let named = format!("process {}, which has ended", producer.pid());
        assert!(text.contains(&named), "{text}");
        // One item fits without anybody to take it; the next would wait for ever.
        queue.put(2).unwrap();
        let Err(PutError::Closed(3, why)) = queue.put(3) else {
            panic!("nobody can take it");
        };
        let last = why.last().unwrap();
        assert!(last.has_ended() && last.pid() == producer.pid());
        producer.join().unwrap_err();
        // Somebody gets it, so it works again.
        let next = process::spawn(queue.clone(), |queue: Queue<u32>| {
            (queue.get().unwrap(), queue.get().unwrap())
        });
        queue.put(3).unwrap();
        assert_eq!(next.join().unwrap(), (2, 3));
    });
}

/// Kills children at moments that nobody has chosen, while they do what `work` does.
fn kill_at_any_moment(
    rounds: u32,
    spawn: impl Fn() -> JoinHandle<()>,
    mut between: impl FnMut(u32),
) {
    static PAUSE: AtomicUsize = AtomicUsize::new(0);
    for round in 0..rounds {
        let child = spawn();
        // Longer and longer, in steps of an odd length, so that all moments are met.
        let pause = 200 + (PAUSE.fetch_add(1, SeqCst) * 373) % 4000;
        std::thread::sleep(Duration::from_micros(pause as u64));
        child.kill().unwrap();
        child.join().unwrap_err();
        between(round);
    }
}

#[test]
fn producers_killed_at_any_moment_lose_and_double_nothing_committed() {
    child(
        "producers_killed_at_any_moment_lose_and_double_nothing_committed",
        || {
            let queue: Queue<Vec<u64>> = Queue::bounded(64).unwrap();
            // How far the producer has come, as it says itself before and after each put.
            let (begun, done) = (RawValue::new(0u64).unwrap(), RawValue::new(0u64).unwrap());
            let consumer = {
                let queue = queue.clone();
                std::thread::spawn(move || {
                    let mut seen: Vec<u64> = Vec::new();
                    loop {
                        match queue.get_timeout(LONG) {
                            Ok(item) if item.is_empty() => return seen,
                            Ok(item) => {
                                assert!(item.iter().all(|n| *n == item[0]), "a torn item");
                                seen.push(item[0]);
                            }
                            // Between two producers.
                            Err(GetError::Closed(_)) => std::thread::yield_now(),
                            Err(error) => panic!("{error}"),
                        }
                    }
                })
            };
            let mut doubtful = BTreeSet::new();
            kill_at_any_moment(
                60,
                || {
                    let arguments = (queue.clone(), begun.clone(), done.clone());
                    process::spawn(arguments, |(queue, begun, done)| {
                        let queue: Queue<Vec<u64>> = queue;
                        let (begun, done): (RawValue<u64>, RawValue<u64>) = (begun, done);
                        loop {
                            let n = begun.get() + 1;
                            begun.set(n);
                            // Every seventh does not fit into a segment.
                            let len = if n % 7 == 0 {
                                3000
                            } else {
                                n as usize % 50 + 1
                            };
                            queue.put(vec![n; len]).unwrap();
                            done.set(n);
                        }
                    })
                },
                |_| {
                    if begun.get() != done.get() {
                        doubtful.insert(begun.get());
                    }
                },
            );
            // The last word is ours: whatever locks the dead left, it goes through.
            // (While it is full, no other process could make room; our thread does.)
            while let Err(PutError::Closed(..)) = queue.put(Vec::new()) {
                std::thread::yield_now();
            }
            let seen = consumer.join().unwrap();
            assert!(
                seen.len() > 100,
                "they were killed before they did anything"
            );
            let mut missing: BTreeSet<u64> = (1..=begun.get()).collect();
            let mut before = 0;
            for n in seen {
                assert!(n > before, "{n} after {before}: doubled or out of order");
                before = n;
                missing.remove(&n);
            }
            assert!(
                missing.is_subset(&doubtful),
                "lost: {:?}",
                missing.difference(&doubtful)
            );
        },
    );
}

#[test]
fn consumers_killed_at_any_moment_lose_and_double_nothing() {
    child(
        "consumers_killed_at_any_moment_lose_and_double_nothing",
        || {
            let queue: Queue<Vec<u64>> = Queue::bounded(64).unwrap();
            let end = RawValue::new(0u32).unwrap();
            let producer = process::spawn((queue.clone(), end.clone()), |(queue, end)| {
                let (queue, end): (Queue<Vec<u64>>, RawValue<u32>) = (queue, end);
                let mut n = 0;
                while end.get() == 0 {
                    n += 1;
                    let len = if n % 7 == 0 {
                        3000
                    } else {
                        n as usize % 50 + 1
                    };
                    queue.put(vec![n; len]).unwrap();
                }
                n
            });
            let seen = RawValue::new(0u64).unwrap();
            let (mut gaps, mut told) = (0, 0);
            kill_at_any_moment(
                60,
                || {
                    process::spawn((queue.clone(), seen.clone()), |(queue, seen)| {
                        let (queue, seen): (Queue<Vec<u64>>, RawValue<u64>) = (queue, seen);
                        loop {
                            let item = queue.get().unwrap();
                            assert!(item.iter().all(|n| *n == item[0]), "a torn item");
                            assert!(item[0] > seen.get(), "doubled");
                            seen.set(item[0]);
                            queue.task_done().unwrap();
                        }
                    })
                },
                |round| {
                    // The next item is the next one, or one died in the hands of the dead.
                    let item = queue.get().unwrap();
                    queue.task_done().unwrap();
                    let missing = item[0] - seen.get() - 1;
                    assert!(missing <= 1, "round {round}: {missing} items were lost");
                    gaps += missing;
                    seen.set(item[0]);
                    if let Err(Unjoined::Abandoned(abandoned)) = queue.join_timeout(Duration::ZERO)
                    {
                        told += abandoned.items;
                    }
                },
            );
            end.set(1);
            let mut last = seen.get();
            assert!(last > 100, "they were killed before they did anything");
            let put = loop {
                match queue.get() {
                    Ok(item) => {
                        assert_eq!(item[0], last + 1);
                        last += 1;
                        queue.task_done().unwrap();
                    }
                    Err(GetError::Closed(_)) => break producer.join().unwrap(),
                    Err(error) => panic!("{error}"),
                }
            };
            assert_eq!(last, put);
            // Who was killed between the get and its `seen`, or before `task_done`, had it in hand.
            assert!(told >= gaps, "{gaps} items were lost, {told} were told of");
            queue.join().unwrap();
        },
    );
}

#[test]
fn a_process_that_is_stopped_at_any_moment_holds_no_time_limit_up() {
    on_both(|| {
        let queue: Queue<u64> = Queue::bounded(1000).unwrap();
        let busy = process::spawn(queue.clone(), |queue: Queue<u64>| {
            for n in 0.. {
                let _ = queue.try_put(n);
                let _ = queue.try_get();
            }
        });
        until(|| !queue.is_empty());
        for round in 0..30u32 {
            std::thread::sleep(Duration::from_micros(u64::from(round * 97 % 500)));
            busy.process().signal(libc::SIGSTOP).unwrap();
            let stopped = || {
                let stat = fs::read_to_string(format!("/proc/{}/stat", busy.pid())).unwrap();
                stat.rsplit(") ").next().unwrap().starts_with('T')
            };
            until(stopped);
            // It may have either lock now, or none. All of these come back.
            let _ = queue.put_timeout(1, SHORT);
            while queue.get_timeout(SHORT).is_ok() {}
            let _ = queue.try_put(1);
            let _ = queue.try_get();
            assert!(bingfa::time::timeout(SHORT, || while queue.get().is_ok() {}).is_err());
            busy.process().signal(libc::SIGCONT).unwrap();
        }
        busy.kill().unwrap();
        busy.join().unwrap_err();
    });
}

#[test]
fn a_channel_ends_when_one_of_its_ends_has_gone() {
    on_both(|| {
        let (sender, receiver) = process::channel::<u32>(Some(2)).unwrap();
        let senders: Vec<_> = (0..2)
            .map(|n| {
                process::spawn((n, sender.clone()), |(n, sender): (u32, Sender<u32>)| {
                    for _ in 0..10 {
                        sender.send(n).unwrap();
                    }
                })
            })
            .collect();
        drop(sender);
        assert_eq!(receiver.iter().sum::<u32>(), 10);
        assert!(matches!(receiver.try_recv(), Err(GetError::Closed(_))));
        for sender in senders {
            sender.join().unwrap();
        }

        let (sender, receiver) = process::channel::<u32>(Some(1)).unwrap();
        let taker = process::spawn(receiver, |receiver: Receiver<u32>| {
            receiver.recv().unwrap();
            std::thread::sleep(LONG);
        });
        sender.send(1).unwrap();
        until(|| sender.is_empty());
        sender.send(2).unwrap();
        let waiter = {
            let sender = sender.clone();
            coroutine::spawn(move || sender.send(3).unwrap_err().to_string())
        };
        common::until_in(&waiter, "process queue put");
        taker.kill().unwrap();
        let text = waiter.join().unwrap();
        assert!(text.contains(&format!("process {}", taker.pid())), "{text}");
        assert!(matches!(sender.try_send(4), Err(PutError::Closed(4, _))));
        taker.join().unwrap_err();
    });
}

#[test]
fn handles_travel_in_items_and_outlive_their_sender() {
    let queue: Queue<(Queue<u32>, Value<u32>)> = Queue::unbounded().unwrap();
    let sender = process::spawn(queue.clone(), |queue: Queue<(Queue<u32>, Value<u32>)>| {
        let inner = Queue::unbounded().unwrap();
        inner.put(7).unwrap();
        queue.put((inner, Value::new(8).unwrap())).unwrap();
    });
    sender.join().unwrap();
    let (inner, value) = queue.get().unwrap();
    assert_eq!((inner.get().unwrap(), value.get()), (7, 8));
}

#[test]
fn a_queue_leaves_nothing_behind() {
    child("a_queue_leaves_nothing_behind", || {
        let round = || {
            let queue: Queue<Vec<u8>> = Queue::unbounded().unwrap();
            for len in [10, 5000, 100_000, 3] {
                for _ in 0..20 {
                    queue.put(vec![1; len]).unwrap();
                }
            }
            let child = process::spawn(queue.clone(), |queue: Queue<Vec<u8>>| {
                (0..30).map(|_| queue.get().unwrap().len()).sum::<usize>()
            });
            assert_eq!(child.join().unwrap(), 200 + 50_000);
            // Fifty are in it when it goes.
        };
        round();
        let before = shared_memory();
        for _ in 0..20 {
            round();
        }
        assert!(
            shared_memory() <= before + (1 << 20),
            "{before} {}",
            shared_memory()
        );
    });
}

#[test]
fn ten_thousand_queues_work_at_once() {
    child("ten_thousand_queues_work_at_once", || {
        limit_descriptors(1024); // whatever this machine's default is
        let before = Usage::now().descriptors;
        let queues: Vec<Queue<u32>> = (0..10_000).map(|_| Queue::bounded(1).unwrap()).collect();
        let more = Usage::now().descriptors - before;
        assert!(more < 20, "{more} descriptors for them");
        let child = Builder::new().spawn(queues.clone(), |queues: Vec<Queue<u32>>| {
            assert!(Usage::now().descriptors < 50);
            for (n, queue) in queues.iter().enumerate() {
                queue.put(n as u32).unwrap();
            }
        });
        common::runtime(bingfa::IoBackend::Auto, 1).run(|| {
            let getters: Vec<_> = queues
                .iter()
                .map(|queue| {
                    let queue = queue.clone();
                    coroutine::spawn_local(move || u64::from(queue.get().unwrap()))
                })
                .collect();
            let sum: u64 = getters.into_iter().map(|g| g.join().unwrap()).sum();
            assert_eq!(sum, 49_995_000);
        });
        child.unwrap().join().unwrap();
    });
}

/// Bytes in one piece: a `Vec<u8>` is encoded item by item.
struct Bytes(Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&[u8]>::deserialize(deserializer).map(|bytes| Bytes(bytes.to_vec()))
    }
}

#[test]
fn an_item_of_a_gigabyte_arrives() {
    child("an_item_of_a_gigabyte_arrives", || {
        const LEN: usize = 1 << 30;
        let queue: Queue<Bytes> = Queue::bounded(1).unwrap();
        let consumer = process::spawn(queue.clone(), |queue: Queue<Bytes>| {
            let Bytes(item) = queue.get().unwrap();
            (item.len(), item[0], item[LEN / 2], item[LEN - 1])
        });
        let mut item = vec![0; LEN];
        (item[0], item[LEN / 2], item[LEN - 1]) = (1, 2, 3);
        queue.put(Bytes(item)).unwrap();
        assert_eq!(consumer.join().unwrap(), (LEN, 1, 2, 3));
        drop(queue);
        assert!(shared_memory() < 100 << 20, "its memory is still there");
    });
}

/// No more than this of a resource, from here on.
fn limit(resource: libc::__rlimit_resource_t, most: u64) {
    let limit = libc::rlimit {
        rlim_cur: most,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: reads a valid limit.
    assert_eq!(unsafe { libc::setrlimit(resource, &raw const limit) }, 0);
}

/// The item comes back with the reason, and the queue goes on.
fn an_item_is_too_large(name: &str, limit: impl FnOnce()) {
    child(name, || {
        let queue: Queue<Bytes> = Queue::bounded(3).unwrap();
        let item = Bytes(vec![1; 100 << 20]);
        limit();
        let Err(PutError::Refused(Bytes(item), why)) = queue.put(item) else {
            panic!("there is no memory for it");
        };
        assert_eq!(item.len(), 100 << 20);
        assert!(why.raw_os_error().is_some(), "{why}");
        queue.put(Bytes(vec![2; 100_000])).unwrap();
        assert_eq!(queue.get().unwrap().0, vec![2; 100_000]);
    });
}

#[test]
fn without_memory_in_the_file_the_item_comes_back() {
    an_item_is_too_large("without_memory_in_the_file_the_item_comes_back", || {
        // SAFETY: the file's limit is to be an error, and no signal.
        unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
        limit(libc::RLIMIT_FSIZE, 64 << 20);
    });
}

#[test]
fn without_address_space_the_item_comes_back() {
    an_item_is_too_large("without_address_space_the_item_comes_back", || {
        let statm = fs::read_to_string("/proc/self/statm").unwrap();
        let pages: u64 = statm.split(' ').next().unwrap().parse().unwrap();
        limit(libc::RLIMIT_AS, pages * 4096 + (32 << 20));
    });
}

#[test]
fn what_was_read_takes_no_memory() {
    child("what_was_read_takes_no_memory", || {
        let queue: Queue<String> = Queue::unbounded().unwrap();
        // Some are very long, some long, and of some there are many.
        for (len, count) in [
            (100 << 20, 3),
            (5 << 20, 30),
            (1 << 20, 200),
            (100_000, 2000),
            (900, 100_000),
        ] {
            (0..count).for_each(|_| queue.put("x".repeat(len)).unwrap());
            assert!(shared_memory() >= (len * count) as u64);
            while queue.try_get().is_ok() {}
            let left = shared_memory() >> 20;
            assert!(left < 80, "{left} MiB are left of {count} x {len} bytes");
        }
        drop(queue);
    });
}

/// A message that is decoded in part, if at all.
#[derive(Debug)]
struct Parcel(SharedMemory, SharedMemory);

const DECODED: u32 = 1;
const DEFIED: u32 = 2;
const DELAYED: u32 = 3;
static WHEN_DECODED: AtomicU32 = AtomicU32::new(DECODED);
static IS_DECODING: AtomicBool = AtomicBool::new(false);

impl Serialize for Parcel {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.0, &self.1).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Parcel {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct First;
        impl<'de> serde::de::Visitor<'de> for First {
            type Value = Parcel;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a parcel")
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut seq: A,
            ) -> Result<Parcel, A::Error> {
                let first = seq.next_element()?.unwrap();
                match WHEN_DECODED.load(SeqCst) {
                    DEFIED => return Err(serde::de::Error::custom("no more")),
                    DELAYED => {
                        IS_DECODING.store(true, SeqCst);
                        std::thread::sleep(LONG);
                    }
                    _ => {}
                }
                Ok(Parcel(first, seq.next_element()?.unwrap()))
            }
        }
        deserializer.deserialize_tuple(2, First)
    }
}

#[test]
fn what_is_in_messages_that_nobody_reads_goes_with_them() {
    child(
        "what_is_in_messages_that_nobody_reads_goes_with_them",
        || {
            const MIB: usize = 1 << 20;
            let parcel = || {
                let big = || SharedMemory::new(20 * MIB).unwrap();
                Parcel(big(), big())
            };
            let queue: Queue<Parcel> = Queue::unbounded().unwrap();
            let before = shared_memory();
            let is_gone = || shared_memory() < before + (5 << 20);
            // The queue goes.
            let dropped: Queue<(Parcel, Queue<Parcel>)> = Queue::unbounded().unwrap();
            let inner = Queue::unbounded().unwrap();
            inner.put(parcel()).unwrap();
            dropped.put((parcel(), inner)).unwrap();
            assert!(shared_memory() > before + (50 << 20));
            drop(dropped);
            assert!(is_gone());
            // A message cannot be decoded.
            queue.put(parcel()).unwrap();
            WHEN_DECODED.store(DEFIED, SeqCst);
            assert!(matches!(queue.get(), Err(GetError::Invalid(_))));
            WHEN_DECODED.store(DECODED, SeqCst);
            assert!(is_gone());
            // One that cannot be put.
            let full = Queue::bounded(1).unwrap();
            full.put(parcel()).unwrap();
            drop(full.try_put(parcel()).unwrap_err());
            drop(full);
            assert!(is_gone());
            // Its receiver is killed while it decodes.
            queue.put(parcel()).unwrap();
            let here = RawValue::new(0u32).unwrap();
            let receiver = process::spawn((queue.clone(), here.clone()), |(queue, here)| {
                let (queue, here): (Queue<Parcel>, RawValue<u32>) = (queue, here);
                WHEN_DECODED.store(DELAYED, SeqCst);
                std::thread::spawn(move || queue.get());
                until(|| IS_DECODING.load(SeqCst));
                here.set(1);
                std::thread::sleep(LONG);
            });
            until(|| here.get() == 1);
            receiver.kill().unwrap();
            receiver.join().unwrap_err();
            until(is_gone);
            // The last process that has the queue is killed.
            let (queue, has_it) = (Queue::<Parcel>::unbounded().unwrap(), here);
            let receiver = process::spawn((queue.clone(), has_it.clone()), |(queue, has_it)| {
                let (_queue, has_it): (Queue<Parcel>, RawValue<u32>) = (queue, has_it);
                has_it.set(2);
                std::thread::sleep(LONG);
            });
            until(|| has_it.get() == 2);
            queue.put(parcel()).unwrap();
            drop(queue);
            assert!(!is_gone());
            receiver.kill().unwrap();
            receiver.join().unwrap_err();
            until(is_gone);
            // And what is read is whole.
            let queue: Queue<Parcel> = Queue::unbounded().unwrap();
            queue.put(parcel()).unwrap();
            queue.get().unwrap().1.write_at(0, b"it is there");
            assert!(is_gone());
        },
    );
}
