//! P24 to P27: consumers that do not wait for ever, are waited for, and are ended.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use bingfa::process::{self, Abandoned, Builder, GetError, JoinHandle, Queue, Receiver, Sender};
use bingfa::thread::sleep;
use bingfa_examples::{Scale, all_ended, ended, must};
use serde::{Deserialize, Serialize};

use crate::Patience;

const OPEN: &str = "nobody closes it";

/// P24. The notes end the eaters by the time-out alone, and by any other exception: a slow cook loses
/// them while there is work to come, and all wait in vain at the end. A channel counts its
/// cooks: when the last has ended, even by a signal, the eaters know. A time-out makes them
/// complain.
///
/// (The homework's answer uses `Queue` without importing it. The one for threads that the notes
/// have just imported would be each process's own; here they are different types.)
pub(crate) fn patience(version: Patience, scale: Scale) -> io::Result<()> {
    let (menu, guests, says, limit): (&[_], &[_], _, _) = match version {
        Patience::Four => (
            &[("egon", "包子"), ("lqz", "骨头"), ("jsason", "泔水")],
            &["孟良", "池劲涛1", "池劲涛2", "池劲涛3"],
            ":这个厨师，",
            20,
        ),
        Patience::Homework => (
            &[("egon", "包子"), ("lqz", "榴莲")],
            &["dgt", "xy"],
            "这个厨师",
            5,
        ),
    };
    let (kitchen, table) = process::channel(Some(3))?;
    let cooks: io::Result<Vec<_>> = menu
        .iter()
        .map(|(name, food)| {
            let cook = Cook {
                name: format!("{name}{says}"),
                food: food.to_string(),
                kitchen: kitchen.clone(),
                scale,
            };
            Builder::new().spawn(cook, Cook::run)
        })
        .collect();
    drop(kitchen); // main is no cook
    let eaters: io::Result<Vec<_>> = guests
        .iter()
        .map(|name| {
            let eater = Eater {
                name: name.to_string(),
                table: table.clone(),
                limit,
                scale,
            };
            Builder::new().spawn(eater, Eater::run)
        })
        .collect();
    drop(table); // nor a guest: if all of those die, the cooks are told
    all_ended(cooks?)?;
    all_ended(eaters?).map(drop)
}

#[derive(Serialize, Deserialize)]
struct Cook {
    name: String,
    food: String,
    kitchen: Sender<String>,
    scale: Scale,
}

impl Cook {
    fn run(self) {
        let Cook { name, food, .. } = self;
        for i in 0..10 {
            println!("{name}做了第{i}个{food}");
            sleep(self.scale.a_while());
            let portion = format!("第{i}个{food}");
            must(self.kitchen.send(portion).map_err(io::Error::other)); // the guests stay
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Eater {
    name: String,
    table: Receiver<String>,
    limit: u32,
    scale: Scale,
}

impl Eater {
    fn run(self) {
        let Eater { name, limit, .. } = self;
        loop {
            match self.table.recv_timeout(self.scale.seconds(limit.into())) {
                Ok(portion) => {
                    sleep(self.scale.a_while());
                    println!("{name}这个消费者，吃了{portion}");
                }
                Err(GetError::Empty) => println!("{name}等了{limit}秒，还没有吃的"),
                Err(GetError::Closed(_)) => return,
                Err(broken) => panic!("{broken}"),
            }
        }
    }
}

#[derive(Serialize, Deserialize)]
enum Dish {
    Good(String),
    /// 鹤顶红
    Poison,
}

/// P25 and, with `poison`, P26. (In the notes a poisoned one does not say `task_done`, so that
/// `join` would wait for ever.) An eater that is killed with a dish in hand is an error of
/// `join`; and so is it if all are killed and dishes are left.
pub(crate) fn dishes(poison: bool, scale: Scale) -> io::Result<()> {
    let table = Queue::unbounded()?;
    let cook = |name: &str, food: &str| {
        let args = (name.to_owned(), food.to_owned(), table.clone(), scale);
        Builder::new().spawn(args, produce)
    };
    // Daemons: they end with main, which is to be set before the start.
    let eater = |name: &str| -> io::Result<JoinHandle<()>> {
        let builder = Builder::new().daemon(true);
        builder.spawn((name.to_owned(), table.clone(), scale), consume)
    };
    let cooks = [
        cook("中华小当家", "黄金炒饭")?,
        cook("神厨小福贵", "佛跳墙")?,
    ];
    let eaters = [eater("八戒")?, eater("悟空")?];
    all_ended(cooks)?;
    if poison {
        for _ in &eaters {
            assert!(table.put(Dish::Poison).is_ok(), "{OPEN}");
        }
    }
    // Until the count of unfinished dishes is 0, or nobody is left to eat them.
    if let Err(left) = table.join() {
        return Err(cause(eaters, left));
    }
    if poison {
        all_ended(eaters)?;
    }
    Ok(())
}

/// Why a join has failed: a consumer that has died says more than what it has left.
fn cause(consumers: impl IntoIterator<Item = JoinHandle<()>>, left: Abandoned) -> io::Error {
    let dead = consumers.into_iter().filter(JoinHandle::is_finished);
    let why = dead.map(ended).find_map(Result::err);
    why.unwrap_or_else(|| io::Error::other(left))
}

fn produce((name, food, table, scale): (String, String, Queue<Dish>, Scale)) {
    for i in 0..8 {
        sleep(scale.a_while());
        println!("{name}生产了{food}{i}");
        let dish = Dish::Good(format!("{food}{i}"));
        assert!(table.put(dish).is_ok(), "{OPEN}");
    }
}

fn consume((name, table, scale): (String, Queue<Dish>, Scale)) {
    loop {
        let dish = table.get().expect(OPEN);
        if let Dish::Good(food) = &dish {
            sleep(scale.a_while());
            println!("{name}吃了{food}");
        } else {
            println!("{name}吃了鹤顶红");
        }
        table.task_done().expect("one for each get");
        if let Dish::Poison = dish {
            return;
        }
    }
}

/// P27. The notes terminate the consumer when the producer has ended, which is a second after its
/// last item: enough, by luck. And Python's consumer may die with the queue's lock. Here main
/// waits until all items are done, and whoever is killed takes nothing along.
pub(crate) fn terminate(scale: Scale) -> io::Result<()> {
    let begin = Instant::now();
    let queue = Queue::unbounded()?;
    let args = (queue.clone(), scale.seconds(1.0));
    let producer = process::spawn(args.clone(), |(queue, second): (Queue<u32>, Duration)| {
        for value in 0..5 {
            println!("Produce {value}");
            queue.put(value).expect(OPEN);
            sleep(second);
        }
    });
    let consumer = process::spawn(args, |(queue, second): (Queue<u32>, Duration)| {
        loop {
            let value = queue.get().expect(OPEN);
            println!("Consume {value}");
            sleep(second);
            queue.task_done().expect("one for each get");
        }
    });
    ended(producer)?;
    if let Err(left) = queue.join() {
        return Err(cause([consumer], left));
    }
    consumer.terminate()?;
    let end = consumer.join().map(|()| "it loops for ever");
    let by_signal = end.expect_err("terminated");
    if by_signal.exit_status().and_then(|status| status.signal()) != Some(15) {
        return Err(io::Error::other(by_signal));
    }
    println!("Take {:.2} s.", begin.elapsed().as_secs_f64());
    Ok(())
}
