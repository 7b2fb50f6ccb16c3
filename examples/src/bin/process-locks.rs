//! Locks between processes. The programs print the lines of the notes.
//!
//! A lock travels to a child among its arguments. The guard gives it back however its scope is
//! left, and a process that is killed with it poisons it, where the notes leave everybody
//! waiting.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use bingfa::process::{self, Builder, JoinHandle, Mutex, MutexGuard};
use bingfa::thread::sleep;
use bingfa_examples::{Scale, all_ended, exit};
use clap::{Parser, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};

/// Locks between processes
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    program: Program,
    /// Without the lock: what goes wrong then
    #[arg(long, global = true)]
    unlocked: bool,
    #[command(flatten)]
    scale: Scale,
}

#[derive(Subcommand)]
enum Program {
    /// P13: users buy tickets, whose number is in a file
    #[command(visible_alias = "p13")]
    Tickets {
        #[arg(value_enum, default_value_t = Users::Eight)]
        version: Users,
        /// How many tickets there are (the notes do not say)
        #[arg(long, default_value_t = 3)]
        count: u32,
    },
    /// P14: five processes say hello, one after the other
    #[command(visible_alias = "p14")]
    Hello,
}

#[derive(Clone, Copy, PartialEq, ValueEnum, Serialize, Deserialize)]
enum Users {
    Eight,
    Ten,
}

fn main() -> ExitCode {
    process::init();
    let cli = Cli::parse();
    let lock = (!cli.unlocked).then(|| Mutex::new(())).transpose();
    exit(lock.and_then(|lock| match cli.program {
        Program::Tickets { version, count } => tickets(version, count, lock, cli.scale),
        Program::Hello => hello(lock, cli.scale),
    }))
}

/// Waits for the lock, if there is one. That of a user who died with it can be used: the file
/// is whole at any time.
fn take(lock: Option<&Mutex>) -> Option<MutexGuard<'_, ()>> {
    Some(lock?.lock().unwrap_or_else(|dead| {
        eprintln!("{dead}");
        dead.into_inner()
    }))
}

/// Waits for children. (An `io::Error` cannot travel, its text can.)
fn all_succeeded(children: Vec<JoinHandle<Result<(), String>>>) -> io::Result<()> {
    for result in all_ended(children)? {
        result.map_err(io::Error::other)?;
    }
    Ok(())
}

/// What the file has.
#[derive(Serialize, Deserialize)]
struct Tickets {
    tickets_num: u32,
}

fn read(file: &Path) -> io::Result<Tickets> {
    Ok(serde_json::from_slice(&fs::read(file)?)?)
}

/// The notes empty the file before they fill it, and whoever looks meanwhile fails. A new
/// file in its place is always whole.
fn write(file: &Path, tickets: &Tickets) -> io::Result<()> {
    let new = file.with_extension(process::id().to_string());
    fs::write(&new, serde_json::to_vec(tickets)?)?;
    fs::rename(new, file)
}

#[derive(Serialize, Deserialize)]
struct User {
    number: u32,
    version: Users,
    file: PathBuf,
    lock: Option<Mutex>,
    /// Until the number is known, and until it is written.
    delays: [Duration; 2],
}

impl User {
    fn run(self) -> Result<(), String> {
        self.try_to_buy().map_err(|error| error.to_string())
    }

    fn try_to_buy(self) -> io::Result<()> {
        let User {
            number, version, ..
        } = self;
        let left = read(&self.file)?.tickets_num;
        match version {
            Users::Eight => println!("用户 {number} 查询余票: {left}"),
            Users::Ten => println!("{number}:在查询票，票还剩{left}张"),
        }
        // In the second version of the notes, who sees none does not try, and goes without a
        // word: here everybody is told.
        if version == Users::Ten && left == 0 {
            self.report(false);
            return Ok(());
        }
        let _guard = take(self.lock.as_ref());
        let success = self.buy()?;
        self.report(success); // after the file is written
        Ok(())
    }

    fn buy(&self) -> io::Result<bool> {
        let mut tickets = read(&self.file)?;
        sleep(self.delays[0]);
        if tickets.tickets_num == 0 {
            return Ok(false);
        }
        if self.version == Users::Ten {
            println!("{}现在要买了，票数还是大于0", self.number);
        }
        tickets.tickets_num -= 1;
        sleep(self.delays[1]);
        write(&self.file, &tickets)?;
        Ok(true)
    }

    fn report(&self, success: bool) {
        let number = self.number;
        match (self.version, success) {
            (Users::Eight, true) => println!("用户{number}买票成功"),
            (Users::Eight, false) => println!("余票不足, 用户{number}买票失败"),
            (Users::Ten, true) => println!("{number}这个人购票成功"),
            (Users::Ten, false) => println!("{number}这个人购票失败，票不够了，买不了了"),
        }
    }
}

fn tickets(version: Users, count: u32, lock: Option<Mutex>, scale: Scale) -> io::Result<()> {
    // The notes have no file to begin with.
    let file = std::env::temp_dir().join(format!("tickets-{}.json", process::id()));
    let tickets_num = count;
    write(&file, &Tickets { tickets_num })?;
    let user = |number| User {
        number,
        version,
        file: file.clone(),
        lock: lock.clone(),
        delays: match version {
            Users::Eight => [fastrand::u32(1..=5), 0],
            Users::Ten => [1, 2],
        }
        .map(|seconds| scale.seconds(seconds.into())),
    };
    let numbers = match version {
        Users::Eight => 1..9,
        Users::Ten => 0..10,
    };
    let users: io::Result<Vec<_>> = numbers
        .map(|number| Builder::new().spawn(user(number), User::run))
        .collect();
    let sold = users.and_then(all_succeeded).and_then(|()| read(&file));
    fs::remove_file(&file)?;
    println!("余票: {}", sold?.tickets_num);
    Ok(())
}

fn hello(lock: Option<Mutex>, scale: Scale) -> io::Result<()> {
    let f = |(i, lock, length): (u32, Option<Mutex>, Duration)| {
        let _guard = take(lock.as_ref());
        println!("hello world {i}");
        sleep(length);
        println!("{i} do something.");
        Ok::<_, String>(())
    };
    let children: io::Result<Vec<_>> = (0..5)
        .map(|i| Builder::new().spawn((i, lock.clone(), scale.seconds(1.0)), f))
        .collect();
    all_succeeded(children?)
}
