//! What processes share, for async tasks and in selects; and guards that wander.

mod common;

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bingfa::process::{
    self, Barrier, BoundedSemaphore, Condvar, Event, GetError, Mutex, PutError, Queue, Receiver,
    RwLock, Semaphore, Sender, Unjoined,
};
use bingfa::queue::{Select, Selecting};
use bingfa::{coroutine, select, thread};
use common::{LONG, SHORT, Watchdog, block_on, until};

/// Polls once; true: it has to wait.
fn waits<F: Future>(future: Pin<&mut F>) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    matches!(future.poll(&mut context), Poll::Pending)
}

#[bingfa::test]
fn async_tasks_wait_for_a_mutex() {
    let _dog = Watchdog::new("mutex");
    let (lock, held, go) = (
        Mutex::new(1u32).unwrap(),
        Event::new().unwrap(),
        Event::new().unwrap(),
    );
    let args = (lock.clone(), held.clone(), go.clone());
    let child = process::spawn(args, |(lock, held, go): (Mutex<u32>, Event, Event)| {
        let mut guard = lock.lock().unwrap();
        held.set();
        go.wait();
        *guard += 1;
    });
    block_on(async {
        held.wait_async().await;
        // Polled and dropped, it has nothing.
        assert!(waits(pin!(lock.lock_async())));
        go.set();
        assert_eq!(*lock.lock_async().await.unwrap(), 2);
        *lock.lock_owned_async().await.unwrap() += 1;
    });
    child.join().unwrap();
    assert_eq!(*lock.try_lock().unwrap(), 3);

    let numbers = process::Array::new(&[1u8, 2]).unwrap();
    block_on(async { numbers.lock_async().await.unwrap()[1] = 3 });
    assert!(waits(pin!(async {
        let _guard = numbers.lock_async().await;
        numbers.lock_async().await.is_ok()
    })));
    assert_eq!(*numbers.lock().unwrap(), [1, 3]);

    // Who dies with it.
    let child = process::spawn(lock.clone(), |lock: Mutex<u32>| -> () {
        std::mem::forget(block_on(lock.lock_owned_async()).unwrap());
        std::process::abort();
    });
    let pid = child.pid();
    child.join().unwrap_err();
    let error = block_on(lock.lock_async()).unwrap_err();
    assert_eq!(error.owner().pid(), pid);
}

#[bingfa::test]
fn async_tasks_wait_for_a_rwlock() {
    let _dog = Watchdog::new("rwlock");
    let lock = RwLock::new(1u32).unwrap();
    block_on(async {
        let reader = lock.read_async().await.unwrap();
        let another = lock.read_owned_async().await.unwrap();
        {
            let mut writer = pin!(lock.write_async());
            assert!(waits(writer.as_mut()));
            assert!(lock.try_read().is_err(), "a writer waits");
            assert!(waits(pin!(lock.read_async())));
        }
        assert_eq!(*lock.read_async().await.unwrap(), 1, "it has gone");
        let mut writer = pin!(lock.write_owned_async());
        assert!(waits(writer.as_mut()));
        drop((reader, another));
        let mut guard = writer.await.unwrap();
        *guard = 2;
        assert!(lock.try_read_owned().is_err());
        assert!(lock.try_write_owned().is_err());
    });
    assert_eq!(*lock.try_read_owned().unwrap(), 2);
    *lock.write_owned().unwrap() += 1;
    let reader = lock.read_owned().unwrap();
    assert_eq!(thread::spawn(move || *reader).join().unwrap(), 3);
    *lock.try_write_owned().unwrap() += 1;
    assert_eq!(*lock.read().unwrap(), 4);
}

#[bingfa::test]
fn async_tasks_wait_for_permits() {
    let _dog = Watchdog::new("permits");
    let slots = Semaphore::new(2).unwrap();
    block_on(async {
        let one = slots.acquire_async().await;
        {
            let mut both = pin!(slots.acquire_many_async(2));
            assert!(waits(both.as_mut()));
            assert!(slots.try_acquire().is_none(), "somebody waits for several");
        }
        let two = slots.acquire_owned_async().await;
        assert!(waits(pin!(slots.acquire_async())));
        drop((one, two));
        assert_eq!(slots.acquire_many_owned_async(2).await.num_permits(), 2);
    });
    let permit = slots.acquire_owned();
    let many = slots.acquire_many_owned(1);
    assert!(slots.try_acquire_owned().is_none());
    thread::spawn(move || drop(permit)).join().unwrap();
    many.forget();
    assert_eq!(slots.available_permits(), 1);

    let bounded = BoundedSemaphore::new(1).unwrap();
    let permit = bounded.acquire_owned();
    assert!(bounded.try_acquire_owned().is_none());
    let child = process::spawn(bounded.clone(), |bounded: BoundedSemaphore| {
        block_on(async { bounded.acquire_owned_async().await.forget() });
    });
    drop(permit);
    child.join().unwrap();
    bounded.release(1).unwrap();
    drop(block_on(bounded.acquire_many_async(1)));
}

#[bingfa::test]
fn async_tasks_wait_for_conditions_and_barriers() {
    type Shared = (Mutex<u32>, Condvar, Barrier);
    let _dog = Watchdog::new("conditions");
    let shared: Shared = (
        Mutex::new(0).unwrap(),
        Condvar::new().unwrap(),
        Barrier::new(2).unwrap(),
    );
    let child = process::spawn(shared.clone(), |(stage, changed, barrier): Shared| {
        block_on(async {
            let guard = stage.lock_async().await.unwrap();
            let mut guard = changed
                .wait_while_async(guard, |stage| *stage < 1)
                .await
                .unwrap();
            *guard = 2;
            changed.notify_all();
            drop(guard);
            barrier.wait_async().await.unwrap().is_leader()
        })
    });
    let (stage, changed, barrier) = shared;
    let leads = block_on(async {
        *stage.lock_async().await.unwrap() = 1;
        changed.notify_one();
        let guard = stage.lock_async().await.unwrap();
        let guard = changed.wait_while_async(guard, |stage| *stage < 2).await;
        drop(guard.unwrap());
        barrier.wait_async().await.unwrap().is_leader()
    });
    assert_ne!(child.join().unwrap(), leads);
    let other = Barrier::new(2).unwrap();
    assert!(waits(pin!(other.wait_async())));
    let alone = other.wait_timeout(SHORT).unwrap();
    assert!(alone.is_none(), "the arrival was taken back");

    // Dropped after it was notified: the next one is.
    let guard = stage.lock().unwrap();
    let mut first = Box::pin(changed.wait_async(guard));
    assert!(waits(first.as_mut()));
    let second = thread::spawn({
        let (stage, changed) = (stage.clone(), changed.clone());
        move || {
            let mut guard = stage.lock().unwrap();
            *guard = 3;
            drop(changed.wait(guard).unwrap());
        }
    });
    until(|| *stage.lock().unwrap() == 3);
    changed.notify_one();
    drop(first);
    second.join().unwrap();
}

#[bingfa::test]
fn async_tasks_wait_for_queues_and_channels() {
    let _dog = Watchdog::new("queues");
    let (jobs, results) = (
        Queue::<u32>::bounded(1).unwrap(),
        Queue::unbounded().unwrap(),
    );
    let args = (jobs.clone(), results.clone());
    let child = process::spawn(args, |(jobs, results): (Queue<u32>, Queue<u32>)| {
        block_on(async {
            while let Ok(job) = jobs.get_async().await {
                results.put_async(job * job).await.unwrap();
                jobs.task_done().unwrap();
            }
        });
    });
    block_on(async {
        for n in 0..20 {
            jobs.put_async(n).await.unwrap();
        }
        jobs.join_async().await.unwrap();
        for n in 0..20 {
            assert_eq!(results.get_async().await.unwrap(), n * n);
        }
        let mut nothing = pin!(results.get_async());
        assert!(waits(nothing.as_mut()));
        jobs.close();
        let refused = jobs.put_async(1).await;
        assert!(
            matches!(refused, Err(PutError::Closed(1, _))),
            "{refused:?}"
        );
        // The child ends, and nobody else can put anything in.
        let end = nothing.await.unwrap_err();
        assert!(matches!(end, GetError::Closed(_)), "{end:?}");
    });
    child.join().unwrap();

    let (sender, receiver) = process::channel::<String>(Some(1)).unwrap();
    let child = process::spawn(sender, |sender: Sender<String>| {
        block_on(async {
            sender.send_async("one".into()).await.unwrap();
            sender.send_async("two".into()).await.unwrap();
        });
    });
    block_on(async {
        assert_eq!(receiver.recv_async().await.unwrap(), "one");
        assert_eq!(receiver.recv_async().await.unwrap(), "two");
        assert!(receiver.recv_async().await.is_err());
    });
    child.join().unwrap();
}

#[bingfa::test]
fn select_takes_the_first_of_several() {
    let _dog = Watchdog::new("select");
    let numbers: Queue<u32> = Queue::bounded(1).unwrap();
    let (sender, receiver) = process::channel::<String>(None).unwrap();
    let (ready, stop) = (Event::new().unwrap(), Event::new().unwrap());
    let local: bingfa::queue::Queue<u32> = bingfa::queue::Queue::unbounded();
    let args = (numbers.clone(), sender, ready.clone(), stop.clone());
    type Args = (Queue<u32>, Sender<String>, Event, Event);
    let child = process::spawn(args, |(numbers, sender, ready, stop): Args| {
        numbers.put(7).unwrap();
        sender.send("word".into()).unwrap();
        ready.set();
        stop.wait();
    });
    let mut seen = Vec::new();
    let mut event = ready.wait_async();
    while seen.len() < 3 {
        let what = select! {
            get(numbers) -> number => format!("number {}", number.unwrap()),
            recv(receiver) -> word => word.unwrap(),
            get(local) => panic!("nobody puts anything there"),
            arm(&mut event) => {
                ready.clear();
                event = ready.wait_async();
                "ready".to_owned()
            }
            timeout(LONG) => panic!("too late"),
        };
        seen.push(what);
    }
    seen.sort();
    assert_eq!(seen, ["number 7", "ready", "word"]);

    select! {
        get(numbers) => panic!("it is empty"),
        default => {}
    }
    numbers.put(1).unwrap();
    let mut put = numbers.put_async(2);
    let late = Select::new().arm(&mut put).wait_timeout(SHORT);
    assert_eq!(late, None, "it is full");
    assert_eq!(put.into_item(), Some(2));
    assert!(matches!(
        numbers.join_async().take(),
        Err(Unjoined::Unfinished(2))
    ));

    // An arm whose other end dies.
    let waiter = thread::spawn({
        let numbers = numbers.clone();
        move || {
            select! {
                recv(receiver) -> word => match word {
                    Err(GetError::Closed(why)) => why,
                    other => panic!("{other:?}"),
                },
                put(numbers, 3) -> put => match put {
                    Err(PutError::Closed(3, why)) => why,
                    other => panic!("{other:?}"),
                },
            }
        }
    });
    child.kill().unwrap();
    let why = waiter.join().unwrap();
    assert_eq!(why.last().unwrap().pid(), child.pid());
    child.join().unwrap_err();
}

#[bingfa::test]
fn arms_of_async_selects() {
    let _dog = Watchdog::new("async select");
    let (numbers, words) = (
        Queue::<u32>::unbounded().unwrap(),
        Queue::<String>::unbounded().unwrap(),
    );
    let child = process::spawn(words.clone(), |words: Queue<String>| {
        words.put("one".into()).unwrap();
    });
    block_on(async {
        let (mut number, mut word) = (pin!(numbers.get_async()), pin!(words.get_async()));
        let arms = Selecting::new().arm(number.as_mut()).arm(word.as_mut());
        assert_eq!(arms.await, 1);
        assert_eq!(word.await.unwrap(), "one");
    });
    child.join().unwrap();
}

#[bingfa::test]
fn many_coroutines_select_and_each_item_goes_to_one() {
    const ITEMS: u32 = 300;
    let _dog = Watchdog::new("many");
    let (left, right) = (
        Queue::<u32>::bounded(4).unwrap(),
        Queue::<u32>::bounded(4).unwrap(),
    );
    let producers = [left.clone(), right.clone()].map(|queue| {
        process::spawn(queue, |queue: Queue<u32>| {
            (0..ITEMS).for_each(|n| queue.put(n).unwrap());
            queue.close();
        })
    });
    let takers: Vec<_> = (0..8)
        .map(|_| {
            let (left, right) = (left.clone(), right.clone());
            coroutine::spawn(move || {
                let (mut taken, mut ends) = (0, [false; 2]);
                while ends != [true; 2] {
                    let (queue, item) = select! {
                        get(left) -> item => (0, item),
                        get(right) -> item => (1, item),
                    };
                    match item {
                        Ok(_) => taken += 1,
                        Err(_) if ends[queue] => coroutine::yield_now(),
                        Err(_) => ends[queue] = true,
                    }
                }
                taken
            })
        })
        .collect();
    let taken: u32 = takers.into_iter().map(|taker| taker.join().unwrap()).sum();
    assert_eq!(taken, 2 * ITEMS);
    for producer in producers {
        producer.join().unwrap();
    }
}

#[bingfa::test]
fn a_forgotten_future_and_a_cancelled_select_are_harmless() {
    let _dog = Watchdog::new("forgotten");
    let (event, queue) = (Event::new().unwrap(), Queue::<u32>::unbounded().unwrap());
    let mut forgotten = Box::pin(event.wait_async());
    assert!(waits(forgotten.as_mut()));
    std::mem::forget(forgotten);
    event.set();
    drop(event);
    for _ in 0..20 {
        let waiter = coroutine::spawn({
            let queue = queue.clone();
            move || {
                select! {
                    get(queue) -> item => item.unwrap(),
                    timeout(Duration::from_secs(3600)) => 0,
                }
            }
        });
        waiter.cancel();
        let cancelled = waiter.join();
        queue.put(1).unwrap();
        if cancelled.is_err() {
            assert_eq!(queue.get_timeout(LONG).unwrap(), 1);
        }
        while queue.try_get().is_ok() {}
    }
}

#[bingfa::test]
fn an_owned_guard_outlives_its_handle() {
    let _dog = Watchdog::new("owned");
    let lock = Mutex::new(1u32).unwrap();
    let other = lock.clone();
    let guard = lock.lock_owned().unwrap();
    drop(lock);
    assert!(other.try_lock_owned().is_err());
    let child = process::spawn(other.clone(), |lock: Mutex<u32>| *lock.lock().unwrap());
    let mut guard = thread::spawn(move || guard).join().unwrap();
    *guard = 5;
    drop(guard);
    assert_eq!(child.join().unwrap(), 5);
    // A panic poisons.
    let poisoner = thread::spawn({
        let lock = other.clone();
        move || {
            let _guard = lock.lock_owned().unwrap();
            std::panic::resume_unwind(Box::new("as it happens"));
        }
    });
    assert!(poisoner.join().is_err());
    let error = other.try_lock_owned().unwrap_err();
    assert!(matches!(error, process::TryLockError::Poisoned(_)));
    drop(error);
    other.clear_poison();
    drop(other.lock_owned().unwrap());
}

/// Of a coroutine's worker, another coroutine runs while a future of it waits.
#[bingfa::test]
fn receivers_wake_from_other_processes_in_turns() {
    let _dog = Watchdog::new("turns");
    let (ping, pong) = (
        process::channel::<u32>(Some(1)).unwrap(),
        process::channel::<u32>(Some(1)).unwrap(),
    );
    let child = process::spawn(
        (ping.1, pong.0),
        |(receiver, sender): (Receiver<u32>, Sender<u32>)| {
            block_on(async {
                while let Ok(n) = receiver.recv_async().await {
                    sender.send_async(n + 1).await.unwrap();
                }
            });
        },
    );
    let (sender, receiver) = (ping.0, pong.1);
    let mut n = 0;
    while n < 200 {
        select! { send(sender, n) -> sent => sent.unwrap() }
        n = select! { recv(receiver) -> n => n.unwrap() };
    }
    drop(sender);
    child.join().unwrap();
}

/// Counts how often it is encoded.
#[derive(Debug)]
struct Counted;

static ENCODED: AtomicUsize = AtomicUsize::new(0);

impl serde::Serialize for Counted {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ENCODED.fetch_add(1, SeqCst);
        (
            "an item that is too long for a record: ".repeat(200),
            Event::new().unwrap(),
        )
            .serialize(serializer)
    }
}

impl<'de> serde::Deserialize<'de> for Counted {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <(String, Event)>::deserialize(deserializer).map(|_| Counted)
    }
}

#[test]
fn an_item_that_waits_for_room_is_encoded_once() {
    let _dog = Watchdog::new("encoded once");
    let queue = Queue::bounded(1).unwrap();
    queue.put(Counted).unwrap();
    let mut put = pin!(queue.put_async(Counted));
    for _ in 0..5 {
        assert!(waits(put.as_mut()));
    }
    queue.get().unwrap();
    assert!(!waits(put.as_mut()));
    assert_eq!(ENCODED.load(SeqCst), 2);
    queue.get().unwrap();
}
