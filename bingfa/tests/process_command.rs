//! `process::Command` and `Child`, and pipes to children, on both carriers.

mod common;

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;

use bingfa::process::{Builder, Child, Command, StartMethod, Stdio};
use bingfa::{coroutine, thread, time};
use common::{LONG, SHORT, Watchdog, backends, cancel_and_join, runtime, until_in};

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

#[bingfa::test]
fn output_is_collected() {
    let _dog = Watchdog::new("output");
    let output = shell("echo out; echo err >&2; exit 3").output().unwrap();
    assert_eq!(output.stdout, b"out\n");
    assert_eq!(output.stderr, b"err\n");
    assert_eq!(output.status.code(), Some(3));
    // By default it has no input.
    assert_eq!(Command::new("cat").output().unwrap().stdout, b"");
    assert!(Command::new("true").status().unwrap().success());
    assert_eq!(
        shell("kill -9 $$").status().unwrap().to_string(),
        "signal: 9 (SIGKILL)"
    );
}

/// Neither pipe fills up while the other is read.
#[bingfa::test]
fn large_outputs_on_both_pipes() {
    let _dog = Watchdog::new("large");
    let script =
        "for i in 1 2 3 4; do head -c 200000 /dev/zero; head -c 200000 /dev/zero >&2; done";
    let output = shell(script).output().unwrap();
    assert_eq!(
        (output.stdout.len(), output.stderr.len()),
        (800_000, 800_000)
    );
    // One of them closed long before the other.
    let output = shell("exec >&-; head -c 200000 /dev/zero >&2")
        .output()
        .unwrap();
    assert_eq!((output.stdout.len(), output.stderr.len()), (0, 200_000));
    // Only one of them a pipe.
    let child = shell("echo x")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    assert_eq!(child.unwrap().wait_with_output().unwrap().stdout, b"x\n");
}

#[bingfa::test]
fn a_conversation_through_pipes() {
    let _dog = Watchdog::new("conversation");
    let mut cat = Command::new("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut to, mut from) = (cat.stdin.take().unwrap(), cat.stdout.take().unwrap());
    let mut back = [0; 5];
    for word in [b"hello", b"world"] {
        to.write_all(word).unwrap();
        from.read_exact(&mut back).unwrap();
        assert_eq!(back, *word);
    }
    assert!(cat.try_wait().unwrap().is_none());
    drop(to);
    assert_eq!(from.read(&mut back).unwrap(), 0);
    assert!(cat.wait().unwrap().success());
    assert!(cat.wait().unwrap().success(), "as often as one likes");
    assert!(cat.try_wait().unwrap().unwrap().success());
    assert!(cat.kill().is_ok(), "no error, as in std");
}

/// More than a pipe holds goes in while another carrier takes it out.
#[bingfa::test]
fn both_ends_at_once() {
    let _dog = Watchdog::new("both ends");
    let mut cat = Command::new("cat");
    let mut cat = cat
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut to, mut from) = (cat.stdin.take().unwrap(), cat.stdout.take().unwrap());
    let data: Vec<u8> = (0..500_000u32).map(|i| i as u8).collect();
    let sent = data.clone();
    let work = move || to.write_all(&sent).unwrap();
    let join: Box<dyn FnOnce()> = if coroutine::is_coroutine() {
        let writer = coroutine::spawn(work);
        Box::new(|| writer.join().unwrap())
    } else {
        let writer = thread::spawn(work);
        Box::new(|| writer.join().unwrap())
    };
    let mut back = Vec::new();
    from.read_to_end(&mut back).unwrap();
    join();
    assert!(back == data);
    assert!(cat.wait().unwrap().success());
}

/// `wait` closes standard input, or both would wait for ever.
#[bingfa::test]
fn wait_closes_standard_input() {
    let _dog = Watchdog::new("stdin");
    let mut cat = Command::new("cat");
    let mut child = cat
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    assert!(child.wait().unwrap().success());
    assert!(child.stdin.is_none());
    let child = cat.stdout(Stdio::piped()).spawn().unwrap();
    assert_eq!(child.wait_with_output().unwrap().stdout, b"");
}

#[bingfa::test]
fn what_is_set_is_had() {
    let _dog = Watchdog::new("set");
    let mut command = shell("pwd; echo $A-$B-$C");
    command
        .current_dir("/proc")
        .env("A", "1")
        .envs([("B", "2")]);
    command.env("C", "3").env_remove("C");
    let text = command.output().unwrap().stdout;
    assert_eq!(text, b"/proc\n1-2-\n");
    assert_eq!(command.get_program(), "sh");
    assert_eq!(command.get_args().count(), 2);
    assert_eq!(command.get_envs().count(), 3);
    assert_eq!(command.get_current_dir().unwrap().to_str(), Some("/proc"));
    // `output` leaves the settings of the others alone, and theirs count for it.
    let file = std::fs::File::open("/dev/null").unwrap();
    assert_eq!(command.stdout(file).output().unwrap().stdout, b"");
    let error = Command::new("/no/such/program").spawn().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let mut command = Command::new("sh");
    std::os::unix::process::CommandExt::arg0(command.as_std_mut(), "other");
    let output = command.args(["-c", "echo $0"]).output().unwrap();
    assert_eq!(output.stdout, b"other\n");
}

#[bingfa::test]
fn one_childs_output_is_anothers_input() {
    let _dog = Watchdog::new("pipeline");
    let mut first = shell("printf 'b\\na\\n'")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let sorted = Command::new("sort")
        .stdin(first.stdout.take().unwrap())
        .output()
        .unwrap();
    assert_eq!(sorted.stdout, b"a\nb\n");
    assert!(first.wait().unwrap().success());
}

/// Waiting, a coroutine does not hold its worker.
#[test]
fn coroutines_of_the_worker_run_meanwhile() {
    let _dog = Watchdog::new("worker");
    for io in backends() {
        runtime(io, 1).run(|| {
            let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
            let stdin = child.stdin.take();
            let waiter = coroutine::spawn_local(move || child.wait().unwrap());
            until_in(&waiter, "poll");
            drop(stdin); // which is what the child waits for
            assert!(waiter.join().unwrap().success());

            let mut cat = Command::new("cat");
            cat.stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = cat.spawn().unwrap();
            let (mut to, from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
            let reader = coroutine::spawn_local(move || {
                let mut line = String::new();
                BufReader::new(from).read_line(&mut line).unwrap();
                line
            });
            until_in(&reader, "poll");
            to.write_all(b"line\n").unwrap();
            assert_eq!(reader.join().unwrap(), "line\n");
            drop(to);
            assert!(child.wait().unwrap().success());
        });
    }
}

#[test]
fn a_cancelled_waiter_leaves_the_child() {
    let _dog = Watchdog::new("cancel");
    for io in backends() {
        runtime(io, 1).run(|| {
            let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
            let stdin: OwnedFd = child.stdin.take().unwrap().into();
            coroutine::scope(|scope| {
                let waiter = scope.spawn_local(|| child.wait());
                until_waits(&waiter);
                waiter.cancel();
                assert!(waiter.join().is_err());
            });
            assert!(child.try_wait().unwrap().is_none());
            drop(stdin);
            assert!(child.wait().unwrap().success());
            let (input, end) = std::io::pipe().unwrap();
            let lost = coroutine::spawn_local(|| Command::new("cat").stdin(input).output());
            until_in(&lost, "poll");
            cancel_and_join(lost);
            drop(end);
        });
    }
}

fn until_waits<T>(waiter: &coroutine::ScopedJoinHandle<'_, T>) {
    while !waiter.is_finished() && coroutine::enumerate().iter().all(|c| !waits(c)) {
        coroutine::yield_now();
    }
}

fn waits(coroutine: &coroutine::Info) -> bool {
    coroutine.state == coroutine::State::Blocked
        && coroutine.last_wait.is_some_and(|wait| wait.what == "poll")
}

#[bingfa::test]
fn a_timeout_ends_the_wait_on_any_carrier() {
    let _dog = Watchdog::new("timeout");
    let sleeper = || -> Child {
        Command::new("sleep")
            .arg(LONG.as_secs().to_string())
            .spawn()
            .unwrap()
    };
    let mut child = sleeper();
    assert!(time::timeout(SHORT, || child.wait()).is_err());
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().to_string(), "signal: 9 (SIGKILL)");

    let mut talker = shell("exec sleep 3600")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = talker.stdout.take().unwrap();
    assert!(time::timeout(SHORT, || out.read(&mut [0])).is_err());
    talker.kill().unwrap();
    talker.wait().unwrap();
}

/// Pipes to functions, as to programs.
#[bingfa::test]
fn a_function_has_pipes_too() {
    let _dog = Watchdog::new("function");
    for method in [StartMethod::Zygote, StartMethod::Exec] {
        let mut child = Builder::new()
            .start_method(method)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn((), |()| {
                eprintln!("nobody reads this");
                let mut count = 0;
                for line in std::io::stdin().lines() {
                    println!("{}", line.unwrap().to_uppercase());
                    count += 1;
                }
                count
            })
            .unwrap();
        let mut to = child.stdin.take().unwrap();
        let mut from = BufReader::new(child.stdout.take().unwrap());
        for word in ["one", "two"] {
            writeln!(to, "{word}").unwrap();
            let mut line = String::new();
            from.read_line(&mut line).unwrap();
            assert_eq!(line.trim(), word.to_uppercase());
        }
        child.stdin = Some(to); // `join` closes it
        assert_eq!(child.join().unwrap(), 2);
    }
}
