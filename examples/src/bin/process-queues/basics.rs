//! P16 to P19: what a queue does, and messages through it.

use std::io;
use std::time::{Duration, Instant};

use bingfa::process::{self, Builder, GetError, PutError, Queue};
use bingfa::thread::sleep;
use bingfa_examples::{Any, Scale, all_ended, ended, joined};

use crate::{Basics, Children, Parent};

const OPEN: &str = "nobody closes it";

/// P16, all in one process.
pub(crate) fn basics(version: Basics, scale: Scale) -> io::Result<()> {
    let queue = Queue::bounded(6)?;
    let probe = |what, test: fn(&Queue<char>) -> bool| {
        if let Basics::Probes = version {
            println!("{what} {}", test(&queue));
        }
    };
    for letter in 'a'..='d' {
        queue.put(letter).expect(OPEN);
    }
    // Answers of the moment, if others have the queue, too; so are those of `try_put` and `try_get`.
    probe("full", Queue::is_full);
    probe("empty", Queue::is_empty);
    for letter in 'e'..='f' {
        queue.put(letter).expect(OPEN);
    }
    if let Basics::Probes = version {
        timed("put within 3 s", || {
            refused(queue.put_timeout('g', scale.seconds(3.0)))
        });
        timed("put without waiting", || refused(queue.try_put('g')));
    }
    probe("full", Queue::is_full);
    let letters: Vec<String> = (0..6)
        .map(|_| queue.get().expect(OPEN).to_string())
        .collect();
    println!("{}", letters.join(" "));
    if let Basics::Probes = version {
        timed("get within 3 s", || {
            missing(queue.get_timeout(scale.seconds(3.0)))
        });
        timed("get without waiting", || missing(queue.try_get()));
    }
    println!("{}", queue.is_empty());
    Ok(())
}

fn timed(what: &str, f: impl FnOnce() -> &'static str) {
    let begin = Instant::now();
    let answer = f();
    println!("{what}: {answer} ({:.2} s)", begin.elapsed().as_secs_f64());
}

fn refused(put: Result<(), PutError<char>>) -> &'static str {
    match put {
        Err(PutError::Full('g')) => "Full", // and the letter is back
        _ => "not Full",
    }
}

fn missing(got: Result<char, GetError>) -> &'static str {
    match got {
        Err(GetError::Empty) => "Empty",
        _ => "not Empty",
    }
}

/// P17.
pub(crate) fn between_children(version: Children) -> io::Result<()> {
    match version {
        Children::Dish => {
            let queue = Queue::unbounded()?;
            let putter = process::spawn(queue.clone(), |queue: Queue<String>| {
                queue.put("宫爆鸡丁".into()).expect(OPEN);
            });
            let getter = process::spawn(queue, |queue: Queue<String>| {
                println!("{}", queue.get().expect("something was put"));
            });
            all_ended([putter, getter]).map(drop)
        }
        Children::List => {
            let queue = Queue::unbounded()?;
            let getter = process::spawn(queue.clone(), |queue: Queue<Vec<Any>>| {
                println!("f2 start...");
                println!("[{}]", joined(queue.get().expect("something was put")));
                println!("f2 end");
            });
            let putter = process::spawn(queue, |queue: Queue<Vec<Any>>| {
                println!("f1 start...");
                let info = vec![Any::Whole(42), Any::Nothing, Any::Text("hello".into())];
                queue.put(info).expect(OPEN);
                // Before or after f2 has it, as either may start first: the notes show one order.
                println!("f1 end");
            });
            all_ended([getter, putter]).map(drop)
        }
    }
}

/// P18. Had the child died without a word, `get` would say so, where Python's waits for ever.
pub(crate) fn to_parent(version: Parent, scale: Scale) -> io::Result<()> {
    match version {
        Parent::List => {
            let queue = Queue::unbounded()?;
            let child = process::spawn(queue.clone(), |queue: Queue<Vec<Any>>| {
                let list = vec![Any::Whole(12), Any::Text("hello".into()), Any::Truth(true)];
                queue.put(list).expect(OPEN);
            });
            println!("[{}]", joined(queue.get().map_err(io::Error::other)?));
            ended(child)
        }
        Parent::Late => {
            let queue = Queue::unbounded()?;
            let args = (queue.clone(), scale.seconds(10.0));
            let child = process::spawn(args, |(queue, length): (Queue<String>, Duration)| {
                println!("我这个进程{}开始放数据了", process::id());
                sleep(length);
                queue.put("lqz is handsome".into()).expect(OPEN);
                println!("{}我放完了", process::id());
            });
            println!("{}", queue.get().map_err(io::Error::other)?);
            ended(child)
        }
    }
}

/// P19. The second put waits until the first item is taken. The notes join nobody: their
/// program waits for the four at its end all the same, but would not tell if one had died.
pub(crate) fn one_place() -> io::Result<()> {
    let queue = Queue::bounded(1)?;
    let put = |queue: Queue<String>| {
        let item = format!("{}:放了数据", process::id());
        queue.put(item).expect("two will take it");
    };
    let get = |queue: Queue<String>| {
        let item = queue.get().expect("two will put");
        println!("{}这个进程取了数据：{item}", process::id());
    };
    let children: io::Result<Vec<_>> = [put, put, get, get]
        .into_iter()
        .map(|f: fn(Queue<String>)| Builder::new().spawn(queue.clone(), f))
        .collect();
    all_ended(children?).map(drop)
}
