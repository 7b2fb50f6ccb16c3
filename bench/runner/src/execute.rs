//! One run of one contender: pinned, timed out, and with the load of everybody else noted.

use crate::load;
use crate::plan::{Load, Run};
use harness::Cpu;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// The core that servers run on.
pub(crate) const SERVER_CORE: usize = 0;
/// The core that the load generator runs on.
const LOAD_CORE: usize = 1;
/// What a run has printed, by name.
pub(crate) type Figures = BTreeMap<String, f64>;

/// A run's figures, and how many cores other processes used meanwhile.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) figures: Figures,
    pub(crate) outside_load: f64,
}

/// Refuses a machine on which the pinning cannot be done.
pub(crate) fn check_machine() -> Result<(), String> {
    let allowed = sched_getaffinity(None).map_err(|error| format!("sched_getaffinity: {error}"))?;
    if allowed.is_set(SERVER_CORE) && allowed.is_set(LOAD_CORE) {
        return Ok(());
    }
    Err("cores 0 and 1 are needed, one for the server and one for the load; allow both (taskset, cpuset)".into())
}

/// Runs `run` once, by the `command` that starts its contender. What is not done after `limit` is killed.
pub(crate) fn once(run: &Run, mut command: Command, limit: Duration) -> Result<Outcome, String> {
    command
        .arg(run.contender)
        .arg(run.bench)
        .arg(format!("workers={}", run.workers))
        .args(&run.args)
        .env("GOMAXPROCS", run.workers.to_string());
    let before = Busy::now();
    let figures = match &run.load {
        None => Process::start(command, &run.cores, limit)?.last_figures(),
        Some(load) => serve(command, &run.cores, load, limit),
    }?;
    Ok(Outcome {
        figures,
        outside_load: before.outside_load(),
    })
}

fn serve(
    server: Command,
    cores: &[usize],
    load: &Load,
    limit: Duration,
) -> Result<Figures, String> {
    let mut server = Process::start(server, cores, limit)?;
    let port = server
        .line()?
        .get("port")
        .copied()
        .ok_or("the server has not said its port")?;
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(own);
    command
        .arg(load::SUBCOMMAND)
        .args(load::words(load, port as u16, server.child.id()));
    let mut figures = Process::start(command, &[LOAD_CORE], limit)?.last_figures()?;
    figures.extend(server.last_figures()?);
    Ok(figures)
}

/// A child process that speaks lines of JSON. Killed if it is dropped while it runs.
struct Process {
    child: Child,
    lines: Receiver<String>,
    limit: Duration,
    deadline: Instant,
}

impl Process {
    fn start(mut command: Command, cores: &[usize], limit: Duration) -> Result<Self, String> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = on_cores(cores, || command.spawn())
            .map_err(|error| format!("starting {}: {error}", command.get_program().display()))?;
        let output = BufReader::new(child.stdout.take().expect("a piped output"));
        let (sender, lines) = channel();
        // Ends with the child's output.
        std::thread::spawn(move || {
            output
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        Ok(Self {
            child,
            lines,
            limit,
            deadline: Instant::now() + limit,
        })
    }

    fn line(&mut self) -> Result<Figures, String> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let line = self.lines.recv_timeout(left).map_err(|_| {
            self.end()
                .err()
                .unwrap_or("it has printed no figures".into())
        })?;
        serde_json::from_str(&line).map_err(|error| format!("it has printed {line:?}: {error}"))
    }

    /// Tells the child to end, and takes the figures that it prints last.
    fn last_figures(mut self) -> Result<Figures, String> {
        drop(self.child.stdin.take());
        let figures = self.line()?;
        self.end()?;
        Ok(figures)
    }

    /// Waits for the child, and kills it when its time is over.
    fn end(&mut self) -> Result<(), String> {
        drop(self.child.stdin.take());
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(format!("it ended with {status}")),
                Ok(None) if Instant::now() < self.deadline => {
                    std::thread::sleep(Duration::from_millis(2))
                }
                Ok(None) => {
                    return Err(format!(
                        "it was killed: not done after {} s",
                        self.limit.as_secs()
                    ));
                }
                Err(error) => return Err(format!("waiting for it: {error}")),
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // It may have ended in between: both calls then have nothing to do.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Calls `spawn` with this thread on `cores`: a child inherits them from the thread that starts it, before its own
/// runtime makes any thread.
fn on_cores<T>(cores: &[usize], spawn: impl FnOnce() -> std::io::Result<T>) -> std::io::Result<T> {
    let all = sched_getaffinity(None)?;
    let mut chosen = CpuSet::new();
    cores.iter().for_each(|&core| chosen.set(core));
    sched_setaffinity(None, &chosen)?;
    let result = spawn();
    sched_setaffinity(None, &all)?;
    result
}

/// How busy the machine and our own processes have been.
struct Busy {
    at: Instant,
    machine: f64,
    ours: f64,
}

impl Busy {
    fn now() -> Self {
        Self {
            at: Instant::now(),
            machine: machine_cpu_seconds(),
            ours: own_cpu_seconds(),
        }
    }

    /// Cores used by others since then. Accounted in ticks of 10 ms: nothing to rely on below 0.1.
    fn outside_load(&self) -> f64 {
        let now = Self::now();
        let others = (now.machine - self.machine) - (now.ours - self.ours);
        (others / (now.at - self.at).as_secs_f64()).max(0.0)
    }
}

/// CPU seconds of the whole machine that were not idle, time stolen by the host included.
fn machine_cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks: Vec<f64> = stat
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .flat_map(str::parse)
        .collect();
    // user nice system idle iowait irq softirq steal; guest time is part of user.
    let busy: f64 = ticks
        .iter()
        .take(8)
        .enumerate()
        .filter(|(index, _)| !matches!(index, 3 | 4))
        .map(|(_, ticks)| ticks)
        .sum();
    busy / rustix::param::clock_ticks_per_second() as f64
}

/// CPU seconds of this process, of its children that have ended, and of the kernel's network threads.
fn own_cpu_seconds() -> f64 {
    let kernel = (0..2)
        .filter_map(Cpu::of_ksoftirqd)
        .filter_map(|cpu| cpu.used().ok())
        .sum::<Duration>();
    harness::process_cpu_seconds() + harness::children_cpu_seconds() + kernel.as_secs_f64()
}
