//! Processes that talk and share: pipes and managers. The programs print the lines of the
//! notes.

use std::io;
use std::process::ExitCode;

use bingfa::process::manager::{Dict, List, Lock, Manager, Proxy};
use bingfa::process::{self, Connection, pipe};
use bingfa_examples::{Any, Scale, all_ended, ended, exit, joined, must};
use clap::{Parser, Subcommand, ValueEnum};

/// Processes that talk and share: pipes and managers
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    program: Program,
    /// Nothing sleeps here; all programs take it.
    #[command(flatten)]
    _scale: Scale,
}

#[derive(Subcommand)]
enum Program {
    /// P28: a child sends through a pipe, and prints the reply
    #[command(visible_alias = "p28")]
    Pipe {
        #[arg(value_enum, default_value_t = PipeVersion::Object)]
        version: PipeVersion,
    },
    /// P29: five children append to a manager's list
    #[command(visible_alias = "p29")]
    List,
    /// P30: a hundred processes count down in a manager's dict
    #[command(visible_alias = "p30")]
    Dict {
        #[arg(value_enum, default_value_t = DictVersion::Lock)]
        version: DictVersion,
    },
    /// P31: a child fills a manager's dict and reverses its list
    #[command(visible_alias = "p31")]
    Both,
}

#[derive(Clone, Copy, ValueEnum)]
enum PipeVersion {
    Object,
    Hello,
}

#[derive(Clone, Copy, ValueEnum)]
enum DictVersion {
    /// As in the notes: get and set, under a lock
    Lock,
    /// One call that does both
    Update,
}

fn main() -> ExitCode {
    process::init();
    exit(match Cli::parse().program {
        Program::Pipe { version } => talk(version),
        Program::List => list(),
        Program::Dict { version } => dict(version),
        Program::Both => both(),
    })
}

fn talk(version: PipeVersion) -> io::Result<()> {
    match version {
        PipeVersion::Object => {
            let (parent, child) = pipe()?;
            let child = process::spawn(child, |conn: Connection<Vec<Any>, String>| {
                let object = vec![Any::Whole(42), Any::Nothing, Any::Text("hello".into())];
                must(conn.send(object));
                println!("{}", must(conn.recv()));
            });
            println!("[{}]", joined(parent.recv()?));
            parent.send("Hi".to_owned())?;
            ended(child)
        }
        PipeVersion::Hello => {
            // The notes' comments call the child the parent, and neither side closes the end
            // that it does not use. Here an end that is handed over is the child's alone: had
            // the child died, `recv` would say so at once.
            let (sock, conn) = pipe::<String, String>()?;
            let child = process::spawn(sock, |sock: Connection<String, String>| {
                must(sock.send("hello".to_owned()));
                println!("{}", must(sock.recv()));
            });
            println!("{}", conn.recv()?);
            conn.send("hi son".to_owned())?;
            ended(child)
        }
    }
}

fn list() -> io::Result<()> {
    let manager = Manager::new()?;
    let list = manager.list()?;
    list.extend([11, 22, 33])?;
    let children: Vec<_> = (0..5)
        .map(|i| {
            process::spawn((list.clone(), i), |(list, i): (Proxy<List<u32>>, u32)| {
                must(list.push(i * i));
            })
        })
        .collect();
    all_ended(children)?;
    println!("{:?}", list.to_vec()?);
    Ok(())
}

type Counts = Proxy<Dict<String, i64>>;

fn dict(version: DictVersion) -> io::Result<()> {
    let manager = Manager::new()?;
    let (counts, lock): (Counts, _) = (manager.dict()?, manager.lock()?);
    counts.insert("count".to_owned(), 100)?;
    let children: Vec<_> = (0..100)
        .map(|_| match version {
            // Without the lock, two that read the same count write the same: more than 0 is left.
            DictVersion::Lock => {
                let args = (counts.clone(), lock.clone());
                process::spawn(args, |(counts, lock): (Counts, Proxy<Lock>)| {
                    let _guard = must(lock.lock());
                    let count = must(counts.get("count")).unwrap_or(0);
                    must(counts.insert("count".to_owned(), count - 1));
                })
            }
            DictVersion::Update => process::spawn(counts.clone(), |counts: Counts| {
                let less = |count: &mut Option<i64>, by: i64| *count.get_or_insert(0) -= by;
                must(counts.update("count", 1, less));
            }),
        })
        .collect();
    all_ended(children)?;
    // The notes never print it.
    println!("{}", counts.get("count")?.unwrap_or(0));
    Ok(())
}

fn both() -> io::Result<()> {
    type Args = (Proxy<Dict<Any, Any>>, Proxy<List<u32>>);
    let manager = Manager::new()?;
    let (d, l) = (manager.dict()?, manager.list()?);
    l.extend(0..10)?;
    let child = process::spawn((d.clone(), l.clone()), |(d, l): Args| {
        must(d.insert(Any::Whole(1), Any::Text("1".into())));
        must(d.insert(Any::Text("2".into()), Any::Whole(2)));
        must(d.insert(Any::Real(0.25), Any::Nothing));
        must(l.reverse());
    });
    ended(child)?;
    // The notes print them after the manager has ended, when they cannot be had any more.
    let entries = d.entries()?;
    let mut entries: Vec<_> = entries.iter().map(|(k, v)| format!("{k}: {v}")).collect();
    entries.sort(); // the manager keeps no order
    println!("{{{}}}", joined(entries));
    println!("[{}]", joined(l.to_vec()?));
    Ok(())
}
