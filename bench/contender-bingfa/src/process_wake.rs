//! `process-wake`: coroutines, or one thread, that wait for another process, each at a queue of its own.

use crate::runtime;
use bingfa::coroutine;
use bingfa::process::{self, Queue};
use harness::{Args, latency_figures, monotonic_ns, process_cpu_seconds, send_moments};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

/// Those who are about to wait.
static READY: AtomicUsize = AtomicUsize::new(0);

pub(crate) fn run(args: &Args) {
    let (waiters, total): (usize, u64) = (args.number("waiters"), args.number("total"));
    let queues: Vec<Queue<u64>> = (0..waiters)
        .map(|_| Queue::bounded(16).expect("a queue"))
        .collect();
    let go = Queue::<()>::bounded(1).expect("a queue");
    let sender = process::spawn((go.clone(), queues.clone(), total), send);
    let (latencies, idle) = if args.contender == "bingfa-thread" {
        let waiting = thread::spawn(move || queues.iter().flat_map(receive).collect());
        let idle = idle_use(waiters);
        go.put(()).expect("the sender is there");
        (waiting.join().expect("it ends well"), idle)
    } else {
        runtime(args).run(move || {
            let waiting: Vec<_> = queues
                .into_iter()
                .map(|queue| coroutine::spawn(move || receive(&queue)))
                .collect();
            let idle = idle_use(waiters);
            go.put(()).expect("the sender is there");
            let all = coroutine::join_all(waiting).expect("they end well");
            (all.into_iter().flatten().collect(), idle)
        })
    };
    let latencies: Vec<u64> = latencies;
    sender.join().expect("it ends well");
    assert_eq!(latencies.len() as u64, total, "lost or doubled");
    latency_figures(latencies)
        .with("idle_cpu_percent", 100.0 * idle)
        .print();
}

/// Sends moments to one queue after the other, far apart in the list, and closes them all.
fn send((go, queues, total): (Queue<()>, Vec<Queue<u64>>, u64)) {
    go.get().expect("the others are there");
    send_moments(total, |n, moment| {
        let queue = &queues[(n as usize * 7919) % queues.len()];
        queue.put(moment).expect("somebody waits there");
    });
    queues.iter().for_each(Queue::close);
}

/// How long after its moment each message came.
fn receive(queue: &Queue<u64>) -> Vec<u64> {
    READY.fetch_add(1, SeqCst);
    let mut latencies = Vec::new();
    while let Ok(moment) = queue.get() {
        latencies.push(monotonic_ns() - moment);
    }
    latencies
}

/// What part of a core this process uses while all of them wait.
fn idle_use(waiters: usize) -> f64 {
    while READY.load(SeqCst) < waiters {
        bingfa::thread::sleep(Duration::from_millis(1));
    }
    // The last of them has still to fall asleep.
    bingfa::thread::sleep(Duration::from_millis(50));
    let (begin, before) = (Instant::now(), process_cpu_seconds());
    bingfa::thread::sleep(Duration::from_millis(500));
    (process_cpu_seconds() - before) / begin.elapsed().as_secs_f64()
}
