//! P20 to P23: how consumers learn that there is no more.
//!
//! The notes put a `None` for that, and end at whatever is false, so also at a 0 or an empty
//! text. Here the end is a value of its own, or the queue is closed.

use std::io;

use bingfa::process::{self, Builder, GetError, JoinHandle, Queue};
use bingfa::thread::{self, sleep};
use bingfa_examples::{Scale, all_ended, ended};
use serde::{Deserialize, Serialize};

use crate::Kitchen;
use crate::blocked::{Watch, watch};

/// What is on the table; `None`: there is no more.
type Table = Queue<Option<String>>;

const OPEN: &str = "nobody closes it";

#[derive(Serialize, Deserialize)]
struct Cook {
    table: Table,
    scale: Scale,
    says: String,
    food: String,
    watch: Option<Watch>,
}

impl Cook {
    fn new(table: &Table, scale: Scale) -> Cook {
        Cook {
            table: table.clone(),
            scale,
            says: "整了".into(),
            food: "包子".into(),
            watch: None,
        }
    }

    fn start(self) -> io::Result<JoinHandle<usize>> {
        Builder::new().spawn(self, Cook::cook)
    }

    /// Makes ten; gives back how many there was room for before the table was cleared.
    fn cook(self) -> usize {
        let Cook {
            table, says, food, ..
        } = self;
        let me = process::id();
        if let Some(watch) = self.watch {
            let table = table.clone();
            watch.this_thread(move || table.is_full());
        }
        for i in 0..10 {
            println!("{me}这个厨师，{says}第{i}个{food}");
            sleep(self.scale.a_while());
            if table.put(Some(format!("第{i}个{food}"))).is_err() {
                return i;
            }
        }
        10
    }
}

#[derive(Serialize, Deserialize)]
struct Eater {
    table: Table,
    scale: Scale,
    watch: Option<Watch>,
}

impl Eater {
    fn start(table: &Table, scale: Scale, watch: Option<Watch>) -> io::Result<JoinHandle<usize>> {
        let table = table.clone();
        let eater = Eater {
            table,
            scale,
            watch,
        };
        Builder::new().spawn(eater, Eater::eat)
    }

    /// Gives back how many it ate.
    fn eat(self) -> usize {
        let me = process::id();
        if let Some(watch) = self.watch {
            let table = self.table.clone();
            watch.this_thread(move || table.is_empty());
        }
        let mut eaten = 0;
        loop {
            match self.table.get() {
                Ok(Some(portion)) => {
                    sleep(self.scale.a_while());
                    println!("{me}这个消费者，吃了{portion}");
                    eaten += 1;
                }
                Ok(None) | Err(GetError::Closed(_)) => return eaten,
                Err(broken) => panic!("{broken}"),
            }
        }
    }
}

/// Waits for an eater beside. If it dies the table is cleared: main has the queue, too, so that
/// nobody else would be told.
fn minded(eater: JoinHandle<usize>, table: &Table) -> thread::JoinHandle<io::Result<usize>> {
    let table = table.clone();
    thread::spawn(move || ended(eater).inspect_err(|_| table.close()))
}

/// What an eater that was [`minded`] has eaten.
fn eaten(eater: thread::JoinHandle<io::Result<usize>>) -> io::Result<usize> {
    eater.join().expect("it only waits")
}

fn place_table() -> io::Result<Table> {
    Queue::bounded(3)
}

/// P20. The notes' program never ends: the eater waits, and main waits for the eater. Here main
/// shows that, and clears the table. (Had main dropped its handle, the eater would have been
/// told that nobody else has the queue.)
pub(crate) fn no_end(scale: Scale) -> io::Result<()> {
    let table = place_table()?;
    let (watch, watcher) = watch()?;
    let cook = Cook::new(&table, scale).start()?;
    let eater = minded(Eater::start(&table, scale, Some(watch))?, &table);
    ended(cook)?;
    let seen = watcher.prints(1);
    table.close();
    println!("吃了{}个", eaten(eater)?);
    seen?;
    Ok(())
}

/// P21. Right for one cook and one eater: the first of several cooks to finish would send an eater
/// home too early, and more eaters than cooks would not all hear of it.
pub(crate) fn end_by_producer(scale: Scale) -> io::Result<()> {
    let table = place_table()?;
    let cook = Builder::new().spawn(Cook::new(&table, scale), |cook: Cook| {
        let table = cook.table.clone();
        if cook.cook() == 10 {
            table.put(None).expect(OPEN);
        }
    })?;
    let eater = Eater::start(&table, scale, None)?;
    drop(table); // so that, if one of them dies, the other is told
    ended(cook)?;
    println!("吃了{}个", ended(eater)?);
    Ok(())
}

/// P22 as it should be: main waits for the cook first.
pub(crate) fn end_by_main(scale: Scale) -> io::Result<()> {
    let table = place_table()?;
    let cook = Cook::new(&table, scale).start()?;
    let eater = minded(Eater::start(&table, scale, None)?, &table);
    ended(cook)?;
    let _ = table.put(None); // refused if the eater has died
    println!("吃了{}个", eaten(eater)?);
    Ok(())
}

/// P22 as it should not be: the eater goes at once, and the cook, with three buns on the table,
/// waits for ever to put down the fourth. In the notes the end comes first because the cook is
/// slow; here it does in any case.
pub(crate) fn end_too_early(scale: Scale) -> io::Result<()> {
    let table = place_table()?;
    let (watch, watcher) = watch()?;
    table.put(None).expect(OPEN);
    let cook = Cook {
        watch: Some(watch),
        ..Cook::new(&table, scale)
    };
    let cook = cook.start()?;
    let eater = Eater::start(&table, scale, None)?;
    println!("吃了{}个", ended(eater)?);
    watcher.prints(1)?;
    table.close();
    println!("放了{}个", ended(cook)?);
    Ok(())
}

/// P23. Three ends, one for each cook: one too many for two eaters, which stays in the queue, and
/// two too few for five. The number of eaters is what counts; or one closes the queue, as
/// happens here to those who would wait for ever, and no number counts.
pub(crate) fn kitchen(version: Kitchen, scale: Scale) -> io::Result<()> {
    let table = place_table()?;
    let (watch, watcher) = watch()?;
    let cooks: io::Result<Vec<_>> = ["包子", "骨头", "泔水"]
        .into_iter()
        .map(|food| {
            let cook = Cook {
                says: "做了".into(),
                food: food.into(),
                ..Cook::new(&table, scale)
            };
            cook.start()
        })
        .collect();
    let eaters = match version {
        Kitchen::Two => 2,
        Kitchen::Five => 5,
    };
    let eaters: io::Result<Vec<_>> = (0..eaters)
        .map(|_| {
            Ok(minded(
                Eater::start(&table, scale, Some(watch.clone()))?,
                &table,
            ))
        })
        .collect();
    let eaters = eaters?;
    drop(watch); // the eaters' are all there are
    // If a cook dies, the eaters would wait for ever: each sees that the others have the queue.
    all_ended(cooks?).inspect_err(|_| table.close())?;
    for _ in 0..3 {
        let _ = table.put(None); // refused if an eater has died
    }
    let mut seen = Ok(());
    if version == Kitchen::Five {
        seen = watcher.prints(2);
        table.close();
    }
    let eaten: io::Result<Vec<_>> = eaters.into_iter().map(eaten).collect();
    let eaten: usize = eaten?.into_iter().sum();
    println!("吃了{eaten}个, 队列里还有{}个None", table.len());
    seen
}
