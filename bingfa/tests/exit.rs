//! What the end of the process waits for. Each case runs in a child of its own.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bingfa::{coroutine, thread};

/// For children that should end by themselves: long enough for any machine.
const WATCHDOG: Duration = Duration::from_secs(60);
/// Longer than the watchdog: a child that waits for this one has failed.
const FOR_EVER: Duration = Duration::from_secs(3600);
/// Long enough for the process to be gone if it did not wait.
const A_WHILE: Duration = Duration::from_millis(200);

const CASE: &str = "BINGFA_TEST_CASE";

/// Not a test of its own: what the children run. It always ends in `exit`, as a `main` that
/// returns does.
#[test]
fn child() {
    let Ok(case) = std::env::var(CASE) else {
        return;
    };
    let work = |name: &'static str| {
        move || {
            thread::sleep(A_WHILE);
            println!("{name} has ended");
        }
    };
    match case.as_str() {
        "non-daemon thread" => {
            thread::Builder::new()
                .daemon(false)
                .spawn(work("it"))
                .unwrap();
        }
        "non-daemon coroutine" => {
            coroutine::Builder::new()
                .daemon(false)
                .spawn(work("it"))
                .unwrap();
        }
        "daemons" => {
            thread::spawn(|| thread::sleep(FOR_EVER));
            thread::Builder::new()
                .daemon(true)
                .spawn(|| thread::sleep(FOR_EVER))
                .unwrap();
            coroutine::spawn(|| thread::sleep(FOR_EVER));
            coroutine::Builder::new()
                .daemon(true)
                .spawn(|| thread::sleep(FOR_EVER))
                .unwrap();
        }
        "daemons of a non-daemon" => {
            let parent = thread::Builder::new().daemon(false).spawn(|| {
                thread::spawn(|| thread::sleep(FOR_EVER));
                coroutine::spawn(|| thread::sleep(FOR_EVER));
            });
            parent.unwrap();
        }
        "non-daemons of a non-daemon" => {
            let parent = thread::Builder::new().daemon(false).spawn(move || {
                thread::sleep(A_WHILE);
                coroutine::Builder::new()
                    .daemon(false)
                    .spawn(work("it"))
                    .unwrap();
            });
            parent.unwrap();
        }
        "a panicking non-daemon" => {
            thread::Builder::new()
                .daemon(false)
                .spawn(|| panic!("of a non-daemon"))
                .unwrap();
            coroutine::Builder::new()
                .daemon(false)
                .spawn(|| panic!("of one, too"))
                .unwrap();
        }
        "a cancelled non-daemon" => {
            let sleeper = coroutine::Builder::new().daemon(false);
            sleeper.spawn(|| thread::sleep(FOR_EVER)).unwrap().cancel();
        }
        "exit from a non-daemon coroutine" => {
            let one = coroutine::Builder::new()
                .daemon(false)
                .spawn(|| std::process::exit(3));
            one.unwrap();
            std::thread::sleep(FOR_EVER);
        }
        "exit from a non-daemon thread" => {
            let one = thread::Builder::new()
                .daemon(false)
                .spawn(|| std::process::exit(3));
            one.unwrap();
            std::thread::sleep(FOR_EVER);
        }
        "a main thread that has waited before" => {
            thread::sleep(Duration::from_millis(1));
            thread::Builder::new()
                .daemon(false)
                .spawn(work("it"))
                .unwrap();
        }
        "exit from a non-daemon thread that waits for another" => {
            thread::Builder::new()
                .daemon(false)
                .spawn(work("it"))
                .unwrap();
            let one = thread::Builder::new().daemon(false).spawn(|| {
                thread::sleep(Duration::from_millis(1));
                std::process::exit(3)
            });
            one.unwrap();
            std::thread::sleep(FOR_EVER);
        }
        "exit from a coroutine beside its neighbour" => {
            // On one worker: the exit handler must suspend, not block the thread.
            let one = bingfa::Runtime::builder().workers(1);
            one.build_global().unwrap();
            let neighbour = coroutine::Builder::new().daemon(false);
            let several_waits = move || {
                (0..10).for_each(|_| thread::sleep(A_WHILE / 10));
                work("the neighbour")();
            };
            neighbour.spawn(several_waits).unwrap();
            let last = coroutine::Builder::new().daemon(false);
            last.spawn(|| std::process::exit(3)).unwrap();
            std::thread::sleep(FOR_EVER);
        }
        "main inside run" => {
            bingfa::run(|| {
                thread::Builder::new()
                    .daemon(false)
                    .spawn(work("it"))
                    .unwrap();
                std::process::exit(3);
            });
        }
        other => panic!("no case {other}"),
    }
    std::process::exit(0);
}

/// The status and standard output of a child, which must end by itself.
fn run(case: &str) -> (Option<i32>, String) {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture"])
        .env(CASE, case)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = ended(child, case).wait_with_output().unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
    )
}

fn ended(mut child: Child, case: &str) -> Child {
    let until = Instant::now() + WATCHDOG;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > until {
            let _ = child.kill();
            panic!("{case}: the child did not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

#[test]
fn non_daemons_are_waited_for() {
    for case in [
        "non-daemon thread",
        "non-daemon coroutine",
        "non-daemons of a non-daemon",
        // `exit` has dropped its thread-locals by the time it waits.
        "a main thread that has waited before",
    ] {
        let (status, stdout) = run(case);
        assert_eq!(status, Some(0), "{case}");
        assert!(stdout.contains("it has ended"), "{case}: {stdout}");
    }
}

#[test]
fn daemons_are_not() {
    assert_eq!(run("daemons").0, Some(0));
    assert_eq!(run("daemons of a non-daemon").0, Some(0));
}

#[test]
fn however_a_non_daemon_ends_the_wait_is_over() {
    assert_eq!(run("a panicking non-daemon").0, Some(0));
    assert_eq!(run("a cancelled non-daemon").0, Some(0));
}

#[test]
fn a_non_daemon_that_calls_exit_does_not_wait_for_itself() {
    assert_eq!(run("exit from a non-daemon coroutine").0, Some(3));
    assert_eq!(run("exit from a non-daemon thread").0, Some(3));
    let (status, stdout) = run("exit from a non-daemon thread that waits for another");
    assert_eq!(status, Some(3));
    assert!(stdout.contains("it has ended"), "{stdout}");
}

#[test]
fn exit_in_a_coroutine_waits_as_a_coroutine() {
    let (status, stdout) = run("exit from a coroutine beside its neighbour");
    assert_eq!(status, Some(3));
    assert!(stdout.contains("the neighbour has ended"), "{stdout}");
    let (status, stdout) = run("main inside run");
    assert_eq!(status, Some(3));
    assert!(stdout.contains("it has ended"), "{stdout}");
}
