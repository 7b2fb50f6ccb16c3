//! `switch`: tasks that do nothing but yield.

use crate::floors;
use crate::runtimes::{self, SMOL, in_may, in_smol, in_tokio, may_spawn};
use harness::{Args, Figures};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

pub(crate) fn run(args: &Args) {
    match args.contender.as_str() {
        "tokio" | "tokio-current" => {
            let runtime = runtimes::tokio(args);
            measure(args, |tasks, each| {
                in_tokio(&runtime, tokio_yields(tasks, each))
            });
        }
        "smol" => {
            runtimes::smol(args);
            measure(args, |tasks, each| in_smol(smol_yields(tasks, each)));
        }
        "may" => {
            runtimes::may(args);
            measure(args, |tasks, each| in_may(move || may_yields(tasks, each)));
        }
        "corosensei" => measure(args, floors::corosensei),
        _ => args.unknown(),
    }
}

fn measure(args: &Args, mut run: impl FnMut(u64, u64) -> Duration) {
    let tasks: u64 = args.number("tasks");
    let ns = harness::switch_rounds(args.number("seconds"), |switches| {
        run(tasks, switches / tasks)
    });
    Figures::new().with("ns_per_switch", ns).print();
}

async fn tokio_yields(tasks: u64, each: u64) -> Duration {
    let start = Arc::new(OnceLock::new());
    let handles: Vec<_> = (0..tasks)
        .map(|_| {
            let start = Arc::clone(&start);
            tokio::spawn(async move {
                start.get_or_init(Instant::now);
                let mut done = 0;
                while done < each {
                    tokio::task::yield_now().await;
                    done += 1;
                }
                done
            })
        })
        .collect();
    let mut done = 0;
    for handle in handles {
        done += handle.await.expect("no task panics");
    }
    let taken = start.get().expect("a task has run").elapsed();
    assert_eq!(done, tasks * each);
    taken
}

async fn smol_yields(tasks: u64, each: u64) -> Duration {
    let start = Arc::new(OnceLock::new());
    let handles: Vec<_> = (0..tasks)
        .map(|_| {
            let start = Arc::clone(&start);
            SMOL.spawn(async move {
                start.get_or_init(Instant::now);
                let mut done = 0;
                while done < each {
                    smol::future::yield_now().await;
                    done += 1;
                }
                done
            })
        })
        .collect();
    let mut done = 0;
    for handle in handles {
        done += handle.await;
    }
    let taken = start.get().expect("a task has run").elapsed();
    assert_eq!(done, tasks * each);
    taken
}

fn may_yields(tasks: u64, each: u64) -> Duration {
    let start = Arc::new(OnceLock::new());
    let handles: Vec<_> = (0..tasks)
        .map(|_| {
            let start = Arc::clone(&start);
            may_spawn(move || {
                start.get_or_init(Instant::now);
                let mut done = 0;
                while done < each {
                    may::coroutine::yield_now();
                    done += 1;
                }
                done
            })
        })
        .collect();
    let done: u64 = handles
        .into_iter()
        .map(|handle| handle.join().expect("no coroutine panics"))
        .sum();
    let taken = start.get().expect("a coroutine has run").elapsed();
    assert_eq!(done, tasks * each);
    taken
}
