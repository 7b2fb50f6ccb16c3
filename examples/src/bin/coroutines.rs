//! Coroutines: what the notes do with gevent, asyncio and an iterator.
//!
//! `#[bingfa::main]` makes `main` a coroutine. gevent and asyncio run everything on one
//! thread, and so does `spawn_local`: the order of the lines is theirs. `coroutine::spawn`
//! would use all cores.

use std::io;
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bingfa::{coroutine, time};
use bingfa_examples::{Scale, exit};
use clap::{Parser, Subcommand, ValueEnum};

/// Coroutines: what the notes do with gevent, asyncio and an iterator
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    program: Program,
    #[command(flatten)]
    scale: Scale,
}

#[derive(Subcommand)]
enum Program {
    /// P69: loops that print and sleep, in turn or at the same time
    #[command(visible_alias = "p69")]
    Loops {
        #[arg(value_enum, default_value_t = Loops::Three)]
        version: Loops,
    },
    /// P70: melon and mango: while one sleeps, the other eats
    #[command(visible_alias = "p70")]
    Melon,
    /// P81: a range of one's own, as an iterator; without arguments 0 to 9, then 3 to 6
    #[command(visible_alias = "p81")]
    Range {
        /// Where it starts, or, alone, where it ends
        #[arg(allow_negative_numbers = true)]
        start: Option<i64>,
        /// The first number that is not in it
        #[arg(allow_negative_numbers = true)]
        end: Option<i64>,
    },
    /// P85: two slow lines, one after the other: 1 s + 2 s
    #[command(visible_alias = "p85")]
    SayInTurn,
    /// P86: two slow lines at the same time: as long as the slower one, 3 s
    #[command(visible_alias = "p86")]
    SayTogether,
    /// P87: a time limit of 1 s for what takes an hour
    #[command(visible_alias = "p87")]
    Timeout,
}

#[derive(Clone, Copy, ValueEnum)]
enum Loops {
    /// 哒, then 咩: 12 s
    TwoInTurn,
    /// 哒 and 咩 at the same time: 6 s
    Two,
    /// All three in turn: 21 s
    ThreeInTurn,
    /// All three at the same time: 9 s
    Three,
}

#[bingfa::main]
fn main() -> ExitCode {
    let Cli { program, scale } = Cli::parse();
    exit(match program {
        Program::Loops { version } => loops(version, scale),
        Program::Melon => melon(scale),
        Program::Range { start, end } => range(start, end),
        Program::SayInTurn => say_in_turn(scale),
        Program::SayTogether => say_together(scale),
        Program::Timeout => timeout(scale),
    })
}

/// The notes need `monkey.patch_all()` for this; here `sleep` suspends the coroutine anyway.
fn loops(version: Loops, scale: Scale) -> io::Result<()> {
    let three_times = move |line: &'static str, seconds: f64| {
        move || {
            for _ in 0..3 {
                println!("{line}");
                coroutine::sleep(scale.seconds(seconds));
            }
        }
    };
    let da = three_times("哒", 2.0);
    let mie = three_times("咩", 2.0);
    let buyao = three_times("不要", 3.0);

    let begin = Instant::now();
    match version {
        Loops::TwoInTurn => {
            da();
            mie();
        }
        Loops::Two => {
            finish([coroutine::spawn_local(da), coroutine::spawn_local(mie)]);
        }
        Loops::ThreeInTurn => {
            da();
            mie();
            buyao();
        }
        Loops::Three => {
            finish([
                coroutine::spawn_local(da),
                coroutine::spawn_local(mie),
                coroutine::spawn_local(buyao),
            ]);
        }
    }
    println!("{}", begin.elapsed().as_secs_f64());
    Ok(())
}

/// Joins all, and passes a panic on.
fn finish<const N: usize>(handles: [coroutine::JoinHandle<()>; N]) {
    if let Err(panic) = coroutine::join_all(handles) {
        std::panic::resume_unwind(panic);
    }
}

/// The mango comes back first (after 1 s). The notes print the last two lines the other way
/// round, which is not what their code does.
fn melon(scale: Scale) -> io::Result<()> {
    let melon = move || {
        println!("我在吃西瓜...");
        coroutine::sleep(scale.seconds(2.0));
        println!("我回来继续吃西瓜...");
    };
    let mango = move || {
        println!("我去吃芒果...");
        coroutine::sleep(scale.seconds(1.0));
        println!("我吃完西瓜，回去继续吃芒果...");
    };
    finish([coroutine::spawn_local(melon), coroutine::spawn_local(mango)]);
    Ok(())
}

/// Counts from a start up to, but not including, an end: `__iter__` and `__next__` in one.
///
/// The notes' class takes an end of 0 for a missing one, and tests for equality, so it never
/// ends when the start is behind the end. This one is empty then, as Python's own range.
struct MyRange {
    next: i64,
    end: i64,
}

impl MyRange {
    /// Python's two forms: `MyRange(end)` and `MyRange(start, end)`.
    fn new(start: i64, end: Option<i64>) -> Self {
        match end {
            Some(end) => MyRange { next: start, end },
            None => MyRange {
                next: 0,
                end: start,
            },
        }
    }
}

impl Iterator for MyRange {
    type Item = i64;

    fn next(&mut self) -> Option<i64> {
        if self.next >= self.end {
            return None; // Python: raise StopIteration
        }
        let value = self.next;
        self.next += 1;
        Some(value)
    }
}

fn range(start: Option<i64>, end: Option<i64>) -> io::Result<()> {
    let ranges = match start {
        Some(start) => vec![MyRange::new(start, end)],
        None => vec![MyRange::new(10, None), MyRange::new(3, Some(7))],
    };
    for i in ranges.into_iter().flatten() {
        println!("{i}");
    }
    Ok(())
}

/// In the notes `async def` and `await`; here a function.
fn say_after(delay: f64, what: &str, scale: Scale) {
    coroutine::sleep(scale.seconds(delay));
    println!("{what}");
}

fn say_in_turn(scale: Scale) -> io::Result<()> {
    println!("started at {}", clock());
    say_after(1.0, "hello", scale);
    say_after(2.0, "world", scale);
    println!("finished at {}", clock());
    Ok(())
}

fn say_together(scale: Scale) -> io::Result<()> {
    let hello = coroutine::spawn_local(move || say_after(3.0, "hello", scale));
    let world = coroutine::spawn_local(move || say_after(1.0, "world", scale));
    println!("started at {}", clock());
    // The notes' comment says "around 2 seconds"; the slower one takes 3.
    finish([hello, world]);
    println!("finished at {}", clock());
    Ok(())
}

fn timeout(scale: Scale) -> io::Result<()> {
    let eternity = || {
        coroutine::sleep(scale.seconds(3600.0));
        println!("yay!"); // never: the sleep unwinds when the limit is reached
    };
    if time::timeout(scale.seconds(1.0), eternity).is_err() {
        println!("timeout!");
    }
    Ok(())
}

/// The time of day, as `strftime('%X')` shows it, but in UTC: std knows no time zones.
fn clock() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = now.map_or(0, |since| since.as_secs());
    let (hours, minutes) = (seconds / 3600 % 24, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}", seconds % 60)
}
