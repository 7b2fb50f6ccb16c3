//! Processes: start, join, names, numbers, isolation, daemons. The programs print the lines of
//! the notes.
//!
//! `process::spawn` starts a function in a process of its own. What Python pickles travels by
//! `serde` here; a class that overrides `run` becomes a struct that is handed to its method.

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, Ordering::SeqCst};
use std::time::{Duration, Instant};

use bingfa::process::{self, Builder};
use bingfa::thread::{self, sleep};
use bingfa_examples::{Scale, all_ended, ended, exit};
use clap::{Parser, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};

/// Processes: start, join, names, numbers, isolation, daemons
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
    /// P01: a process made of a function; main does not wait, the program does
    #[command(visible_alias = "p01")]
    Function {
        #[arg(value_enum, default_value_t = FunctionVersion::Speech)]
        version: FunctionVersion,
    },
    /// P02: a process made of an object
    #[command(visible_alias = "p02")]
    Object {
        #[arg(value_enum, default_value_t = ObjectVersion::Date)]
        version: ObjectVersion,
    },
    /// P03: start all, then join all
    #[command(visible_alias = "p03")]
    Join {
        #[arg(value_enum, default_value_t = JoinVersion::Three)]
        version: JoinVersion,
    },
    /// P04: two processes append a line each to one file
    #[command(visible_alias = "p04")]
    WriteFile {
        /// The file; one in the temporary directory if not given
        file: Option<PathBuf>,
    },
    /// P05: arguments and names
    #[command(visible_alias = "p05")]
    Names,
    /// P06: terminate, `is_alive`
    #[command(visible_alias = "p06")]
    Terminate,
    /// P07: process numbers
    #[command(visible_alias = "p07")]
    Numbers,
    /// P08: who runs a function
    #[command(visible_alias = "p08")]
    Info,
    /// P09: processes do not share data
    #[command(visible_alias = "p09")]
    Isolation {
        #[arg(value_enum, default_value_t = IsolationVersion::Age)]
        version: IsolationVersion,
    },
    /// P10: a static is each process's own
    #[command(visible_alias = "p10")]
    Static,
    /// P11: a daemon is cut off when main ends
    #[command(visible_alias = "p11")]
    Daemon,
    /// P12: a daemon dies with its parent, even if that is killed: its pid is printed
    #[command(visible_alias = "p12")]
    Killed {
        /// Adds up the numbers below this
        #[arg(long, default_value_t = 100_000_000)]
        below: u64,
    },
    /// P15: five named processes add up 1 to 100
    #[command(visible_alias = "p15")]
    Five,
    /// P38: threads have the process's number, processes have their own
    #[command(visible_alias = "p38")]
    SameNumber,
    /// P39: a thread starts sooner than a process
    #[command(visible_alias = "p39")]
    Start,
    /// P55: five threads, then five processes, add up
    #[command(visible_alias = "p55")]
    Sums {
        /// Adds up the numbers to this one
        #[arg(long, default_value_t = 10_000_000)]
        to: u64,
    },
    /// P56: four tasks that compute, four that wait, on threads and on processes
    #[command(visible_alias = "p56")]
    Bound,
}

#[derive(Clone, Copy, ValueEnum)]
enum FunctionVersion {
    Speech,
    Ok,
}

#[derive(Clone, Copy, PartialEq, ValueEnum, Serialize, Deserialize)]
enum ObjectVersion {
    Date,
    Lqz,
}

#[derive(Clone, Copy, ValueEnum)]
enum JoinVersion {
    Three,
    Five,
    FiveInTurn,
    Two,
}

#[derive(Clone, Copy, ValueEnum)]
enum IsolationVersion {
    Age,
    N,
    Zero,
}

fn main() -> ExitCode {
    process::init(); // children begin here, not before main; without it, they work as well
    let Cli { program, scale } = Cli::parse();
    exit(match program {
        Program::Function { version } => function(version, scale),
        Program::Object { version } => object(version, scale),
        Program::Join { version } => join(version, scale),
        Program::WriteFile { file } => write_file(file, scale),
        Program::Names => names(),
        Program::Terminate => terminate(scale),
        Program::Numbers => numbers(),
        Program::Info => info(),
        Program::Isolation { version } => isolation(version),
        Program::Static => class_attribute(),
        Program::Daemon => daemon(scale),
        Program::Killed { below } => killed(below, scale),
        Program::Five => five(scale),
        Program::SameNumber => same_number(scale),
        Program::Start => start(),
        Program::Sums { to } => sums(to),
        Program::Bound => bound(scale),
    })
}

/// The work of P01 and P03.
fn task((name, length): (String, Duration)) {
    println!("{name}任务开始");
    sleep(length);
    println!("{name}任务执行完毕");
}

fn function(version: FunctionVersion, scale: Scale) -> io::Result<()> {
    match version {
        FunctionVersion::Speech => {
            // The notes write args=(写讲话稿,), without the quotes.
            Builder::new().spawn(("写讲话稿".into(), scale.seconds(5.0)), task)?;
            println!("主进程");
        }
        FunctionVersion::Ok => {
            Builder::new().spawn(scale.seconds(2.0), |length: Duration| {
                println!("ok");
                sleep(length);
            })?;
            println!("ending");
        }
    }
    Ok(()) // the handles are dropped: nobody joins, and the program still waits
}

/// In the notes a subclass of `Process` that overrides `run`. Nothing here can be forgotten:
/// no base class, and no name that clashes with its fields.
#[derive(Serialize, Deserialize)]
struct MyProcess {
    version: ObjectVersion,
    name: String,
    age: u32,
    length: Duration,
}

impl MyProcess {
    fn run(self) {
        if self.version == ObjectVersion::Date {
            println!("{}任务开始", self.name);
            sleep(self.length);
            println!("任务结束");
            return;
        }
        sleep(self.length);
        println!("{}", process::current().name());
        println!("{}", self.name);
        println!("{}", self.age);
    }
}

fn object(version: ObjectVersion, scale: Scale) -> io::Result<()> {
    let (name, seconds) = match version {
        ObjectVersion::Date => ("约会", 5.0),
        ObjectVersion::Lqz => ("lqz", 2.0),
    };
    let object = MyProcess {
        version,
        name: name.into(),
        age: 19,
        length: scale.seconds(seconds),
    };
    Builder::new().spawn(object, MyProcess::run)?;
    println!("主进程");
    Ok(())
}

fn join(version: JoinVersion, scale: Scale) -> io::Result<()> {
    let begin = Instant::now();
    let task1 = |(i, length): (u32, Duration)| {
        sleep(length);
        println!("我是task1 {i}");
    };
    match version {
        JoinVersion::Three => {
            let children: io::Result<Vec<_>> = (1..=3)
                .map(|i| {
                    let args = (format!("写讲话稿{i}"), scale.seconds(f64::from(i)));
                    Builder::new().spawn(args, task)
                })
                .collect();
            all_ended(children?)?; // 3 s, not 6
            println!("主进程");
            println!("{}", begin.elapsed().as_secs_f64());
        }
        JoinVersion::Five => {
            let children: io::Result<Vec<_>> = (0..5)
                .map(|i| Builder::new().spawn((i, scale.seconds(2.0)), task1))
                .collect();
            all_ended(children?)?;
            println!("主进程");
            println!("{}", begin.elapsed().as_secs_f64());
        }
        JoinVersion::FiveInTurn => {
            for i in 0..5 {
                // Joined inside the loop: one after the other.
                ended(Builder::new().spawn((i, scale.seconds(2.0)), task1)?)?;
            }
            println!("主进程");
            println!("{}", begin.elapsed().as_secs_f64());
        }
        JoinVersion::Two => {
            println!("current father process {}", process::id());
            let hello = |(i, length): (u32, Duration)| {
                println!("son process id {} - for task {i}", process::id());
                sleep(length);
            };
            let children: io::Result<Vec<_>> = (1..=2)
                .map(|i| Builder::new().spawn((i, scale.seconds(2.0)), hello))
                .collect();
            all_ended(children?)?;
            println!("Totally take {} seconds", begin.elapsed().as_secs_f64());
        }
    }
    Ok(())
}

fn write_file(file: Option<PathBuf>, scale: Scale) -> io::Result<()> {
    let temporary = file.is_none();
    let path =
        file.unwrap_or_else(|| std::env::temp_dir().join(format!("a-{}.txt", process::id())));
    sleep(scale.seconds(5.0));
    let writer = |(path, line, length): (PathBuf, String, Duration)| {
        sleep(length);
        // The line and its end in one write: in two, as in the notes, another process's line
        // may come between them.
        let mut file = File::options()
            .append(true)
            .create(true)
            .open(path)
            .unwrap();
        file.write_all(format!("{line}\n").as_bytes()).unwrap();
    };
    let children: io::Result<Vec<_>> = ["first line", "second line"]
        .map(|line| Builder::new().spawn((path.clone(), line.into(), scale.seconds(5.0)), writer))
        .into_iter()
        .collect();
    all_ended(children?)?;
    print!("{}", fs::read_to_string(&path)?);
    if temporary {
        fs::remove_file(&path)?;
    }
    Ok(())
}

fn names() -> io::Result<()> {
    let task = |(name, age): (String, u32)| {
        println!("{name}");
        println!("{age}");
    };
    let args = || ("lqz".to_owned(), 19);
    let unnamed = [
        Builder::new().spawn(args(), task)?,
        Builder::new().spawn(args(), task)?,
    ];
    let named = Builder::new()
        .name("process01".into())
        .spawn(args(), task)?;
    let children: Vec<_> = unnamed.into_iter().chain([named]).collect();
    for child in &children {
        println!("{}", child.name());
    }
    all_ended(children).map(drop)
}

fn terminate(scale: Scale) -> io::Result<()> {
    let child = Builder::new().spawn(scale.seconds(10.0), |length: Duration| {
        sleep(length);
        println!("lqz"); // never
        println!("19");
    })?;
    println!("{}", child.is_alive());
    child.terminate()?;
    println!("{}", child.is_alive()); // perhaps: it has been asked, no more
    println!("ssss");
    let process = child.process().clone();
    // The notes wait 0.1 s, and hope; here it has ended for sure.
    drop(child.join());
    println!("{}", process.is_alive());
    println!("{process:?}");
    Ok(())
}

fn numbers() -> io::Result<()> {
    let task = |name: String| {
        println!("{name}{}执行中", process::id());
        println!(
            "{name}的父进程{}执行中",
            std::os::unix::process::parent_id()
        );
    };
    let child = Builder::new().spawn("子进程".into(), task)?;
    let pid = child.pid();
    ended(child)?;
    println!("子进程的进程号{pid}");
    task("主进程".into());
    Ok(())
}

/// Who runs: where Python shows the name of the module, which tells a child from its parent,
/// this shows the name of the process.
fn info() -> io::Result<()> {
    fn info(title: &str) {
        println!("{title}");
        println!("process name: {}", process::current().name());
        println!("parent process: {}", std::os::unix::process::parent_id());
        println!("process id: {}", process::id());
    }
    info("main line");
    ended(Builder::new().spawn("bob".to_owned(), |name: String| {
        info("function f");
        println!("hello {name}");
    })?)
}

fn isolation(version: IsolationVersion) -> io::Result<()> {
    static AGE: AtomicI32 = AtomicI32::new(18);
    static N: AtomicI32 = AtomicI32::new(10);
    match version {
        IsolationVersion::Age => {
            ended(Builder::new().spawn((), |()| AGE.store(16, SeqCst))?)?;
            println!("{}", AGE.load(SeqCst));
        }
        IsolationVersion::N => {
            let task = |()| {
                println!("我是task");
                N.store(100, SeqCst);
                println!("子进程的： {}", N.load(SeqCst));
            };
            ended(Builder::new().spawn((), task)?)?;
            println!("主进程的： {}", N.load(SeqCst));
            task(()); // called directly, it changes the caller's own
            println!("直接调用之后： {}", N.load(SeqCst));
        }
        IsolationVersion::Zero => {
            N.store(100, SeqCst);
            ended(Builder::new().spawn((), |()| N.store(0, SeqCst))?)?;
            println!("主 {}", N.load(SeqCst));
        }
    }
    Ok(())
}

fn class_attribute() -> io::Result<()> {
    static POOL: Mutex<[u32; 2]> = Mutex::new([0, 0]);
    let run = |n: u32| {
        println!("子进程的名字是>>> {}", process::current().name());
        let mut pool = POOL.lock().unwrap();
        if pool[0] == 0 {
            pool[0] = n;
            pool[1] += 1;
        } else {
            pool[1] = n; // never: each process has a pool of its own
        }
        println!("{pool:?}");
    };
    for (n, name) in [(101, "子进程01"), (102, "子进程02")] {
        // Joined before the next one starts, so that the lines do not mix.
        ended(Builder::new().name(name.into()).spawn(n, run)?)?;
    }
    println!("主进程结束");
    Ok(())
}

fn daemon(scale: Scale) -> io::Result<()> {
    let args = ("苏妲己".to_owned(), scale.seconds(5.0));
    Builder::new()
        .daemon(true)
        .spawn(args, |(name, length): (String, Duration)| {
            println!("{name}还活着");
            sleep(length);
            println!("{name}正常死亡"); // never: main is gone by then
        })?;
    sleep(scale.seconds(1.0));
    println!("纣王驾崩了");
    Ok(())
}

/// The homework is to stop this program from outside and to see whether the child ends. In
/// Python on Linux it does not; here it does.
fn killed(below: u64, scale: Scale) -> io::Result<()> {
    let args = ("lqz".to_owned(), 19, scale.seconds(3600.0));
    let task = |(name, age, length): (String, u32, Duration)| {
        sleep(length);
        println!("{name}");
        println!("{age}");
    };
    let child = Builder::new().daemon(true).spawn(args, task)?;
    println!("{}", child.pid());
    println!("{}", (0..below).fold(0, |sum: u64, i| sum + black_box(i)));
    sleep(scale.seconds(20.0));
    Ok(())
}

fn five(scale: Scale) -> io::Result<()> {
    let task = |(i, length): (u32, Duration)| {
        let parent = std::os::unix::process::parent_id();
        println!("开始第{i}次计算,进程id:{},父进程id:{parent}", process::id());
        sleep(length);
        println!("结果是{}", (0..=100).sum::<u32>());
    };
    let mut children = Vec::new();
    for i in 1..=5 {
        let builder = Builder::new().name(format!("process-00{i}"));
        let child = builder.spawn((i, scale.seconds(1.0)), task)?;
        println!("{}", child.name());
        children.push(child);
    }
    all_ended(children)?;
    println!("这是父进程,进程id为{}", process::id());
    Ok(())
}

fn same_number(scale: Scale) -> io::Result<()> {
    let length = scale.seconds(3.0);
    let work = |(what, length): (String, Duration)| {
        sleep(length);
        println!("{what} {}", process::id());
    };
    let threads = [1, 2].map(|i| thread::spawn(move || work((format!("线程{i}"), length))));
    let processes: io::Result<Vec<_>> = [1, 2]
        .map(|i| Builder::new().spawn((format!("进程{i}"), length), work))
        .into_iter()
        .collect();
    work(("主".into(), length));
    for thread in threads {
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
    all_ended(processes?).map(drop)
}

/// In the notes the order of the lines is the proof, which is luck: here it is measured.
fn start() -> io::Result<()> {
    let begin = Instant::now();
    let hello = thread::spawn(|| println!("hello"));
    let thread = begin.elapsed();
    if let Err(panic) = hello.join() {
        std::panic::resume_unwind(panic);
    }
    let begin = Instant::now();
    let child = Builder::new().spawn((), |()| println!("hello"))?;
    let process = begin.elapsed();
    ended(child)?;
    println!("主线程/主进程");
    println!("thread: {} us", thread.as_micros());
    println!("process: {} us", process.as_micros());
    Ok(())
}

/// Adds up one by one, which is what the notes measure.
fn sum(to: u64) -> u64 {
    (1..=to).fold(0, |sum, i| sum + black_box(i))
}

/// P55. The notes have threads add up to 10^7 and processes to 10^8, where the task says 10^6 for
/// both, and conclude that processes are faster: different work shows nothing. Here it is the
/// same, and nobody waits for an interpreter's lock, so threads and processes take as long.
fn sums(to: u64) -> io::Result<()> {
    let begin = Instant::now();
    let threads = [(); 5].map(|()| thread::spawn(move || sum(to)));
    for thread in threads {
        match thread.join() {
            Ok(sum) => println!("{sum}"),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
    println!("threads: {} s", begin.elapsed().as_secs_f64());
    let begin = Instant::now();
    let processes: io::Result<Vec<_>> = (0..5).map(|_| Builder::new().spawn(to, sum)).collect();
    for sum in all_ended(processes?)? {
        println!("{sum}");
    }
    // The notes find processes five times as fast. Without a global lock both use all cores.
    println!("processes: {} s", begin.elapsed().as_secs_f64());
    Ok(())
}

fn bound(scale: Scale) -> io::Result<()> {
    const TASKS: usize = 4;
    let length = scale.seconds(10.0);
    // So many additions as take one thread alone about that long.
    let begin = Instant::now();
    sum(1_000_000);
    let million = begin.elapsed().as_secs_f64();
    let to = (length.as_secs_f64() / million * 1e6) as u64;
    for (what, task, argument) in [
        ("计算密集型", compute as fn(u64), to),
        ("IO密集型", wait as fn(u64), length.as_micros() as u64),
    ] {
        let begin = Instant::now();
        let threads = [(); TASKS].map(|()| thread::spawn(move || task(argument)));
        for thread in threads {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
        println!(
            "{what} {TASKS} threads: {} s",
            begin.elapsed().as_secs_f64()
        );
        let begin = Instant::now();
        let processes: io::Result<Vec<_>> = (0..TASKS)
            .map(|_| Builder::new().spawn(argument, task))
            .collect();
        all_ended(processes?)?;
        println!(
            "{what} {TASKS} processes: {} s",
            begin.elapsed().as_secs_f64()
        );
    }
    Ok(())
}

fn compute(to: u64) {
    black_box(sum(to));
}

fn wait(micros: u64) {
    sleep(Duration::from_micros(micros));
}
