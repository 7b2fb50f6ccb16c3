//! SIGKILL at moments that nobody has chosen: for the owner of a lock, a manager and a parent.
//! (Producers and consumers are in `process_queue`, children and the zygote in `process_trouble`,
//! holders of counts in `process_locks`.)

mod common;

use std::fs;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use bingfa::process::manager::{Dict, Lock, Manager, Proxy, Queue as FarQueue};
use bingfa::process::{self, Builder, GetError, Mutex, Queue, RawValue};
use common::family::{child, idle, kill_and_join};
use common::{LONG, until};

/// The pauses before so many kills, or in long tests before many more: longer and longer, in
/// steps of an odd length, so that all moments are met.
fn pauses(rounds: u64) -> impl Iterator<Item = Duration> {
    let long = std::env::var_os("BINGFA_TEST_LONG").is_some();
    let rounds = if long { rounds * 50 } else { rounds };
    (0..rounds).map(|round| Duration::from_micros(100 + round * 373 % 4000))
}

/// What was done once somebody had died takes no longer than this.
const AT_ONCE: Duration = Duration::from_secs(20);

#[test]
fn the_owner_of_a_lock() {
    child("the_owner_of_a_lock", || {
        let pair = Mutex::new([0u64; 2]).unwrap();
        let mut poisoned = 0;
        for pause in pauses(150) {
            let done = RawValue::new(0u64).unwrap();
            let before = pair.lock().unwrap()[0];
            let owner = process::spawn((pair.clone(), done.clone()), |(pair, done)| {
                let (pair, done): (Mutex<[u64; 2]>, RawValue<u64>) = (pair, done);
                for n in 1.. {
                    let mut numbers = pair.lock().unwrap();
                    numbers[0] += 1;
                    numbers[1] += 1;
                    drop(numbers);
                    done.set(n);
                }
            });
            until(|| done.get() > 0);
            std::thread::sleep(pause);
            let pid = kill_and_join(owner);
            let begin = Instant::now();
            let now = match pair.lock() {
                Ok(numbers) => {
                    assert_eq!(numbers[0], numbers[1]);
                    numbers[0]
                }
                Err(error) => {
                    poisoned += 1;
                    let status = error.owner().exit_status().unwrap().to_string();
                    assert!(status.contains("SIGKILL"), "{status}");
                    assert_eq!(error.owner().pid(), pid);
                    let mut numbers = error.into_inner();
                    let whole = numbers[0].min(numbers[1]);
                    assert!(numbers[0] - whole <= 1 && numbers[1] == whole);
                    *numbers = [whole; 2];
                    pair.clear_poison();
                    whole
                }
            };
            assert!(begin.elapsed() < AT_ONCE);
            let (done, got) = (done.get(), now - before);
            assert!(got == done || got == done + 1, "{got} of {done}");
        }
        assert!(poisoned > 0);
    });
}

type Work = (
    Proxy<Dict<u32, u64>>,
    Proxy<FarQueue<u64>>,
    Proxy<Lock>,
    RawValue<u32>,
);

/// Uses all of a manager until that ends, and says how it heard of that.
fn use_up((dict, queue, lock, ready): Work) -> String {
    let step = |n: u64| {
        dict.update(&1, n, |sum, n| *sum.get_or_insert(0) += n)?;
        queue.put(n)?;
        queue.get_timeout(LONG)?;
        queue.task_done()?;
        drop(lock.lock()?);
        ready.set(1);
        Ok::<(), Box<dyn std::error::Error>>(())
    };
    (1..).find_map(|n| step(n).err()).unwrap().to_string()
}

#[test]
fn a_manager() {
    child("a_manager", || {
        for pause in pauses(40) {
            let manager = Manager::new().unwrap();
            let ready = RawValue::new(0).unwrap();
            let (dict, queue) = (manager.dict().unwrap(), manager.queue(None).unwrap());
            let work = || {
                let lock = manager.lock().unwrap();
                (dict.clone(), queue.clone(), lock, ready.clone())
            };
            let far = process::spawn(work(), use_up);
            let near = {
                let work = work();
                bingfa::thread::spawn(move || use_up(work))
            };
            until(|| ready.get() == 1);
            std::thread::sleep(pause);
            manager.process().kill().unwrap();
            let (name, pid) = (manager.name(), manager.pid());
            let expected = format!("the manager {name} (pid {pid}) has ended");
            let begin = Instant::now();
            for text in [far.join().unwrap(), near.join().unwrap()] {
                assert!(text.contains(&expected), "{text}");
            }
            let error = dict.len().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
            assert!(begin.elapsed() < AT_ONCE);
        }
    });
}

/// Processes with this name, as `ps` shows it, that run. (Whoever has adopted them may not have
/// reaped them yet.)
fn running(name: &str) -> Vec<u32> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let is_it = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.contains(&format!("({name})")) && !stat.contains(") Z ")
    };
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(is_it).collect()
}

type Shared = (Queue<u64>, Mutex<[u64; 2]>, String);

/// Makes children for ever, of which each works with what all share.
fn breed((queue, pair, name): Shared) {
    let daemon = || Builder::new().daemon(true).name(name.clone());
    for n in 0.. {
        let shared = (queue.clone(), pair.clone(), String::new());
        let toil = |(queue, pair, _): Shared| {
            for n in 0.. {
                queue.put(n).unwrap();
                let mut numbers = pair.lock().unwrap_or_else(|error| error.into_inner());
                *numbers = [n; 2];
            }
        };
        let one = daemon().spawn(shared, toil).unwrap();
        let other = daemon().spawn((), idle).unwrap();
        if n % 2 == 0 {
            kill_and_join(one);
            kill_and_join(other);
        }
    }
}

#[test]
fn a_parent() {
    child("a_parent", || {
        let name = format!("breed-{}", std::process::id());
        for pause in pauses(60) {
            let queue: Queue<u64> = Queue::bounded(64).unwrap();
            let pair = Mutex::new([0u64; 2]).unwrap();
            let parent = process::spawn((queue.clone(), pair.clone(), name.clone()), breed);
            until(|| !queue.is_empty());
            std::thread::sleep(pause);
            let begin = Instant::now();
            kill_and_join(parent);
            // Its children end with it, and so does what they had.
            let last = loop {
                match queue.get() {
                    Ok(_) => {}
                    Err(error) => break error,
                }
            };
            assert!(matches!(last, GetError::Closed(_)), "{last}");
            assert!(last.to_string().contains("the last was process"), "{last}");
            match pair.lock() {
                Ok(numbers) => assert_eq!(numbers[0], numbers[1]),
                Err(error) => assert_ne!(error.owner().pid(), 0),
            }
            until(|| running(&name).is_empty());
            assert!(begin.elapsed() < AT_ONCE);
        }
        assert!(process::active_children().is_empty());
    });
}
