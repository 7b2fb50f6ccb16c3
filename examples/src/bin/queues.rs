//! Queues between threads, or between coroutines: the same functions with `--carrier`.
//!
//! The notes give the producers and consumers of P23 to P26 processes, as `process-queues` does;
//! here they share the memory of one.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use bingfa::queue::{GetError, LifoQueue, PriorityQueue, Queue};
use bingfa::thread;
use bingfa_examples::{Carrier, Scale, Task, exit, finish};
use clap::{Parser, Subcommand, ValueEnum};

/// Queues: producers and consumers, three orders, work that is waited for
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    program: Program,
    #[command(flatten)]
    scale: Scale,
    /// What runs the producers and consumers
    #[arg(long, global = true, default_value_t = Carrier::Thread)]
    carrier: Carrier,
}

#[derive(Subcommand)]
enum Program {
    /// P23: three cooks, two eaters, three places on the table
    #[command(visible_alias = "p23")]
    Kitchen {
        #[arg(value_enum, default_value_t = Kitchen::Closed)]
        version: Kitchen,
    },
    /// P24: eaters who do not wait for ever
    #[command(visible_alias = "p24")]
    Patience {
        #[arg(value_enum, default_value_t = Patience::Four)]
        version: Patience,
    },
    /// P25: main waits until all dishes are eaten; the eaters end with it
    #[command(visible_alias = "p25")]
    Dishes,
    /// P26: the same, and then poison for each eater
    #[command(visible_alias = "p26")]
    Poison {
        #[arg(value_enum, default_value_t = Poison::Reported)]
        version: Poison,
    },
    /// P51: put by one, got by another
    #[command(visible_alias = "p51")]
    Handover {
        #[arg(value_enum, default_value_t = Handover::Lqz)]
        version: Handover,
    },
    /// P52: join waits until each item is reported done
    #[command(visible_alias = "p52")]
    TaskDone,
    /// P53: first in first out, last in first out, smallest first
    #[command(visible_alias = "p53")]
    Orders {
        #[arg(value_enum, default_value_t = Orders::Three)]
        version: Orders,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Kitchen {
    /// The queue is closed after the last cook
    Closed,
    /// Main puts three ends, as many as there are cooks: one too many
    Ends,
    /// The same for five eaters: two too few
    Five,
}

#[derive(Clone, Copy, ValueEnum)]
enum Poison {
    /// Each poisoned one reports that it is done
    Reported,
    /// None does, so that main's join would wait for ever
    Unreported,
}

#[derive(Clone, Copy, ValueEnum)]
enum Patience {
    /// Three cooks, four eaters, who complain after 20 s without food
    Four,
    /// Two cooks, two eaters, who complain after 5 s
    Homework,
}

#[derive(Clone, Copy, ValueEnum)]
enum Handover {
    Lqz,
    /// Values of several types, and one get too many
    Values,
}

#[derive(Clone, Copy, ValueEnum)]
enum Orders {
    Three,
    /// Four items with a priority each
    Priority,
}

fn main() -> ExitCode {
    let Cli {
        program,
        scale,
        carrier,
    } = Cli::parse();
    exit(match program {
        Program::Kitchen { version } => match version {
            Kitchen::Closed => kitchen(carrier, scale),
            Kitchen::Ends => kitchen_with_ends(2, carrier, scale),
            Kitchen::Five => kitchen_with_ends(5, carrier, scale),
        },
        Program::Patience { version } => patience(version, carrier, scale),
        Program::Dishes => dishes(None, carrier, scale),
        Program::Poison { version } => dishes(Some(version), carrier, scale),
        Program::Handover { version } => handover(version, carrier, scale),
        Program::TaskDone => task_done(carrier),
        Program::Orders { version } => orders(version),
    })
}

/// Cooks ten portions of each food, each by a cook of its own.
fn cooks<P: From<String> + Send + 'static>(
    table: &Arc<Queue<P>>,
    menu: &[(&'static str, &'static str)],
    says: &'static str,
    carrier: Carrier,
    scale: Scale,
) -> io::Result<Vec<Task<()>>> {
    let cook = |(name, food): (&'static str, &'static str)| {
        let table = table.clone();
        carrier.spawn(name.into(), move || {
            for i in 0..10 {
                println!("{name}{says}做了第{i}个{food}");
                thread::sleep(scale.a_while());
                let put = table.put(format!("第{i}个{food}").into());
                assert!(put.is_ok(), "the table is cleared after the last cook");
            }
        })
    };
    menu.iter().copied().map(cook).collect()
}

/// What the cooks of P23 make.
const MENU: [(&str, &str); 3] = [("厨师1", "包子"), ("厨师2", "骨头"), ("厨师3", "泔水")];

/// The notes end the eaters by a `None` from each cook, which is right only as long as there are
/// not more eaters than cooks (and leaves a `None` on the table if there are fewer), and by
/// any other item that is "false". A queue that is closed tells each of them.
fn kitchen(carrier: Carrier, scale: Scale) -> io::Result<()> {
    let table = Arc::new(Queue::<String>::bounded(3));
    let cooks = cooks(&table, &MENU, "这个厨师，", carrier, scale)?;
    let eater = |name: &'static str| {
        let table = table.clone();
        carrier.spawn(name.into(), move || {
            for portion in table.iter() {
                thread::sleep(scale.a_while());
                println!("{name}这个消费者，吃了{portion}");
            }
        })
    };
    let eaters = [eater("消费者1")?, eater("消费者2")?];
    finish(cooks)?;
    table.close();
    finish(eaters)
}

/// As in the notes: three ends, which is one too many for two eaters, and stays on the table, and two
/// too few for five. Two of those wait for ever, until the queue is closed.
fn kitchen_with_ends(eaters: u32, carrier: Carrier, scale: Scale) -> io::Result<()> {
    let table = Arc::new(Queue::bounded(3));
    let cooks = cooks(&table, &MENU, "这个厨师，", carrier, scale)?;
    let eater = |number| {
        let table = table.clone();
        let name = format!("消费者{number}");
        carrier.spawn(name.clone(), move || {
            let mut eaten = 0;
            // An end of its own type: in the notes anything that is "false" is one.
            while let Ok(Some(portion)) = table.get() {
                thread::sleep(scale.a_while());
                println!("{name}这个消费者，吃了{portion}");
                eaten += 1;
            }
            eaten
        })
    };
    let eaters: io::Result<Vec<_>> = (1..=eaters).map(eater).collect();
    finish(cooks)?;
    for _ in 0..3 {
        table.put(None).expect("nobody has closed it");
    }
    let eaters = eaters?;
    for (eater, number) in eaters.iter().zip(1..) {
        // Three have gone with the ends, and nobody puts any more: who waits now waits for ever.
        let gone = || eaters.iter().filter(|eater| eater.is_finished()).count();
        if let Some(wait) = eater.until_blocked("queue get", || gone() == 3) {
            println!("消费者{number} blocked: {wait}");
        }
    }
    table.close();
    let mut eaten = 0;
    for eater in eaters {
        eaten += eater
            .join()
            .map_err(|_| io::Error::other("an eater has panicked"))?;
    }
    println!("吃了{eaten}个, 队列里还有{}个None", table.len());
    Ok(())
}

/// The notes end the eaters by the time-out alone, and by any other exception: a slow cook loses
/// them while there is work to come, and all wait in vain at the end. Here the closed
/// queue ends them, and a time-out makes them complain.
fn patience(version: Patience, carrier: Carrier, scale: Scale) -> io::Result<()> {
    let table = Arc::new(Queue::<String>::bounded(3));
    let (menu, guests, says, limit): (&[_], &[_], _, _) = match version {
        Patience::Four => (
            &[("egon", "包子"), ("lqz", "骨头"), ("jsason", "泔水")],
            &["孟良", "池劲涛1", "池劲涛2", "池劲涛3"],
            ":这个厨师，",
            20.0,
        ),
        Patience::Homework => (
            &[("egon", "包子"), ("lqz", "榴莲")],
            &["dgt", "xy"],
            "这个厨师",
            5.0,
        ),
    };
    let cooks = cooks(&table, menu, says, carrier, scale)?;
    let eater = |name: &'static str| {
        let table = table.clone();
        carrier.spawn(name.into(), move || {
            loop {
                match table.get_timeout(scale.seconds(limit)) {
                    Ok(portion) => {
                        thread::sleep(scale.a_while());
                        println!("{name}这个消费者，吃了{portion}");
                    }
                    Err(GetError::Empty) => {
                        println!("{name}等了{limit}秒，还没有吃的");
                    }
                    Err(GetError::Closed) => return,
                }
            }
        })
    };
    let eaters: io::Result<Vec<_>> = guests.iter().copied().map(eater).collect();
    finish(cooks)?;
    table.close();
    finish(eaters?)
}

enum Dish {
    Good(String),
    /// 鹤顶红
    Poison,
}

/// The eaters are daemons, as threads and coroutines are by default: nobody waits for them. With
/// `poison` they end, and main sees to that. In the notes a poisoned one does not say
/// `task_done`, so that `join` would wait for ever: here another waits so, until main reports
/// what the dead do not.
fn dishes(poison: Option<Poison>, carrier: Carrier, scale: Scale) -> io::Result<()> {
    let table = Arc::new(Queue::unbounded());
    let cook = |name: &'static str, food: &'static str| {
        let table = table.clone();
        carrier.spawn(name.into(), move || {
            for i in 0..8 {
                thread::sleep(scale.a_while());
                println!("{name}生产了{food}{i}");
                let dish = Dish::Good(format!("{food}{i}"));
                assert!(table.put(dish).is_ok(), "nobody closes it");
            }
        })
    };
    let eater = |name: &'static str| {
        let table = table.clone();
        carrier.spawn(name.into(), move || {
            for dish in table.iter() {
                if let Dish::Good(food) = &dish {
                    thread::sleep(scale.a_while());
                    println!("{name}吃了{food}");
                }
                let poisoned = matches!(dish, Dish::Poison);
                if !(poisoned && matches!(poison, Some(Poison::Unreported))) {
                    table.task_done().expect("one for each get");
                }
                if poisoned {
                    println!("{name}吃了鹤顶红");
                    return;
                }
            }
        })
    };
    let cooks = [
        cook("中华小当家", "黄金炒饭")?,
        cook("神厨小福贵", "佛跳墙")?,
    ];
    let eaters = [eater("八戒")?, eater("悟空")?];
    finish(cooks)?;
    if poison.is_some() {
        for _ in &eaters {
            assert!(table.put(Dish::Poison).is_ok(), "nobody closes it");
        }
    }
    match poison {
        None => {
            table.join(); // until the count of unfinished dishes is 0
            Ok(())
        }
        Some(Poison::Reported) => {
            table.join();
            finish(eaters)
        }
        Some(Poison::Unreported) => {
            finish(eaters)?;
            let joined = table.clone();
            let joiner = carrier.spawn("joiner".into(), move || joined.join())?;
            // Nobody is left to report anything.
            if let Some(wait) = joiner.until_blocked("queue join", || true) {
                println!("join blocked: {wait}");
            }
            println!("{}份没有报告", table.unfinished());
            while table.task_done().is_ok() {}
            finish([joiner])
        }
    }
}

/// What a Python list would hold.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Int(i64),
    Float(f64),
    Text(&'static str),
    Map(BTreeMap<&'static str, &'static str>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Int(value) => write!(f, "{value}"),
            Value::Float(value) => write!(f, "{value}"),
            Value::Text(value) => write!(f, "{value}"),
            Value::Map(value) => write!(f, "{value:?}"),
        }
    }
}

/// The notes get more often than they put, and wait for ever. Here the one get too many is that of
/// another task, which is seen to wait, and then told that nothing will come.
fn handover(version: Handover, carrier: Carrier, scale: Scale) -> io::Result<()> {
    let queue = Arc::new(Queue::unbounded());
    let sender = queue.clone();
    let putter = carrier.spawn("putter".into(), move || {
        let values: &[Value] = match version {
            Handover::Lqz => {
                thread::sleep(scale.seconds(3.0));
                &[Value::Text("lqz")]
            }
            Handover::Values => &[Value::Int(11), Value::Text("hello"), Value::Float(2.5)],
        };
        for value in values {
            sender.put(value.clone()).expect("nobody closes it");
        }
    })?;
    let gets = match version {
        Handover::Lqz => 1,
        Handover::Values => 3,
    };
    for _ in 0..gets {
        println!("{}", queue.get().expect("nobody closes it"));
    }
    finish([putter])?;
    if let Err(GetError::Empty) = queue.try_get() {
        println!("Empty"); // so says a get that does not wait
    }
    let receiver = queue.clone();
    let getter = carrier.spawn("getter".into(), move || {
        if receiver.get().is_err() {
            println!("closed");
        }
    })?;
    if let Some(wait) = getter.until_blocked("queue get", || true) {
        println!("getter blocked: {wait}");
    }
    queue.close();
    finish([getter])
}

fn task_done(carrier: Carrier) -> io::Result<()> {
    let queue = Arc::new(Queue::unbounded());
    let (puts, gets) = (queue.clone(), queue);
    let putter = carrier.spawn("foo".into(), move || {
        for number in [111, 222, 333] {
            puts.put(number).expect("nobody closes it");
        }
        puts.join();
        println!("ok");
    })?;
    let getter = carrier.spawn("bar".into(), move || {
        for _ in 0..3 {
            println!("{}", gets.get().expect("nobody closes it"));
            gets.task_done().expect("one for each get");
        }
    })?;
    finish([putter, getter])
}

/// Items of a priority queue need an order in Rust; as in Python it is the first part that
/// counts. Where that is equal Python goes on to compare the second, and fails on a map;
/// here the one that came first is first.
#[derive(Debug)]
struct Item(u32, Value);

impl Ord for Item {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for Item {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Item {}

fn orders(version: Orders) -> io::Result<()> {
    const OPEN: &str = "nobody closes it";
    let smallest_first = PriorityQueue::unbounded();
    match version {
        Orders::Three => {
            let first_in = Queue::unbounded();
            let last_in = LifoQueue::unbounded();
            for number in [1, 2] {
                first_in.put(number).expect(OPEN);
                last_in.put(number).expect(OPEN);
            }
            println!("{}", first_in.get().expect(OPEN));
            println!("{}", last_in.get().expect(OPEN));
            for item in [Item(1, Value::Text("lqz")), Item(100, Value::Text("egon"))] {
                smallest_first.put(item).expect(OPEN);
            }
            let Item(priority, value) = smallest_first.get().expect(OPEN);
            println!("({priority}, {value})");
        }
        Orders::Priority => {
            let alex = Value::Map([("name", "alex")].into());
            for item in [
                Item(5, Value::Int(100)),
                Item(7, Value::Int(200)),
                Item(3, Value::Text("hello")),
                Item(4, alex),
            ] {
                smallest_first.put(item).expect(OPEN);
            }
            for Item(priority, value) in smallest_first.try_iter() {
                println!("[{priority}, {value}]");
            }
        }
    }
    Ok(())
}
