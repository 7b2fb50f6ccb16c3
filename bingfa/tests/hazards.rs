//! What must not wait in a coroutine, and that `BINGFA_CHECK` finds it.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::time::Duration;

use bingfa::{Runtime, coroutine, net, thread, time};

const SHORT: Duration = Duration::from_millis(1);

std::thread_local! {
    static LAZY: String = {
        thread::sleep(SHORT);
        "made".to_string()
    };
    static LAZY_WITHOUT_DROP: u32 = {
        coroutine::yield_now();
        5
    };
    static CONST: Cell<u32> = const { Cell::new(1) };
}

scoped_tls::scoped_thread_local!(static SCOPED: u32);

/// Runs `f` as a checked coroutine and gives back the message of its panic.
fn panic_in_a_coroutine(f: impl FnOnce()) -> String {
    let caught = bingfa::__private::test_on_coroutine(|| catch_unwind(AssertUnwindSafe(f)));
    match caught {
        Ok(()) => "no panic".into(),
        Err(payload) => *payload.downcast::<String>().expect("a message"),
    }
}

#[test]
fn a_wait_in_the_initialiser_of_a_lazy_thread_local() {
    let message = panic_in_a_coroutine(|| LAZY.with(|_| ()));
    assert!(message.contains("lazy"), "{message}");
    assert!(message.contains("Use bingfa::thread_local!"), "{message}");
    let message = panic_in_a_coroutine(|| LAZY_WITHOUT_DROP.with(|_| ()));
    assert!(message.contains("Use bingfa::thread_local!"), "{message}");
}

#[test]
fn a_wait_under_a_scoped_thread_local() {
    let message = panic_in_a_coroutine(|| SCOPED.set(&1, || thread::sleep(SHORT)));
    assert!(message.contains("ScopedKey"), "{message}");
    assert!(message.contains("coroutine_local!"), "{message}");
}

#[test]
fn every_kind_of_wait_is_looked_at() {
    let waits: [(&str, fn()); 7] = [
        ("sleep", || thread::sleep(SHORT)),
        ("yield", coroutine::yield_now),
        ("park", || thread::park_timeout(SHORT)),
        ("join", || thread::spawn(|| ()).join().unwrap()),
        ("coroutine scope", || coroutine::scope(|_| ())),
        ("thread scope", || thread::scope(|_| ())),
        ("accept", || {
            let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
            let _ = time::timeout(SHORT, || listener.accept());
        }),
    ];
    for (name, wait) in waits {
        // Joining waits only if the thread has not ended yet: try until it has to.
        let message = (0..1000)
            .map(|_| panic_in_a_coroutine(|| SCOPED.set(&1, wait)))
            .find(|message| message != "no panic");
        let message = message.unwrap_or_else(|| panic!("{name} is not looked at"));
        assert!(message.contains("ScopedKey"), "{name}: {message}");
    }
}

#[test]
fn the_check_leaves_no_wait_half_set_up() {
    bingfa::__private::test_on_coroutine(|| {
        for _ in 0..10 {
            let caught = catch_unwind(|| {
                SCOPED.set(&1, || time::timeout(SHORT, || thread::sleep(SHORT * 100)))
            });
            assert!(caught.is_err());
            // A timer or a token of the one above would end these too early.
            assert!(time::timeout(SHORT * 100, || thread::sleep(SHORT * 5)).is_ok());
        }
    });
}

#[test]
fn what_does_not_wait_or_is_not_lazy_is_fine() {
    let message = panic_in_a_coroutine(|| {
        CONST.with(|cell| {
            thread::sleep(SHORT);
            cell.set(2);
        });
        SCOPED.set(&1, || SCOPED.with(|value| assert_eq!(*value, 1)));
        thread::sleep(SHORT);
        // On a plain thread both are harmless.
        let plain = thread::spawn(|| {
            SCOPED.set(&1, || thread::sleep(SHORT));
            LAZY.with(String::len)
        });
        assert_eq!(plain.join().unwrap(), 4);
    });
    assert_eq!(message, "no panic");
}

#[test]
fn the_twin_of_thread_local_may_wait() {
    bingfa::thread_local! {
        static GUARDED: String = {
            thread::sleep(SHORT);
            "made".to_string()
        };
    }
    bingfa::coroutine_local! {
        static OWN: String = {
            thread::sleep(SHORT);
            "made".to_string()
        };
    }
    let message = panic_in_a_coroutine(|| {
        assert_eq!(GUARDED.with(String::len), 4);
        GUARDED.with(|_| thread::sleep(SHORT));
        assert_eq!(OWN.with(String::len), 4);
    });
    assert_eq!(message, "no panic");
}

/// Coroutines that a checked one spawns are checked, too, wherever they run.
#[bingfa::test]
fn children_are_checked() {
    let child = coroutine::spawn(|| SCOPED.set(&1, || thread::sleep(SHORT)));
    assert!(child.join().is_err());
}

const CHILD: &str = "BINGFA_TEST_CHILD";

/// Not a test of its own: what the children below run.
#[test]
fn child() {
    if std::env::var_os(CHILD).is_some() {
        let caught = bingfa::run(|| catch_unwind(|| SCOPED.set(&1, || thread::sleep(SHORT))));
        println!("found: {}", caught.is_err());
    }
}

/// Not a test of its own, either: coroutines that wait, the first in their process.
#[test]
fn waiting_child() {
    if std::env::var_os(CHILD).is_some() {
        let builder = Runtime::builder().workers(2).hog_threshold(40 * SHORT);
        let runtime = builder.build().unwrap();
        let wait = || thread::sleep(SHORT);
        let both = [runtime.spawn(wait), runtime.spawn(wait)];
        coroutine::join_all(both).unwrap();
    }
}

/// The first to wait reads the symbols of this whole program, which takes longer than 40 ms, and
/// the second waits for that.
#[test]
fn the_work_of_the_check_is_not_blamed_on_a_coroutine() {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["waiting_child", "--exact", "--nocapture"])
        .env(CHILD, "1")
        .env("BINGFA_CHECK", "1");
    let output = command.output().unwrap();
    assert!(output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("held its worker"), "{said}");
}

#[test]
fn the_environment_decides() {
    let found = |check: Option<&str>| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["child", "--exact", "--nocapture"])
            .env(CHILD, "1");
        match check {
            Some(value) => command.env("BINGFA_CHECK", value),
            None => command.env_remove("BINGFA_CHECK"),
        };
        let output = command.output().unwrap();
        String::from_utf8_lossy(&output.stdout).contains("found: true")
    };
    assert!(found(Some("1")));
    assert!(!found(Some("0")));
    assert_eq!(found(None), cfg!(debug_assertions));
}
