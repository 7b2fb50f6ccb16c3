//! `process::manager`: objects that a process keeps for others, on both carriers.

mod common;

use std::io::ErrorKind;
use std::os::fd::OwnedFd;

use bingfa::process::manager::{
    Client, Dict, Event, List, Lock, Managed, Manager, Namespace, Proxy, Queue, Value,
};
use bingfa::process::{self, Connection, Fd, pipe};
use bingfa::{coroutine, thread};
use common::{LONG, SHORT, Watchdog};
use serde::{Deserialize, Serialize};

type Ages = Proxy<Dict<String, u32>>;

#[bingfa::test]
fn dicts() {
    let _dog = Watchdog::new("dicts");
    let manager = Manager::new().unwrap();
    let ages: Ages = manager.dict().unwrap();
    assert_eq!(ages.get("lqz").unwrap(), None);
    assert!(ages.is_empty().unwrap());
    ages.insert("lqz".to_owned(), 18).unwrap();
    let child = process::spawn(ages.clone(), |ages: Ages| {
        ages.insert("nick".to_owned(), 5).unwrap();
        ages.extend([("a".to_owned(), 1), ("b".to_owned(), 2)])
            .unwrap();
        ages.get("lqz").unwrap()
    });
    assert_eq!(child.join().unwrap(), Some(18));
    let mut all = ages.entries().unwrap();
    all.sort();
    let expected = [("a", 1), ("b", 2), ("lqz", 18), ("nick", 5)];
    assert!(all.iter().map(|(k, v)| (k.as_str(), *v)).eq(expected));
    assert_eq!(ages.len().unwrap(), 4);
    assert!(ages.contains_key("a").unwrap());
    assert_eq!(ages.remove("a").unwrap(), Some(1));
    assert_eq!(ages.remove("a").unwrap(), None);
    let exchanged = ages.compare_exchange("b", Some(&3), Some(&4)).unwrap();
    assert_eq!(exchanged, Err(Some(2)));
    let exchanged = ages.compare_exchange("b", Some(&2), None).unwrap();
    assert_eq!(exchanged, Ok(()));
    let exchanged = ages.compare_exchange("b", None, Some(&9)).unwrap();
    assert_eq!(exchanged, Ok(()));
    assert_eq!(ages.get("b").unwrap(), Some(9));
    ages.clear().unwrap();
    assert!(ages.is_empty().unwrap());
    ages.clone().remove_object().unwrap();
    let error = ages.get("b").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("has been removed"), "{error}");
}

#[bingfa::test]
fn keys_and_values_of_mixed_types() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Any {
        Number(i64),
        Text(String),
        Real(f64),
        Nothing,
    }
    let manager = Manager::new().unwrap();
    let d = manager.dict().unwrap();
    let child = process::spawn(d.clone(), |d: Proxy<Dict<Any, Any>>| {
        d.insert(Any::Number(1), Any::Text("1".into())).unwrap();
        d.insert(Any::Text("2".into()), Any::Number(2)).unwrap();
        d.insert(Any::Real(0.25), Any::Nothing).unwrap();
    });
    child.join().unwrap();
    assert_eq!(d.get(&Any::Real(0.25)).unwrap(), Some(Any::Nothing));
    assert_eq!(d.get(&Any::Number(1)).unwrap(), Some(Any::Text("1".into())));
    assert_eq!(d.len().unwrap(), 3);
    let large = Any::Text("x".repeat(3 << 20));
    d.insert(Any::Nothing, &large).unwrap();
    assert_eq!(d.get(&Any::Nothing).unwrap(), Some(large));
}

#[bingfa::test]
fn lists() {
    let manager = Manager::new().unwrap();
    let list = manager.list().unwrap();
    list.extend(0..5).unwrap();
    let child = process::spawn(list.clone(), |list: Proxy<List<u32>>| {
        list.push(5).unwrap();
        list.reverse().unwrap();
        list.pop().unwrap()
    });
    assert_eq!(child.join().unwrap(), Some(0));
    assert_eq!(list.to_vec().unwrap(), [5, 4, 3, 2, 1]);
    list.set(0, 50).unwrap();
    list.insert(5, 0).unwrap();
    list.insert(0, 60).unwrap();
    assert_eq!(list.remove(1).unwrap(), Some(50));
    assert_eq!(list.get(0).unwrap(), Some(60));
    assert_eq!(list.get(6).unwrap(), None);
    assert_eq!(list.remove(6).unwrap(), None);
    assert_eq!(list.set(6, 1).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(list.insert(7, 1).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(list.len().unwrap(), 6);
    let sum = list.update(7, |items: &mut Vec<u32>, more| {
        items.push(more);
        items.sort_unstable();
        items.iter().sum::<u32>()
    });
    assert_eq!(sum.unwrap(), 77);
    assert_eq!(list.to_vec().unwrap(), [0, 1, 2, 3, 4, 7, 60]);
    list.clear().unwrap();
    assert!(list.is_empty().unwrap());
    assert_eq!(list.pop().unwrap(), None);
}

#[bingfa::test]
fn namespaces_and_values() {
    let manager = Manager::new().unwrap();
    let (options, total) = (manager.namespace().unwrap(), manager.value(1.5f64).unwrap());
    let args = (options.clone(), total.clone());
    let child = process::spawn(
        args,
        |(options, total): (Proxy<Namespace>, Proxy<Value<f64>>)| {
            options.set("name", "deep").unwrap();
            options.set("depth", &7u8).unwrap();
            let doubled = total.update(2.0, |total, by| {
                *total *= by;
                *total
            });
            doubled.unwrap()
        },
    );
    assert_eq!(child.join().unwrap(), 3.0);
    assert_eq!(options.get::<String>("name").unwrap().unwrap(), "deep");
    assert_eq!(options.get::<u8>("depth").unwrap(), Some(7));
    let error = options.get::<Vec<String>>("depth").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert!(options.remove("name").unwrap());
    assert!(!options.remove("name").unwrap());
    assert_eq!(total.compare_exchange(&3.0, &4.0).unwrap(), Ok(()));
    assert_eq!(total.compare_exchange(&3.0, &5.0).unwrap(), Err(4.0));
    total.set(8.0).unwrap();
    assert_eq!(total.get().unwrap(), 8.0);
}

#[bingfa::test]
fn updates_are_whole() {
    let _dog = Watchdog::new("updates");
    let manager = Manager::new().unwrap();
    let counts: Proxy<Dict<String, i64>> = manager.dict().unwrap();
    let children: Vec<_> = (0..4)
        .map(|_| {
            process::spawn(counts.clone(), |counts: Proxy<Dict<String, i64>>| {
                for _ in 0..100 {
                    let one_less = |count: &mut Option<i64>, by| *count.get_or_insert(400) -= by;
                    counts.update("count", 1, one_less).unwrap();
                }
            })
        })
        .collect();
    for child in children {
        child.join().unwrap();
    }
    assert_eq!(counts.get("count").unwrap(), Some(0));
    let gone = counts.update("count", (), |count, ()| count.take());
    assert_eq!(gone.unwrap(), Some(0));
    assert_eq!(counts.get("count").unwrap(), None);

    counts.insert("x".to_owned(), 5).unwrap();
    let failed = counts.update("x", (), |x, ()| {
        *x = None;
        panic!("no luck");
    });
    let failed: std::io::Result<()> = failed;
    let text = failed.unwrap_err().to_string();
    assert!(
        text.contains("process_manager.rs") && text.contains("no luck"),
        "{text}"
    );
    assert_eq!(counts.get("x").unwrap(), Some(5), "as it was");
}

#[bingfa::test]
fn proxies_in_objects() {
    let _dog = Watchdog::new("nested");
    type Lists = Proxy<Dict<String, Proxy<List<u32>>>>;
    let manager = Manager::builder().bind("127.0.0.1:0").key(b"k").start();
    let manager = manager.unwrap();
    let lists: Lists = manager.dict().unwrap();
    let primes = manager.list().unwrap();
    primes.push(2).unwrap();
    lists.insert("primes".to_owned(), primes.clone()).unwrap();
    let child = process::spawn(lists.clone(), |lists: Lists| {
        let primes = lists.get("primes").unwrap().unwrap();
        primes.push(3).unwrap();
        let squares = lists.client().list().unwrap();
        squares.push(4).unwrap();
        lists.insert("squares".to_owned(), squares).unwrap();
    });
    child.join().unwrap();
    assert_eq!(primes.to_vec().unwrap(), [2, 3]);
    assert_eq!(
        lists.get("squares").unwrap().unwrap().to_vec().unwrap(),
        [4]
    );

    // By another way.
    manager.publish("lists", &lists).unwrap();
    let far = Client::connect(manager.local_addr().unwrap(), b"k").unwrap();
    let far: Lists = far.open("lists").unwrap();
    far.get("primes").unwrap().unwrap().push(5).unwrap();
    assert_eq!(primes.len().unwrap(), 3);
    // And in the manager itself.
    let moved = lists.update("primes", (), |primes, ()| {
        let primes = primes.as_ref().unwrap();
        primes.push(7).unwrap();
        primes.len().unwrap()
    });
    assert_eq!(moved.unwrap(), 4);
    // Another manager's.
    let other = Manager::new().unwrap();
    let theirs = other.list().unwrap();
    lists.insert("theirs".to_owned(), theirs).unwrap();
    lists.get("theirs").unwrap().unwrap().push(1).unwrap();
    let list = other.list().unwrap();
    let error = far.insert("theirs".to_owned(), list).unwrap_err();
    assert!(error.to_string().contains("over a network"), "{error}");
}

#[bingfa::test]
fn descriptors_in_objects() {
    let _dog = Watchdog::new("descriptors");
    let manager = Manager::builder().bind("127.0.0.1:0").key(b"k").start();
    let manager = manager.unwrap();
    let ends: Proxy<List<(u8, Connection<u32, u32>)>> = manager.list().unwrap();
    let (a, far_a) = pipe().unwrap();
    let (b, far_b) = pipe().unwrap();
    ends.extend([(1, far_a), (2, far_b)]).unwrap();
    let child = process::spawn(
        ends.clone(),
        |ends: Proxy<List<(u8, Connection<u32, u32>)>>| {
            for (n, end) in ends.to_vec().unwrap() {
                end.send(u32::from(n)).unwrap();
            }
            let (_, second) = ends.pop().unwrap().unwrap();
            second.send(3).unwrap();
        },
    );
    child.join().unwrap();
    assert_eq!(a.recv().unwrap(), 1);
    assert_eq!((b.recv().unwrap(), b.recv().unwrap()), (2, 3));
    assert_eq!(
        b.recv().unwrap_err().kind(),
        ErrorKind::UnexpectedEof,
        "nobody has it now"
    );
    let (a, _) = ends.get(0).unwrap().unwrap();
    assert_eq!(a, 1);

    manager.publish("ends", &ends).unwrap();
    let far = Client::connect(manager.local_addr().unwrap(), b"k").unwrap();
    let far: Proxy<List<Fd>> = far.open("ends").unwrap();
    let (_out, inp) = std::io::pipe().unwrap();
    let error = far.push(Fd::from(OwnedFd::from(inp))).unwrap_err();
    assert!(error.to_string().contains("over a network"), "{error}");
    let values: Proxy<List<process::Value<u32>>> = manager.list().unwrap();
    let error = values.push(process::Value::new(7).unwrap()).unwrap_err();
    assert!(
        error.to_string().contains("no manager can keep it"),
        "{error}"
    );
    let dict: Proxy<Dict<Fd, u8>> = manager.dict().unwrap();
    let (_out, inp) = std::io::pipe().unwrap();
    let error = dict.insert(Fd::from(OwnedFd::from(inp)), 1).unwrap_err();
    assert!(error.to_string().contains("is no key"), "{error}");
}

#[bingfa::test]
fn queues() {
    let _dog = Watchdog::new("queues");
    let manager = Manager::new().unwrap();
    let queue = manager.queue(Some(2)).unwrap();
    let kind = |error: std::io::Error| error.kind();
    assert_eq!(kind(queue.try_get().unwrap_err()), ErrorKind::WouldBlock);
    assert_eq!(
        kind(queue.get_timeout(SHORT).unwrap_err()),
        ErrorKind::TimedOut
    );
    queue.put("a".to_owned()).unwrap();
    queue.put("b".to_owned()).unwrap();
    let c = "c".to_owned();
    assert_eq!(kind(queue.try_put(&c).unwrap_err()), ErrorKind::WouldBlock);
    assert_eq!(
        kind(queue.put_timeout(&c, SHORT).unwrap_err()),
        ErrorKind::TimedOut
    );
    assert_eq!((queue.len().unwrap(), queue.unfinished().unwrap()), (2, 2));
    let putter = process::spawn(queue.clone(), |queue: Proxy<Queue<String>>| {
        for text in ["c", "d", "e"] {
            queue.put(text.to_owned()).unwrap();
        }
    });
    for text in ["a", "b", "c", "d", "e"] {
        assert_eq!(queue.get_timeout(LONG).unwrap(), text);
    }
    putter.join().unwrap();
    assert_eq!(
        kind(queue.join_timeout(SHORT).unwrap_err()),
        ErrorKind::TimedOut
    );
    let joiner = thread::spawn({
        let queue = queue.clone();
        move || queue.join()
    });
    for _ in 0..5 {
        queue.task_done().unwrap();
    }
    joiner.join().unwrap().unwrap();
    assert_eq!(
        kind(queue.task_done().unwrap_err()),
        ErrorKind::InvalidInput
    );
    let error = manager.queue::<u8>(Some(0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[bingfa::test]
fn every_item_goes_to_exactly_one() {
    let _dog = Watchdog::new("one");
    let manager = Manager::new().unwrap();
    let (jobs, results) = (
        manager.queue(Some(3)).unwrap(),
        manager.queue(None).unwrap(),
    );
    type Ends = (Proxy<Queue<Option<u32>>>, Proxy<Queue<u32>>);
    let children: Vec<_> = (0..3)
        .map(|_| {
            process::spawn((jobs.clone(), results.clone()), |(jobs, results): Ends| {
                while let Some(n) = jobs.get().unwrap() {
                    results.put(n).unwrap();
                    jobs.task_done().unwrap();
                }
                jobs.task_done().unwrap();
            })
        })
        .collect();
    for n in 0..100 {
        jobs.put(Some(n)).unwrap();
    }
    (0..3).for_each(|_| jobs.put(None).unwrap());
    jobs.join().unwrap();
    let mut all: Vec<u32> = (0..100).map(|_| results.get().unwrap()).collect();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..100));
    for child in children {
        child.join().unwrap();
    }
}

#[bingfa::test]
fn locks() {
    let _dog = Watchdog::new("locks");
    let manager = Manager::new().unwrap();
    let (lock, count) = (manager.lock().unwrap(), manager.value(0).unwrap());
    type Both = (Proxy<Lock>, Proxy<Value<u32>>);
    let children: Vec<_> = (0..4)
        .map(|_| {
            process::spawn((lock.clone(), count.clone()), |(lock, count): Both| {
                for _ in 0..50 {
                    let _guard = lock.lock().unwrap();
                    count.set(count.get().unwrap() + 1).unwrap();
                }
            })
        })
        .collect();
    for child in children {
        child.join().unwrap();
    }
    assert_eq!(count.get().unwrap(), 200);

    let guard = lock.lock().unwrap();
    assert_eq!(lock.try_lock().unwrap_err().kind(), ErrorKind::WouldBlock);
    let late = lock.lock_timeout(SHORT).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::TimedOut);
    let waiter = thread::spawn({
        let lock = lock.clone();
        move || drop(lock.lock_timeout(LONG).unwrap())
    });
    drop(guard);
    waiter.join().unwrap();
    drop(lock.try_lock().unwrap());
}

#[bingfa::test]
fn events() {
    let _dog = Watchdog::new("events");
    let manager = Manager::new().unwrap();
    let event = manager.event().unwrap();
    assert!(!event.wait_timeout(SHORT).unwrap());
    let child = process::spawn(event.clone(), |event: Proxy<Event>| event.set().unwrap());
    event.wait().unwrap();
    assert!(event.is_set().unwrap() && event.wait_timeout(LONG).unwrap());
    event.clear().unwrap();
    assert!(!event.is_set().unwrap());
    child.join().unwrap();

    let waiter = thread::spawn({
        let event = event.clone();
        move || event.wait().unwrap_err().kind()
    });
    event.remove_object().unwrap();
    assert_eq!(waiter.join().unwrap(), ErrorKind::NotFound);
}

struct Counter {
    count: u64,
    step: u64,
}

#[derive(Serialize, Deserialize)]
enum Asked {
    Step,
    Fail,
}

impl Managed for Counter {
    type Request = Asked;
    type Reply = u64;

    fn handle(&mut self, asked: Asked) -> u64 {
        match asked {
            Asked::Step => self.count += self.step,
            Asked::Fail => panic!("asked to"),
        }
        self.count
    }
}

#[bingfa::test]
fn objects_of_a_users_type() {
    let _dog = Watchdog::new("custom");
    let manager = Manager::builder().bind("127.0.0.1:0").key(b"k").start();
    let manager = manager.unwrap();
    let make = |step| Counter { count: 0, step };
    let counter = manager.create(5, make).unwrap();
    let child = process::spawn(counter.clone(), |counter: Proxy<Counter>| {
        counter.request(Asked::Step).unwrap()
    });
    assert_eq!(child.join().unwrap(), 5);
    let error = counter.request(Asked::Fail).unwrap_err().to_string();
    assert!(
        error.contains("it panicked at") && error.contains("asked to"),
        "{error}"
    );
    assert_eq!(counter.request(Asked::Step).unwrap(), 10);

    manager.publish("counter", &counter).unwrap();
    let far = Client::connect(manager.local_addr().unwrap(), b"k").unwrap();
    let same: Proxy<Counter> = far.open("counter").unwrap();
    assert_eq!(same.request(Asked::Step).unwrap(), 15);
    assert_eq!(
        far.open::<Lock>("counter").unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
    assert_eq!(
        far.open::<Lock>("lock").unwrap_err().kind(),
        ErrorKind::NotFound
    );
    let error = far.create(5, make).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
}

#[bingfa::test]
fn whoever_connects_has_no_functions_called_but_can_compare_and_exchange() {
    let manager = Manager::builder().bind("127.0.0.1:0").key(b"k").start();
    let manager = manager.unwrap();
    let counts: Ages = manager.dict().unwrap();
    counts.insert("n".to_owned(), 0).unwrap();
    manager.publish("counts", &counts).unwrap();
    let far = Client::connect(manager.local_addr().unwrap(), b"k").unwrap();
    let far: Ages = far.open("counts").unwrap();
    let error = far.update("n", 1, |n, by| *n.get_or_insert(0) += by);
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.to_string().contains("compare_exchange"), "{error}");
    let mut seen = far.get("n").unwrap();
    loop {
        let next = seen.map(|n| n + 1);
        match far
            .compare_exchange("n", seen.as_ref(), next.as_ref())
            .unwrap()
        {
            Ok(()) => break,
            Err(other) => seen = other,
        }
    }
    assert_eq!(counts.get("n").unwrap(), Some(1));
}

#[bingfa::test]
fn many_carriers_share_a_client() {
    let _dog = Watchdog::new("share");
    let manager = Manager::new().unwrap();
    let counts: Proxy<Dict<u32, u32>> = manager.dict().unwrap();
    coroutine::scope(|scope| {
        for n in 0..50 {
            let counts = &counts;
            scope.spawn(move || {
                for round in 0..10 {
                    counts.insert(n, round).unwrap();
                    assert_eq!(counts.get(&n).unwrap(), Some(round));
                }
            });
        }
    });
    assert_eq!(counts.len().unwrap(), 50);
}
