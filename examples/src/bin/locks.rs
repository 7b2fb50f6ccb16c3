//! Locks, semaphores and events between threads, or between coroutines: the same functions
//! with `--carrier`.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};
use std::time::Duration;

use bingfa::sync::{Event, Mutex, ReentrantLock, Semaphore};
use bingfa::{Runtime, observe, thread};
use bingfa_examples::{Carrier, Scale, Task, exit, finish};
use clap::{Parser, Subcommand, ValueEnum};

/// Locks: lost updates, deadlocks, recursive locks, semaphores, events
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    program: Program,
    #[command(flatten)]
    scale: Scale,
    /// What runs the tasks
    #[arg(long, global = true, default_value_t = Carrier::Thread)]
    carrier: Carrier,
}

#[derive(Subcommand)]
enum Program {
    /// P42: a hundred tasks take 1 from 100 each
    #[command(visible_alias = "p42")]
    Countdown {
        #[arg(value_enum, default_value_t = Countdown::AtOnce)]
        version: Countdown,
    },
    /// P43: two locks, which some want in the one order and some in the other
    #[command(visible_alias = "p43")]
    Deadlock {
        #[arg(value_enum, default_value_t = Deadlocked::Eight)]
        version: Deadlocked,
    },
    /// P44: three take the chopsticks first, three the noodles
    #[command(visible_alias = "p44")]
    Noodles {
        #[arg(value_enum, default_value_t = Noodles::Stuck)]
        version: Noodles,
    },
    /// P46: one lock under two names, which its owner may not take again
    #[command(visible_alias = "p46")]
    Twice,
    /// P45: one lock under two names, which its owner may take again
    #[command(visible_alias = "p45")]
    Recursive {
        #[arg(value_enum, default_value_t = Recursive::Eight)]
        version: Recursive,
    },
    /// P47: 25 cars, 5 places
    #[command(visible_alias = "p47")]
    Parking,
    /// P48: ten tasks, five at a time
    #[command(visible_alias = "p48")]
    Five,
    /// P49: passengers wait for the bus
    #[command(visible_alias = "p49")]
    Bus,
    /// P50: tasks wait until a server runs
    #[command(visible_alias = "p50")]
    Redis {
        #[arg(value_enum, default_value_t = Redis::Wait)]
        version: Redis,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Countdown {
    /// (a) Nothing between reading and writing back
    AtOnce,
    /// (b) 0.1 s between
    Slow,
    /// (c) 0.0001 s between
    Quick,
    /// (d) 0.001 s between, with a lock held
    Locked,
    /// One operation that nothing can come between
    Atomic,
    /// From 0 upwards, with nothing between reading and writing back
    Up,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Noodles {
    /// Each waits for what the other has
    Stuck,
    /// Everybody takes the chopsticks first
    InOrder,
    /// Who does not get the second puts down the first
    TryLock,
}

#[derive(Clone, Copy, ValueEnum)]
enum Deadlocked {
    /// 8 tasks, lock 1 and lock 2
    Eight,
    /// 10 tasks, lock A and lock B
    Ten,
}

#[derive(Clone, Copy, ValueEnum)]
enum Recursive {
    /// 8 tasks, lock 1 and lock 2
    Eight,
    /// 10 tasks, lock A and lock B
    Ten,
    /// 6 tasks, chopsticks and noodles
    Noodles,
}

#[derive(Clone, Copy, ValueEnum)]
enum Redis {
    /// Until it runs
    Wait,
    /// For 1 s at most, and then go on without it
    Second,
}

fn main() -> ExitCode {
    let Cli {
        program,
        scale,
        carrier,
    } = Cli::parse();
    exit(match program {
        Program::Countdown { version } => countdown(version, carrier, scale),
        Program::Deadlock { version } => deadlock(version, carrier, scale),
        Program::Noodles { version } => match version {
            Noodles::Stuck => hungry(false, carrier, scale),
            _ => cured(version, carrier, scale),
        },
        Program::Twice => hungry(true, carrier, scale),
        Program::Recursive { version } => match version {
            Recursive::Noodles => noodles(carrier, scale),
            _ => recursive(version, carrier, scale),
        },
        Program::Parking => parking(carrier, scale),
        Program::Five => five(carrier, scale),
        Program::Bus => bus(carrier, scale),
        Program::Redis { version } => redis(version, carrier, scale),
    })
}

/// Python shows this race in spite of its interpreter lock. Rust does not let one read and
/// write a plain variable from several threads at all; an atomic that is read and then
/// written loses updates in the same way.
///
/// Of coroutines on one worker only one runs, and it gives way only where it waits: without a
/// sleep between, nothing is lost.
fn countdown(version: Countdown, carrier: Carrier, scale: Scale) -> io::Result<()> {
    let (start, step) = match version {
        Countdown::Up => (0, 1),
        _ => (100, -1),
    };
    let number = Arc::new(AtomicI32::new(start));
    let lock = Arc::new(Mutex::new(()));
    let runtime = Runtime::builder().workers(1).build()?;
    let take = || {
        let (number, lock) = (number.clone(), lock.clone());
        move || {
            let take = |between: Option<f64>| {
                let seen = number.load(Relaxed);
                if let Some(seconds) = between {
                    thread::sleep(scale.seconds(seconds));
                }
                number.store(seen + step, Relaxed);
            };
            match version {
                Countdown::AtOnce | Countdown::Up => take(None),
                Countdown::Slow => take(Some(0.1)),
                Countdown::Quick => take(Some(0.0001)),
                Countdown::Locked => {
                    // A guard is given back however the block ends; `acquire` and `release`
                    // leave the lock taken if there is an exception between them.
                    let _guard = lock.lock().expect("nobody panics with it");
                    take(Some(0.001));
                }
                Countdown::Atomic => {
                    number.fetch_add(step, Relaxed);
                }
            }
            thread::sleep(scale.seconds(2.0));
        }
    };
    let tasks: io::Result<Vec<_>> = (1..=100)
        .map(|i| match carrier {
            Carrier::Thread => carrier.spawn(format!("Thread-{i}"), take()),
            Carrier::Coroutine => Ok(Task::Coroutine(runtime.spawn(take()))),
        })
        .collect();
    finish(tasks?)?;
    println!("{}", number.load(Relaxed));
    Ok(())
}

/// The notes' program hangs, if the tasks happen to come so: the first in its second half has lock
/// 2 and wants 1; another has 1 and wants 2. Here the events see to it that they do, and
/// the last of the two to wait panics, with a report of who waits for whom. Its panic
/// poisons the lock that it has, so that the others stop, too.
fn deadlock(version: Deadlocked, carrier: Carrier, scale: Scale) -> io::Result<()> {
    observe::on_deadlock(observe::Deadlock::Panic);
    let (tasks, say): (_, fn(&str, usize)) = match version {
        Deadlocked::Ten => (10, |name, lock| {
            println!("i am {name} GET LOCK{}", ["A", "B"][lock - 1]);
        }),
        Deadlocked::Eight => (8, |name, lock| println!("{name} 抢到锁{lock}")),
    };
    let locks = Arc::new((Mutex::new(()), Mutex::new(())));
    let second_half = Arc::new(Event::new());
    let other_has_1 = Arc::new(Event::new());
    let task = |i| {
        let (locks, second_half, other_has_1) =
            (locks.clone(), second_half.clone(), other_has_1.clone());
        let name = format!("Thread-{i}");
        carrier.spawn(name.clone(), move || {
            let (lock_1, lock_2) = &*locks;
            if i > 1 {
                second_half.wait();
            }
            {
                let Ok(_first) = lock_1.lock() else { return };
                say(&name, 1);
                if i > 1 {
                    other_has_1.set();
                }
                {
                    let Ok(_second) = lock_2.lock() else { return };
                    say(&name, 2);
                }
                if let Deadlocked::Ten = version {
                    thread::sleep(scale.seconds(1.0));
                }
            }
            let Ok(_second) = lock_2.lock() else { return };
            say(&name, 2);
            second_half.set();
            if let Deadlocked::Eight = version {
                thread::sleep(scale.seconds(1.0));
            }
            other_has_1.wait();
            let Ok(_first) = lock_1.lock() else { return };
            say(&name, 1);
        })
    };
    let tasks: io::Result<Vec<_>> = (1..=tasks).map(task).collect();
    finish(tasks?)
}

/// Three take the chopsticks and then the noodles, three the other way round. In the notes it
/// depends on the random sleeps whether they get stuck; here nobody asks for the second
/// before both are taken. Or both are one lock, and the first waits for itself. In either case
/// the last to wait panics with a report, and the others stop at what it has poisoned.
///
/// (The notes' first version says 筷子 of both locks.)
fn hungry(one_lock: bool, carrier: Carrier, scale: Scale) -> io::Result<()> {
    observe::on_deadlock(observe::Deadlock::Panic);
    let chopsticks = Arc::new(Mutex::new(()));
    let noodles = if one_lock {
        chopsticks.clone()
    } else {
        Arc::new(Mutex::new(()))
    };
    let taken = Arc::new([Event::new(), Event::new()]);
    let eat = |(name, order): (&'static str, [usize; 2])| {
        let locks = [chopsticks.clone(), noodles.clone()];
        let taken = taken.clone();
        carrier.spawn(name.into(), move || {
            const WORDS: [&str; 2] = ["筷子", "面条"];
            let [first, second] = order;
            let Ok(outer) = locks[first].lock() else {
                return;
            };
            println!("{name}:拿到了{}", WORDS[first]);
            thread::sleep(up_to_a_second(scale));
            taken[first].set();
            if !one_lock {
                taken[second].wait();
            }
            let Ok(inner) = locks[second].lock() else {
                return;
            };
            println!("{name}:拿到了{}", WORDS[second]);
            drop(inner);
            println!("{name}放下了{}", WORDS[second]);
            println!("{name}放下了{}", WORDS[first]);
            drop(outer);
        })
    };
    let eaters = ["张三", "李四", "王五"].map(|name| (name, [0, 1]));
    let others = ["赵六", "王7", "傻逼"].map(|name| (name, [1, 0]));
    let tasks: io::Result<Vec<_>> = eaters.into_iter().chain(others).map(eat).collect();
    finish(tasks?)
}

/// With two locks, two of the tasks would wait for each other for ever: the first in its second
/// half wants 1, which the second holds, who wants 2. The cure makes one lock of
/// them, so that the tasks take turns. ([`cured`] has others, which keep two.)
fn recursive(version: Recursive, carrier: Carrier, scale: Scale) -> io::Result<()> {
    let (tasks, say): (_, fn(&str, usize)) = match version {
        Recursive::Ten => (10, |name, lock| {
            println!("i am {name} GET LOCK{}", ["A", "B"][lock - 1]);
        }),
        _ => (8, |name, lock| println!("{name} 抢到锁{lock}")),
    };
    let lock_1 = Arc::new(ReentrantLock::new(()));
    let lock_2 = lock_1.clone();
    let task = |i| {
        let (lock_1, lock_2) = (lock_1.clone(), lock_2.clone());
        let name = format!("Thread-{i}");
        carrier.spawn(name.clone(), move || {
            {
                let _first = lock_1.lock();
                say(&name, 1);
                {
                    let _second = lock_2.lock();
                    say(&name, 2);
                }
                if let Recursive::Ten = version {
                    thread::sleep(scale.seconds(1.0));
                }
            }
            let _second = lock_2.lock();
            say(&name, 2);
            if let Recursive::Eight = version {
                thread::sleep(scale.seconds(1.0));
            }
            let _first = lock_1.lock();
            say(&name, 1);
        })
    };
    let tasks: io::Result<Vec<_>> = (1..=tasks).map(task).collect();
    finish(tasks?)
}

fn up_to_a_second(scale: Scale) -> Duration {
    scale.seconds(fastrand::f64())
}

/// One lock is all of the table: the six eat strictly one by one.
fn noodles(carrier: Carrier, scale: Scale) -> io::Result<()> {
    let chopsticks = Arc::new(ReentrantLock::new(()));
    let noodles = chopsticks.clone();
    let eat = |(name, order): (&'static str, [usize; 2])| {
        let locks = [chopsticks.clone(), noodles.clone()];
        carrier.spawn(name.into(), move || {
            const WORDS: [&str; 2] = ["筷子", "面条"];
            let [first, second] = order;
            let outer = locks[first].lock();
            println!("{name}:拿到了{}", WORDS[first]);
            thread::sleep(up_to_a_second(scale));
            let inner = locks[second].lock();
            println!("{name}:拿到了{}", WORDS[second]);
            println!("开始吃面");
            thread::sleep(up_to_a_second(scale));
            drop(inner);
            println!("{name}放下了{}", WORDS[second]);
            println!("{name}放下了{}", WORDS[first]);
            drop(outer); // after the line, or the next one's could come before it
        })
    };
    let eaters = ["张三", "李四", "王五"].map(|name| (name, [0, 1]));
    let others = ["赵6", "往7", "傻逼"].map(|name| (name, [1, 0]));
    let tasks: io::Result<Vec<_>> = eaters.into_iter().chain(others).map(eat).collect();
    finish(tasks?)
}

/// Two locks and no deadlock: either all take them in the same order, or nobody waits for the
/// second with the first in hand. The tasks of [`hungry`] would wait for each other here, too.
fn cured(version: Noodles, carrier: Carrier, scale: Scale) -> io::Result<()> {
    const WORDS: [&str; 2] = ["筷子", "面条"];
    observe::on_deadlock(observe::Deadlock::Panic); // and there is none
    let locks = Arc::new([Mutex::new(()), Mutex::new(())]);
    let eat = |(name, mut order): (&'static str, [usize; 2])| {
        let locks = locks.clone();
        if version == Noodles::InOrder {
            order.sort_unstable();
        }
        carrier.spawn(name.into(), move || {
            let [first, second] = order;
            loop {
                let outer = locks[first].lock().expect("nobody panics with it");
                println!("{name}:拿到了{}", WORDS[first]);
                thread::sleep(up_to_a_second(scale));
                let inner = match version {
                    Noodles::TryLock => locks[second].try_lock().ok(),
                    _ => locks[second].lock().ok(),
                };
                if inner.is_some() {
                    println!("{name}:拿到了{}", WORDS[second]);
                    println!("{name}开始吃面");
                    thread::sleep(up_to_a_second(scale));
                    println!("{name}放下了{}", WORDS[second]);
                    drop(inner);
                    println!("{name}放下了{}", WORDS[first]);
                    return;
                }
                println!("{name}放下了{}", WORDS[first]);
                drop(outer);
                thread::sleep(up_to_a_second(scale)); // at random, or two could go on so for ever
            }
        })
    };
    let eaters = ["张三", "李四", "王五"].map(|name| (name, [0, 1]));
    let others = ["赵六", "王7", "傻逼"].map(|name| (name, [1, 0]));
    let tasks: io::Result<Vec<_>> = eaters.into_iter().chain(others).map(eat).collect();
    finish(tasks?)
}

/// A semaphore limits how many are inside, not how many there are: all 25 tasks are alive, and 20
/// of them wait. (A pool would make 5.) No car leaves before they are counted.
fn parking(carrier: Carrier, scale: Scale) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(5));
    let counted = Arc::new(Event::new());
    let park = |i| {
        let (places, counted) = (places.clone(), counted.clone());
        let name = format!("宝马{i}号");
        carrier.spawn(name.clone(), move || {
            let _place = places.acquire();
            println!("{name} 抢到车位");
            thread::sleep(scale.seconds(f64::from(fastrand::u8(3..=5))));
            counted.wait();
            println!("{name} 开走了");
        })
    };
    let cars: io::Result<Vec<_>> = (1..=25).map(park).collect();
    let cars = cars?;
    let all = observe::snapshot();
    let alive = all.iter().filter(|one| {
        let name = one.info.name.as_deref();
        name.is_some_and(|name| name.starts_with("宝马"))
    });
    println!("{}个任务, 5个车位", alive.count());
    counted.set();
    finish(cars)
}

fn five(carrier: Carrier, scale: Scale) -> io::Result<()> {
    let semaphore = Arc::new(Semaphore::new(5));
    let task = |i| {
        let semaphore = semaphore.clone();
        carrier.spawn(format!("Thread-{i}"), move || {
            let _permit = semaphore.acquire();
            thread::sleep(scale.seconds(2.0));
            println!("ok");
        })
    };
    let tasks: io::Result<Vec<_>> = (1..=10).map(task).collect();
    finish(tasks?)
}

fn bus(carrier: Carrier, scale: Scale) -> io::Result<()> {
    let arrived = Arc::new(Event::new());
    let bell = arrived.clone();
    let bus = carrier.spawn("bus".into(), move || {
        println!("公交车即将到站");
        thread::sleep(scale.seconds(3.0));
        println!("公交车到站了");
        bell.set();
    })?;
    let passenger = |i| {
        let arrived = arrived.clone();
        let name = format!("乘客{i}");
        carrier.spawn(name.clone(), move || {
            println!("{name} 正在等车");
            arrived.wait();
            println!("{name} 上车出发");
        })
    };
    let passengers: io::Result<Vec<_>> = (0..10).map(passenger).collect();
    finish([bus])?;
    finish(passengers?)
}

/// The notes set the event before they start those who are to wait for it: nobody waits. Here the
/// tasks come first.
fn redis(version: Redis, carrier: Carrier, scale: Scale) -> io::Result<()> {
    let running = Arc::new(Event::new());
    let client = |i| {
        let running = running.clone();
        carrier.spawn(format!("Thread-{i}"), move || {
            println!("wait.......");
            let is_running = match version {
                Redis::Wait => {
                    running.wait();
                    true
                }
                Redis::Second => running.wait_timeout(scale.seconds(1.0)),
            };
            if is_running {
                println!("connect to redis server");
            } else {
                println!("go on without redis server");
            }
        })
    };
    let clients: io::Result<Vec<_>> = (1..=5).map(client).collect();
    println!("attempt to start redis server");
    thread::sleep(scale.seconds(3.0));
    running.set();
    finish(clients?)
}
