//! `#[bingfa::main]` and `#[bingfa::test]`.

use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

#[bingfa::test]
fn it_has_a_test_per_carrier() {
    let name = std::thread::current()
        .name()
        .unwrap_or_default()
        .to_string();
    if name.ends_with("on_coroutine") {
        assert!(bingfa::coroutine::is_coroutine());
    } else {
        assert!(name.ends_with("on_thread"), "{name}");
        assert!(!bingfa::coroutine::is_coroutine());
    }
}

#[bingfa::test]
#[should_panic(expected = "as it should")]
fn should_panic_works() {
    panic!("as it should");
}

static IGNORED: AtomicUsize = AtomicUsize::new(0);

#[bingfa::test]
#[ignore = "never run: that is the test"]
fn ignore_works() {
    IGNORED.fetch_add(1, SeqCst);
}

#[bingfa::test]
fn results_work() -> Result<(), Box<dyn std::error::Error>> {
    assert_eq!(IGNORED.load(SeqCst), 0);
    let four: u32 = "4".parse()?;
    bingfa::thread::sleep(std::time::Duration::from_millis(1));
    (four == 4).then_some(()).ok_or_else(|| "not four".into())
}

#[bingfa::test]
#[cfg(any())]
fn cfg_works() {
    there_is_no_such_function();
}

mod items {
    pub(super) struct Private;
}
use items::Private;

#[bingfa::test]
fn the_body_sees_what_stands_around_it() -> Result<(), std::fmt::Error> {
    let _: self::Private = items::Private;
    Ok(())
}

/// Each in a module of its own, as a binary would have them; run in a child process.
mod mains {
    pub(super) mod plain {
        #[bingfa::main]
        pub(in super::super) fn main() {
            assert_eq!(bingfa::coroutine::current().name(), Some("main"));
            let child = bingfa::coroutine::spawn_local(|| "ran");
            println!("plain {}", child.join().unwrap());
        }
    }

    pub(super) mod configured {
        const WORKERS: usize = 1;

        #[bingfa::main(
            workers = WORKERS + 1,
            stack_size = 64 << 10,
            policy = Mlfq,
            io = Epoll,
            name = "configured",
        )]
        pub(in super::super) fn main() -> std::process::ExitCode {
            println!("{}", bingfa::runtime_info());
            std::process::ExitCode::from(3)
        }
    }

    pub(super) mod failing {
        #[bingfa::main]
        pub(in super::super) fn main() -> Result<(), String> {
            Err("it did not work".into())
        }
    }

    pub(super) mod impossible {
        #[bingfa::main(workers = 0)]
        pub(in super::super) fn main() {
            println!("ran");
        }
    }

    pub(super) mod deep {
        #[bingfa::main]
        pub(in super::super) fn main() {
            // As much stack as a main thread has by default: 8 MiB.
            let array = [1_u8; 6 << 20];
            println!("{}", std::hint::black_box(&array).len());
        }
    }

    pub(super) mod diverging {
        #[bingfa::main]
        pub(in super::super) fn main() -> ! {
            std::process::exit(4)
        }
    }
}

const MAIN: &str = "BINGFA_TEST_MAIN";

/// Not a test of its own: what the children run.
#[test]
fn child() -> std::process::ExitCode {
    use std::process::{ExitCode, Termination};
    match std::env::var(MAIN).as_deref() {
        Ok("plain") => mains::plain::main(),
        Ok("configured") => exit(mains::configured::main()),
        Ok("failing") => exit(mains::failing::main().report()),
        Ok("impossible") => mains::impossible::main(),
        Ok("deep") => mains::deep::main(),
        Ok("diverging") => mains::diverging::main(),
        _ => {}
    }
    ExitCode::SUCCESS
}

/// Ends the child with `code`, of which the test harness would make 101 or 0.
fn exit(code: std::process::ExitCode) -> ! {
    let same = |n: &u8| std::process::ExitCode::from(*n) == code;
    std::process::exit((0..=255).find(same).map_or(-1, i32::from))
}

fn run(name: &str) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture", "--test-threads=1"])
        .env(MAIN, name)
        .env_remove("BINGFA_IO")
        .env_remove("BINGFA_WORKERS")
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn main_runs_as_a_coroutine() {
    let output = run("plain");
    assert!(output.status.success());
    assert!(stdout(&output).contains("plain ran"), "{output:?}");
}

#[test]
fn main_s_arguments_set_up_the_runtime() {
    let output = run("configured");
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let info = stdout(&output);
    for part in ["'configured'", "2 workers", "epoll", "Mlfq", "64 KiB"] {
        assert!(info.contains(part), "{part} is not in {info}");
    }
}

#[test]
fn main_s_error_is_reported_as_std_does() {
    let output = run("failing");
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("it did not work"), "{stderr}");
}

#[test]
fn a_runtime_that_cannot_start_is_exit_status_1_and_a_reason() {
    let output = run("impossible");
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("0 workers"), "{stderr}");
    assert!(!stdout(&output).contains("\nran"), "{output:?}");
}

#[test]
fn main_has_a_main_thread_s_stack() {
    let output = run("deep");
    assert!(stdout(&output).contains("6291456"), "{output:?}");
}

#[test]
fn main_may_diverge() {
    assert_eq!(run("diverging").status.code(), Some(4));
}

#[test]
fn mistakes_are_errors_at_the_token_that_is_wrong() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
