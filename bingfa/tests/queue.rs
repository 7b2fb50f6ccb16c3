//! `bingfa::queue`: what each queue does, on every carrier.

mod common;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bingfa::coroutine;
use bingfa::queue::{
    Closed, GetError, LifoQueue, Order, PriorityQueue, PutError, Queue, QueueOf, SimpleQueue,
    Unfinished,
};
use bingfa::time::timeout;
use common::{Drops, LONG, OnDrop, SHORT, cancel_and_join, on_both, until_in};

// -- one at a time ---------------------------------------------------------------

#[bingfa::test]
fn orders() {
    let fifo: Queue<_> = [2, 1, 3].into_iter().collect();
    assert_eq!(fifo.try_iter().collect::<Vec<_>>(), [2, 1, 3]);
    let lifo: LifoQueue<_> = [2, 1, 3].into_iter().collect();
    assert_eq!(lifo.try_iter().collect::<Vec<_>>(), [3, 1, 2]);
    let priority: PriorityQueue<_> = [(2, 'a'), (1, 'b'), (2, 'c'), (1, 'd')]
        .into_iter()
        .collect();
    assert_eq!(
        priority.into_iter().collect::<Vec<_>>(),
        [(1, 'b'), (1, 'd'), (2, 'a'), (2, 'c')]
    );
}

/// Equal for `Ord`, but not the same.
#[derive(Debug)]
struct Ranked(u8, usize);
impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl Eq for Ranked {}
impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

#[bingfa::test]
fn equals_leave_in_order_of_arrival() {
    let queue = PriorityQueue::unbounded();
    for n in 0..200 {
        queue.put(Ranked((n * 7 % 3) as u8, n)).unwrap();
    }
    let out: Vec<_> = queue.try_iter().map(|item| (item.0, item.1)).collect();
    let mut sorted = out.clone();
    sorted.sort();
    assert_eq!(out, sorted);
}

#[bingfa::test]
fn capacity_is_kept() {
    let queue = Queue::bounded(6);
    for letter in 'a'..='f' {
        assert!(!queue.is_full());
        queue.put(letter).unwrap();
    }
    assert!(queue.is_full());
    assert_eq!(queue.len(), 6);
    assert_eq!(queue.capacity(), Some(6));
    assert_eq!(queue.try_put('g'), Err(PutError::Full('g')));
    assert_eq!(queue.put_timeout('g', SHORT), Err(PutError::Full('g')));
    assert_eq!(
        queue.put_deadline('g', Instant::now()),
        Err(PutError::Full('g'))
    );
    assert_eq!(queue.try_iter().collect::<String>(), "abcdef");
    assert!(queue.is_empty());
    assert_eq!(queue.try_get(), Err(GetError::Empty));
    assert_eq!(queue.get_timeout(SHORT), Err(GetError::Empty));
    assert_eq!(queue.get_deadline(Instant::now()), Err(GetError::Empty));
    assert_eq!(Queue::<u8>::unbounded().capacity(), None);
    assert!(!Queue::<u8>::unbounded().is_full());
}

#[bingfa::test]
fn a_rendezvous_has_no_room() {
    fn check<O: Order<Item = i32> + Send>() {
        let queue = QueueOf::<O>::bounded(0);
        assert_eq!(queue.try_put(1), Err(PutError::Full(1)));
        assert_eq!(queue.put_timeout(1, SHORT), Err(PutError::Full(1)));
        assert_eq!(queue.try_get(), Err(GetError::Empty));
        assert!(queue.is_full() && queue.is_empty());
        coroutine::scope(|s| {
            let put = s.spawn(|| queue.put(2));
            assert_eq!(queue.get(), Ok(2));
            put.join().unwrap().unwrap();
            let get = s.spawn(|| queue.get());
            queue.put(3).unwrap();
            assert_eq!(get.join().unwrap(), Ok(3));
        });
        assert_eq!(queue.unfinished(), 2);
    }
    check::<bingfa::queue::Fifo<_>>();
    check::<bingfa::queue::Lifo<_>>();
    check::<bingfa::queue::Priority<_>>();
}

#[bingfa::test]
fn closing() {
    let queue = Queue::bounded(2);
    queue.put(1).unwrap();
    queue.put(2).unwrap();
    queue.close();
    assert!(queue.is_closed());
    assert_eq!(queue.put(3), Err(Closed(3)));
    assert_eq!(queue.try_put(3), Err(PutError::Closed(3)));
    assert_eq!(queue.put_timeout(3, LONG), Err(PutError::Closed(3)));
    assert_eq!(queue.iter().collect::<Vec<_>>(), [1, 2]);
    assert_eq!(queue.get(), Err(Closed(())));
    assert_eq!(queue.try_get(), Err(GetError::Closed));
    assert_eq!(queue.get_timeout(LONG), Err(GetError::Closed));
    assert_eq!(queue.unfinished(), 2); // taken, not reported
    queue.close();
}

#[bingfa::test]
fn an_immediate_shutdown_drops_what_is_left_and_counts_it_done() {
    let drops = Drops::new();
    let queue = Queue::unbounded();
    for _ in 0..3 {
        queue.put(drops.droplet()).unwrap();
    }
    let taken = queue.get().unwrap();
    coroutine::scope(|s| {
        let join = s.spawn(|| queue.join());
        queue.shutdown(true);
        assert_eq!(drops.count(), 2);
        assert_eq!(queue.unfinished(), 1);
        queue.task_done().unwrap();
        join.join().unwrap();
    });
    assert!(queue.get().is_err());
    drop(taken);
    assert_eq!(drops.count(), 3);
}

#[bingfa::test]
fn tasks_are_counted() {
    let queue = Queue::unbounded();
    queue.join(); // nothing to wait for
    assert!(queue.task_done().is_err());
    queue.put(111).unwrap();
    queue.put(222).unwrap();
    assert_eq!(queue.join_timeout(SHORT), Err(Unfinished(2)));
    assert_eq!(queue.join_deadline(Instant::now()), Err(Unfinished(2)));
    queue.get().unwrap();
    queue.task_done().unwrap();
    assert_eq!(queue.join_timeout(SHORT), Err(Unfinished(1)));
    queue.get().unwrap();
    queue.task_done().unwrap();
    queue.join();
    let error = queue.task_done().unwrap_err();
    assert!(error.to_string().contains("task_done"), "{error}");
}

#[bingfa::test]
fn items_are_dropped_with_their_queue() {
    let drops = Drops::new();
    let queue: Queue<_> = (0..5).map(|_| drops.droplet()).collect();
    drop(queue.get());
    assert_eq!(drops.count(), 1);
    drop(queue);
    assert_eq!(drops.count(), 5);
}

#[bingfa::test]
fn errors_say_what_happened_and_give_the_item_back() {
    let queue = Queue::bounded(0);
    let full = queue.try_put(String::from("x")).unwrap_err();
    assert_eq!(full.to_string(), "the queue is full");
    assert!(full.is_full());
    assert_eq!(full.into_inner(), "x");
    queue.close();
    let closed = queue.put(String::from("y")).unwrap_err();
    assert_eq!(closed.to_string(), "the queue is closed");
    assert_eq!(format!("{closed:?}"), "Closed(..)");
    assert_eq!(closed.into_inner(), "y");
    assert_eq!(
        queue.try_get().unwrap_err().to_string(),
        "the queue is closed and empty"
    );
}

#[bingfa::test]
fn a_simple_queue_is_a_queue() {
    let queue = SimpleQueue::new();
    coroutine::scope(|s| {
        let sum = s.spawn(|| queue.iter().sum::<i32>());
        for n in 1..=4 {
            queue.put(n).unwrap();
        }
        queue.close();
        assert_eq!(sum.join().unwrap(), 10);
    });
    assert!(queue.put(5).is_err());
    assert!(queue.is_empty() && queue.is_closed());
    assert_eq!(queue.try_get(), Err(GetError::Closed));
}

// -- waits -----------------------------------------------------------------------

#[test]
fn whoever_waits_longest_is_served_first() {
    on_both(|| {
        let queue = Arc::new(Queue::bounded(0));
        let order = Arc::new(Mutex::new(Vec::new()));
        let getters: Vec<_> = (0..5)
            .map(|n| {
                let (queue, order) = (queue.clone(), order.clone());
                let getter = coroutine::spawn(move || {
                    let item = queue.get().unwrap();
                    order.lock().unwrap().push((n, item));
                });
                until_in(&getter, "queue get");
                getter
            })
            .collect();
        for item in 0..5 {
            queue.put(item).unwrap();
        }
        coroutine::join_all(getters).unwrap();
        let mut order = order.lock().unwrap().clone();
        order.sort();
        assert_eq!(order, (0..5).map(|n| (n, n)).collect::<Vec<_>>());
    });
}

#[test]
fn waiting_puts_are_taken_in_the_order_of_their_arrival() {
    on_both(|| {
        let queue = Arc::new(Queue::bounded(1));
        queue.put(0).unwrap();
        let putters: Vec<_> = (1..6)
            .map(|n| {
                let queue = queue.clone();
                let putter = coroutine::spawn(move || queue.put(n));
                until_in(&putter, "queue put");
                putter
            })
            .collect();
        for n in 0..6 {
            assert_eq!(queue.get(), Ok(n));
        }
        for put in coroutine::join_all(putters).unwrap() {
            put.unwrap();
        }
    });
}

#[test]
fn closing_ends_every_wait() {
    on_both(|| {
        let queue = Arc::new(Queue::<i32>::bounded(1));
        let getters: Vec<_> = (0..3)
            .map(|_| {
                let queue = queue.clone();
                coroutine::spawn(move || queue.get())
            })
            .collect();
        getters.iter().for_each(|g| until_in(g, "queue get"));
        queue.close();
        for get in coroutine::join_all(getters).unwrap() {
            assert_eq!(get, Err(Closed(())));
        }

        let queue = Arc::new(Queue::<i32>::bounded(1));
        queue.put(0).unwrap();
        let putters: Vec<_> = (1..4)
            .map(|n| {
                let queue = queue.clone();
                coroutine::spawn(move || queue.put(n))
            })
            .collect();
        putters.iter().for_each(|p| until_in(p, "queue put"));
        queue.close();
        let back: BTreeSet<_> = coroutine::join_all(putters)
            .unwrap()
            .into_iter()
            .map(|put| put.unwrap_err().into_inner())
            .collect();
        assert_eq!(back, BTreeSet::from([1, 2, 3]));
        assert_eq!(queue.iter().collect::<Vec<_>>(), [0]);
    });
}

#[test]
fn join_waits_for_the_last_task() {
    on_both(|| {
        let queue = Arc::new(Queue::unbounded());
        for n in 0..3 {
            queue.put(n).unwrap();
        }
        let joiner = {
            let queue = queue.clone();
            coroutine::spawn(move || queue.join())
        };
        until_in(&joiner, "queue join");
        for _ in 0..3 {
            assert!(!joiner.is_finished());
            queue.get().unwrap();
            queue.task_done().unwrap();
        }
        joiner.join().unwrap();
    });
}

#[test]
fn a_cancelled_waiter_leaves_no_trace() {
    on_both(|| {
        let drops = Drops::new();
        let queue = Arc::new(Queue::bounded(1));
        let getter = {
            let queue = queue.clone();
            coroutine::spawn(move || drop(queue.get()))
        };
        until_in(&getter, "queue get");
        cancel_and_join(getter);
        queue.put(drops.droplet()).unwrap(); // to nobody
        let putter = {
            let (queue, droplet) = (queue.clone(), drops.droplet());
            coroutine::spawn(move || queue.put(droplet).is_ok())
        };
        until_in(&putter, "queue put");
        cancel_and_join(putter);
        assert_eq!(drops.count(), 1, "the item of the cancelled put");
        let joiner = {
            let queue = queue.clone();
            coroutine::spawn(move || queue.join())
        };
        until_in(&joiner, "queue join");
        cancel_and_join(joiner);
        assert_eq!(queue.len(), 1);
        assert_eq!(queue.unfinished(), 1);
        drop(queue);
        assert_eq!(drops.count(), 2);
    });
}

#[bingfa::test]
fn timeouts_around_a_wait_work() {
    let queue = Queue::bounded(0);
    assert!(timeout(SHORT, || queue.get()).is_err());
    assert!(timeout(SHORT, || queue.put(1)).is_err());
    assert_eq!(queue.try_get(), Err(GetError::Empty));
    let queue = Queue::unbounded();
    queue.put(1).unwrap();
    assert!(timeout(SHORT, || queue.join()).is_err());
}

// -- trouble ---------------------------------------------------------------------

/// Panics when it is compared while the bomb is armed.
struct Fuse(i32, Arc<AtomicUsize>);
impl PartialEq for Fuse {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl Eq for Fuse {}
impl PartialOrd for Fuse {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Fuse {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // Counts down to the panic.
        if self.1.load(SeqCst) > 0 && self.1.fetch_sub(1, SeqCst) == 1 {
            panic!("incomparable");
        }
        self.0.cmp(&other.0)
    }
}

#[bingfa::test]
fn an_ord_that_panics_changes_nothing() {
    for panics_at in 1..8 {
        let bomb = Arc::new(AtomicUsize::new(0));
        let queue = PriorityQueue::unbounded();
        for n in [5, 3, 8, 1, 9, 2, 7, 4, 6, 0] {
            queue.put(Fuse(n, bomb.clone())).unwrap();
        }
        let mut expected: Vec<_> = (0..10).collect();
        bomb.store(panics_at, SeqCst);
        let put = catch_unwind(AssertUnwindSafe(|| queue.put(Fuse(-1, bomb.clone()))));
        bomb.store(0, SeqCst);
        if put.is_ok() {
            expected.insert(0, -1);
        }
        bomb.store(panics_at, SeqCst);
        if let Ok(item) = catch_unwind(AssertUnwindSafe(|| queue.get())) {
            assert_eq!(item.ok().unwrap().0, expected.remove(0));
        }
        bomb.store(0, SeqCst);
        let left: Vec<_> = queue.try_iter().map(|fuse| fuse.0).collect();
        assert_eq!(left, expected, "panics at {panics_at}");
    }
}

#[test]
fn a_get_is_not_disturbed_by_a_waiting_put_that_cannot_be_compared() {
    on_both(|| {
        let bomb = Arc::new(AtomicUsize::new(0));
        let queue = Arc::new(PriorityQueue::bounded(2));
        queue.put(Fuse(1, bomb.clone())).unwrap();
        queue.put(Fuse(2, bomb.clone())).unwrap();
        let putter = {
            let (queue, fuse) = (queue.clone(), Fuse(3, bomb.clone()));
            coroutine::spawn(move || queue.put(fuse).is_ok())
        };
        until_in(&putter, "queue put");
        bomb.store(1, SeqCst); // of two items the first leaves without a comparison
        assert_eq!(queue.get().ok().unwrap().0, 1);
        assert!(putter.join().unwrap(), "tried again by itself");
        assert_eq!(queue.get().ok().unwrap().0, 2);
        assert_eq!(queue.get().ok().unwrap().0, 3);
    });
}

#[bingfa::test]
fn a_drop_that_panics_leaves_the_queue_whole() {
    let queue = Queue::unbounded();
    queue.put(OnDrop(|| panic!("on purpose"))).ok().unwrap();
    let outcome = catch_unwind(AssertUnwindSafe(|| queue.shutdown(true)));
    assert!(outcome.is_err());
    assert!(queue.is_closed() && queue.is_empty());
    queue.join();
}

#[bingfa::test]
fn a_drop_may_use_its_own_queue() {
    struct Again(Arc<Queue<Again>>, usize);
    impl Drop for Again {
        fn drop(&mut self) {
            if self.1 > 0 {
                let again = Again(self.0.clone(), self.1 - 1);
                drop(self.0.put(again));
            }
        }
    }
    let queue = Arc::new(Queue::unbounded());
    queue.put(Again(queue.clone(), 3)).ok().unwrap();
    drop(queue.get());
    assert_eq!(queue.len(), 1);
    queue.shutdown(true); // what it drops finds the queue closed, and is dropped too
    assert!(queue.is_empty());
}
