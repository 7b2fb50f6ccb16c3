//! `channel`: messages from senders to receivers. On threads crossbeam, flume, kanal and std; as tasks flume and kanal on
//! tokio, tokio's own, and may's.

use crate::runtimes::{self, in_may, in_tokio, may_spawn};
use harness::{Args, ChannelShape};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

pub(crate) fn run(args: &Args) {
    let shape = ChannelShape::of(args);
    let on_threads = args.text("carrier") == Some("threads");
    match (args.contender.as_str(), on_threads) {
        ("crossbeam", true) => shape.measure(|each| crossbeam(shape, each)),
        ("flume", true) => shape.measure(|each| flume(shape, each)),
        ("kanal", true) => shape.measure(|each| kanal(shape, each)),
        ("std", true) => shape.measure(|each| std_mpsc(shape, each)),
        ("flume", false) => on_tokio(args, shape, flume_tasks),
        ("kanal", false) => on_tokio(args, shape, kanal_tasks),
        ("tokio", false) => on_tokio(args, shape, tokio_tasks),
        ("may", false) => {
            runtimes::may(args);
            shape.measure(|each| in_may(move || may_tasks(shape, each)));
        }
        _ => args.unknown(),
    }
}

fn on_tokio<F>(args: &Args, shape: ChannelShape, tasks: fn(ChannelShape, u64) -> F)
where
    F: Future<Output = (Duration, u64)> + Send + 'static,
{
    let workers = args.number("workers");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .build()
        .expect("a tokio runtime");
    shape.measure(|each| in_tokio(&runtime, tasks(shape, each)));
}

/// The loops of threads, over any channel that closes when its senders are gone.
fn threads<S: Clone + Send + 'static, R: Send + 'static>(
    shape: ChannelShape,
    each: u64,
    sender: S,
    receivers: Vec<R>,
    send: fn(&S, u64),
    receive: fn(&R) -> Option<u64>,
) -> (Duration, u64) {
    let start = Instant::now();
    let receivers: Vec<_> = receivers
        .into_iter()
        .map(|receiver| {
            thread::spawn(move || {
                let mut sum = 0;
                while let Some(n) = receive(&receiver) {
                    sum += n;
                }
                sum
            })
        })
        .collect();
    for _ in 0..shape.senders {
        let sender = sender.clone();
        thread::spawn(move || {
            for n in 0..each {
                send(&sender, n);
            }
        });
    }
    drop(sender);
    let sum = receivers
        .into_iter()
        .map(|receiver| receiver.join().expect("no thread panics"))
        .sum();
    (start.elapsed(), sum)
}

fn crossbeam(shape: ChannelShape, each: u64) -> (Duration, u64) {
    let (sender, receiver) = match shape.capacity {
        Some(capacity) => crossbeam_channel::bounded(capacity),
        None => crossbeam_channel::unbounded(),
    };
    let receivers = vec![receiver; shape.receivers];
    let send = |sender: &crossbeam_channel::Sender<u64>, n| sender.send(n).expect("connected");
    threads(shape, each, sender, receivers, send, |r| r.recv().ok())
}

fn flume(shape: ChannelShape, each: u64) -> (Duration, u64) {
    let (sender, receiver) = match shape.capacity {
        Some(capacity) => flume::bounded(capacity),
        None => flume::unbounded(),
    };
    let receivers = vec![receiver; shape.receivers];
    let send = |sender: &flume::Sender<u64>, n| sender.send(n).expect("connected");
    threads(shape, each, sender, receivers, send, |r| r.recv().ok())
}

fn kanal(shape: ChannelShape, each: u64) -> (Duration, u64) {
    let (sender, receiver) = match shape.capacity {
        Some(capacity) => kanal::bounded(capacity),
        None => kanal::unbounded(),
    };
    let receivers = vec![receiver; shape.receivers];
    let send = |sender: &kanal::Sender<u64>, n| sender.send(n).expect("connected");
    threads(shape, each, sender, receivers, send, |r| r.recv().ok())
}

fn std_mpsc(shape: ChannelShape, each: u64) -> (Duration, u64) {
    match shape.capacity {
        Some(capacity) => {
            let (sender, receiver) = mpsc::sync_channel(capacity);
            let send = |sender: &mpsc::SyncSender<u64>, n| sender.send(n).expect("connected");
            threads(shape, each, sender, vec![receiver], send, |r| r.recv().ok())
        }
        None => {
            let (sender, receiver) = mpsc::channel();
            let send = |sender: &mpsc::Sender<u64>, n| sender.send(n).expect("connected");
            threads(shape, each, sender, vec![receiver], send, |r| r.recv().ok())
        }
    }
}

/// Waits for the receiving tasks.
async fn sum_of(start: Instant, receivers: Vec<tokio::task::JoinHandle<u64>>) -> (Duration, u64) {
    let mut sum = 0;
    for receiver in receivers {
        sum += receiver.await.expect("no task panics");
    }
    (start.elapsed(), sum)
}

async fn flume_tasks(shape: ChannelShape, each: u64) -> (Duration, u64) {
    let (sender, receiver) = match shape.capacity {
        Some(capacity) => flume::bounded(capacity),
        None => flume::unbounded(),
    };
    let start = Instant::now();
    let receivers = (0..shape.receivers)
        .map(|_| {
            let receiver: flume::Receiver<u64> = receiver.clone();
            tokio::spawn(async move {
                let mut sum = 0;
                while let Ok(n) = receiver.recv_async().await {
                    sum += n;
                }
                sum
            })
        })
        .collect();
    for _ in 0..shape.senders {
        let sender = sender.clone();
        tokio::spawn(async move {
            for n in 0..each {
                sender.send_async(n).await.expect("connected");
            }
        });
    }
    drop((sender, receiver));
    sum_of(start, receivers).await
}

async fn kanal_tasks(shape: ChannelShape, each: u64) -> (Duration, u64) {
    let (sender, receiver) = match shape.capacity {
        Some(capacity) => kanal::bounded_async(capacity),
        None => kanal::unbounded_async(),
    };
    let start = Instant::now();
    let receivers = (0..shape.receivers)
        .map(|_| {
            let receiver: kanal::AsyncReceiver<u64> = receiver.clone();
            tokio::spawn(async move {
                let mut sum = 0;
                while let Ok(n) = receiver.recv().await {
                    sum += n;
                }
                sum
            })
        })
        .collect();
    for _ in 0..shape.senders {
        let sender = sender.clone();
        tokio::spawn(async move {
            for n in 0..each {
                sender.send(n).await.expect("connected");
            }
        });
    }
    drop((sender, receiver));
    sum_of(start, receivers).await
}

async fn tokio_tasks(shape: ChannelShape, each: u64) -> (Duration, u64) {
    let start = Instant::now();
    let receiver = match shape.capacity {
        Some(capacity) => {
            let (sender, mut receiver) = tokio::sync::mpsc::channel::<u64>(capacity);
            for _ in 0..shape.senders {
                let sender = sender.clone();
                tokio::spawn(async move {
                    for n in 0..each {
                        sender.send(n).await.expect("connected");
                    }
                });
            }
            tokio::spawn(async move {
                let mut sum = 0;
                while let Some(n) = receiver.recv().await {
                    sum += n;
                }
                sum
            })
        }
        None => {
            let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel::<u64>();
            for _ in 0..shape.senders {
                let sender = sender.clone();
                tokio::spawn(async move {
                    for n in 0..each {
                        sender.send(n).expect("connected");
                    }
                });
            }
            tokio::spawn(async move {
                let mut sum = 0;
                while let Some(n) = receiver.recv().await {
                    sum += n;
                }
                sum
            })
        }
    };
    sum_of(start, vec![receiver]).await
}

/// may's spsc, mpsc and mpmc are channels of their own, all unbounded.
fn may_tasks(shape: ChannelShape, each: u64) -> (Duration, u64) {
    let start = Instant::now();
    let receivers: Vec<_> = match (shape.senders, shape.receivers) {
        (1, 1) => {
            let (sender, receiver) = may::sync::spsc::channel();
            may_spawn(move || (0..each).for_each(|n| sender.send(n).expect("connected")));
            vec![may_spawn(move || receiver.iter().sum::<u64>())]
        }
        (senders, 1) => {
            let (sender, receiver) = may::sync::mpsc::channel();
            for _ in 0..senders {
                let sender = sender.clone();
                may_spawn(move || (0..each).for_each(|n| sender.send(n).expect("connected")));
            }
            drop(sender);
            vec![may_spawn(move || receiver.iter().sum::<u64>())]
        }
        (senders, receivers) => {
            let (sender, receiver) = may::sync::mpmc::channel();
            for _ in 0..senders {
                let sender = sender.clone();
                may_spawn(move || (0..each).for_each(|n| sender.send(n).expect("connected")));
            }
            drop(sender);
            (0..receivers)
                .map(|_| {
                    let receiver = receiver.clone();
                    may_spawn(move || receiver.iter().sum::<u64>())
                })
                .collect()
        }
    };
    let sum = receivers
        .into_iter()
        .map(|receiver| receiver.join().expect("no coroutine panics"))
        .sum();
    (start.elapsed(), sum)
}
