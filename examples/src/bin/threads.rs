//! Threads: start, join, shared data, daemons. The programs print the lines of the notes.
//!
//! `bingfa::thread` is std's, and adds what Python's threads have: the process can wait for a
//! thread that is not a daemon. As in std, and unlike Python, that is not the default.

use std::io;
use std::process::ExitCode;
use std::sync::atomic::{AtomicI32, Ordering::SeqCst};
use std::sync::mpsc;
use std::time::Instant;

use bingfa::thread::{self, Builder, JoinHandle, sleep};
use bingfa_examples::{Scale, exit};
use clap::{Parser, Subcommand, ValueEnum};

/// Threads: start, join, shared data, daemons
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    program: Program,
    #[command(flatten)]
    scale: Scale,
}

/// Several notes have the same program with other names and times: `version` chooses one.
#[derive(Subcommand)]
enum Program {
    /// P34: a thread made of a function; main does not wait, the process does
    #[command(visible_alias = "p34")]
    Function {
        #[arg(value_enum, default_value_t = FunctionVersion::Wukong)]
        version: FunctionVersion,
    },
    /// P35: a thread made of an object
    #[command(visible_alias = "p35")]
    Object {
        #[arg(value_enum, default_value_t = ObjectVersion::Wukong)]
        version: ObjectVersion,
    },
    /// P36: main waits for threads
    #[command(visible_alias = "p36")]
    Join {
        #[arg(value_enum, default_value_t = JoinVersion::Wukong)]
        version: JoinVersion,
    },
    /// P37: threads share the process's data
    #[command(visible_alias = "p37")]
    Shared {
        #[arg(value_enum, default_value_t = SharedVersion::Age)]
        version: SharedVersion,
    },
    /// P40: a daemon thread is cut off when main ends
    #[command(visible_alias = "p40")]
    Daemon {
        #[arg(value_enum, default_value_t = DaemonVersion::Daji)]
        version: DaemonVersion,
    },
    /// P41: a daemon thread of 3 s beside one of 2 s that the process waits for
    #[command(visible_alias = "p41")]
    DaemonAndNot,
}

#[derive(Clone, Copy, ValueEnum)]
enum FunctionVersion {
    Wukong,
    Foo,
    Nick,
}

#[derive(Clone, Copy, ValueEnum)]
enum ObjectVersion {
    Wukong,
    Ok,
    Nick,
}

#[derive(Clone, Copy, ValueEnum)]
enum JoinVersion {
    Wukong,
    TwoAndFive,
    Hello,
}

#[derive(Clone, Copy, ValueEnum)]
enum SharedVersion {
    Age,
    N,
}

#[derive(Clone, Copy, ValueEnum)]
enum DaemonVersion {
    Daji,
    Ok,
}

fn main() -> ExitCode {
    let Cli { program, scale } = Cli::parse();
    exit(match program {
        Program::Function { version } => function(version, scale),
        Program::Object { version } => object(version, scale),
        Program::Join { version } => join(version, scale),
        Program::Shared { version } => shared(version),
        Program::Daemon { version } => daemon(version, scale),
        Program::DaemonAndNot => daemon_and_not(scale),
    })
}

/// Starts a thread, and waits until it calls what is given to it.
///
/// So the thread's first line comes before main's next one, as the notes show it. There it
/// was the interpreter's lock that let the new thread go first; here it takes a message.
fn start<F>(thread: Builder, body: F) -> io::Result<JoinHandle<()>>
where
    F: FnOnce(&dyn Fn()) + Send + 'static,
{
    let (sender, receiver) = mpsc::channel();
    let handle = thread.spawn(move || {
        body(&|| {
            let _ = sender.send(()); // nobody listens to a second call
        });
    })?;
    let _ = receiver.recv(); // an error: it ended without a call
    Ok(handle)
}

/// A thread that the process waits for, as Python's are unless they are made daemons.
fn waited_for() -> Builder {
    Builder::new().daemon(false)
}

fn function(version: FunctionVersion, scale: Scale) -> io::Result<()> {
    match version {
        FunctionVersion::Wukong => {
            start(waited_for(), move |started| {
                task("悟空", scale, started);
            })?;
            println!("主线程");
        }
        FunctionVersion::Foo => {
            start(waited_for(), move |started| {
                println!(">>>>>>>>>>>>>>>2");
                started();
                sleep(scale.seconds(3.0));
                println!("thread 1");
            })?;
            println!("ending");
        }
        FunctionVersion::Nick => {
            start(waited_for(), move |started| {
                started();
                sleep(scale.seconds(2.0));
                println!("nick say hello");
            })?;
            println!("主线程");
        }
    }
    Ok(()) // the handles are dropped: nobody joins, and the process still waits
}

/// What P34 to P36 give to their thread. The notes pass `args=(悟空,)`, without the quotes.
fn task(name: &str, scale: Scale, started: &dyn Fn()) {
    println!("{name} 任务开始");
    started();
    sleep(scale.seconds(3.0));
    println!("{name} 任务结束");
}

/// In the notes a subclass of `Thread` that overrides `run`. Here a struct, whose method is
/// given to the thread: no base class whose constructor must not be forgotten.
struct Sayhi {
    version: ObjectVersion,
    scale: Scale,
}

impl Sayhi {
    fn run(self, started: &dyn Fn()) {
        let thread = thread::current(); // its name is the one that was given to the builder
        let name = thread.name().unwrap_or_default();
        match self.version {
            ObjectVersion::Wukong => task(name, self.scale, started),
            ObjectVersion::Ok => {
                println!("ok");
                started();
                sleep(self.scale.seconds(2.0));
                println!("end");
            }
            ObjectVersion::Nick => {
                started();
                sleep(self.scale.seconds(2.0));
                println!("{name} say hello");
            }
        }
    }
}

fn object(version: ObjectVersion, scale: Scale) -> io::Result<()> {
    let (name, last_line) = match version {
        ObjectVersion::Wukong => ("悟空", "主线程"),
        ObjectVersion::Ok => ("Thread-1", "end again"),
        ObjectVersion::Nick => ("nick", "主线程"),
    };
    let sayhi = Sayhi { version, scale };
    start(waited_for().name(name.into()), |started| sayhi.run(started))?;
    println!("{last_line}");
    Ok(())
}

fn join(version: JoinVersion, scale: Scale) -> io::Result<()> {
    let begin = Instant::now();
    match version {
        JoinVersion::Wukong => {
            let thread = start(Builder::new(), move |started| {
                task("悟空", scale, started);
            })?;
            ended(thread);
            println!("主线程");
        }
        JoinVersion::TwoAndFive => {
            let first = start(Builder::new(), move |started| {
                println!(">>>>>>>>>>>>>>>2");
                started();
                sleep(scale.seconds(2.0));
                println!("thread 1");
            })?;
            let bar = start(Builder::new(), move |started| {
                println!(">>>>>>>>>>>>>>>>5");
                started();
                sleep(scale.seconds(5.0));
                println!("thread 2");
            })?;
            // Main waits for the first while the second runs on: 5 s in all, not 7.
            ended(first);
            ended(bar);
            println!("{}", begin.elapsed().as_secs_f64());
            println!("ending");
        }
        JoinVersion::Hello => {
            let mut threads = Vec::new();
            for i in 1..=2 {
                // Python names its threads itself; here, as in std, the program does.
                let builder = Builder::new().name(format!("Thread-{i}"));
                threads.push(start(builder, move |started| {
                    let thread = thread::current();
                    let name = thread.name().unwrap_or_default();
                    println!("thread id: {name} for task {i}");
                    started();
                    sleep(scale.seconds(2.0));
                })?);
            }
            threads.into_iter().for_each(ended);
            println!("Take {} s", begin.elapsed().as_secs_f64());
        }
    }
    Ok(())
}

/// Joins a thread, and passes its panic on, which Python would have lost.
fn ended(thread: JoinHandle<()>) {
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn shared(version: SharedVersion) -> io::Result<()> {
    // A global that threads change is an atomic or sits in a lock, or it does not compile.
    static AGE: AtomicI32 = AtomicI32::new(18);
    static N: AtomicI32 = AtomicI32::new(1);
    match version {
        SharedVersion::Age => {
            let thread = thread::spawn(|| AGE.store(16, SeqCst));
            // The notes print without this, and see 16 by luck.
            ended(thread);
            println!("{}", AGE.load(SeqCst));
            let main = thread::current(); // "main" where Python says "MainThread"
            println!("当前线程的名字 {}", main.name().unwrap_or_default());
            println!("进程中活跃的线程数量 {}", thread::active_count());
        }
        SharedVersion::N => {
            ended(thread::spawn(|| N.store(0, SeqCst)));
            println!("主 {}", N.load(SeqCst));
        }
    }
    Ok(())
}

fn daemon(version: DaemonVersion, scale: Scale) -> io::Result<()> {
    // `daemon(true)` is the default and stands here only because the notes set it.
    let daemon = Builder::new().daemon(true);
    match version {
        DaemonVersion::Daji => {
            start(daemon, move |started| {
                println!("妲己 还活着");
                started();
                sleep(scale.seconds(3.0));
                println!("妲己 正常死亡"); // never: main is gone by then
            })?;
            println!("纣王驾崩了");
        }
        DaemonVersion::Ok => {
            start(daemon, move |started| {
                println!("ok");
                started();
                sleep(scale.seconds(2.0));
                println!("end"); // never
            })?;
            println!("end again");
        }
    }
    Ok(())
}

fn daemon_and_not(scale: Scale) -> io::Result<()> {
    start(Builder::new().daemon(true), move |started| {
        println!("任务1开始");
        started();
        sleep(scale.seconds(3.0));
        println!("任务1结束"); // never: the process waits 2 s for the other one only
    })?;
    start(waited_for(), move |started| {
        println!("任务2开始");
        started();
        sleep(scale.seconds(2.0));
        println!("任务2结束");
    })?;
    println!("主线程");
    Ok(())
}
