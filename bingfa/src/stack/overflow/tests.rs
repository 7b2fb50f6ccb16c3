//! Overflows happen in a child: this test binary again, told by a variable which one.

use std::hint::black_box;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};
use std::{env, ptr, thread};

use corosensei::Coroutine;

use super::install_overflow_handler;
use crate::stack::{GuardPages, Owner, Stack, StackPool, ensure_alt_stack};
use crate::sys::signal::{kill_with_segv, on_foreign_thread};

const CASE: &str = "BINGFA_TEST_OVERFLOW_CASE";
const SIGABRT: i32 = 6;
const SIGSEGV: i32 = 11;

/// Runs `case` in a child that is to die of `signal`, and returns its standard error.
fn dies(case: &str, signal: i32) -> String {
    let this_module = module_path!().split_once("::").unwrap().1;
    let Output { status, stderr, .. } = Command::new(env::current_exe().unwrap())
        .args(["--exact", &format!("{this_module}::child"), "--nocapture"])
        .env(CASE, case)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&stderr).into_owned();
    assert_eq!(
        status.signal(),
        Some(signal),
        "{case}: {status}, stderr: {stderr}"
    );
    stderr
}

#[test]
fn child() {
    let Ok(case) = env::var(CASE) else {
        return;
    };
    install_overflow_handler();
    install_overflow_handler();
    match case.as_str() {
        "recursion" => on_coroutine(GuardPages::Auto, 256, Some("worker-42"), recurse),
        "recursion-protect" => on_coroutine(GuardPages::Protect, 16, Some("worker-42"), recurse),
        "large-frame" => on_coroutine(GuardPages::Auto, 64, Some("parser"), large_frame),
        "unnamed" => on_coroutine(GuardPages::Auto, 16, None, recurse),
        "plain-thread" => thread::Builder::new()
            .name("plain".into())
            .spawn(recurse)
            .unwrap()
            .join()
            .unwrap(),
        "foreign-thread" => on_foreign_thread(|| {
            let _alt_stack = ensure_alt_stack();
            on_coroutine(GuardPages::Auto, 64, Some("guest"), recurse);
        }),
        "bad-pointer" => bad_access(),
        "bad-pointer-on-coroutine" => on_coroutine(GuardPages::Auto, 64, Some("x"), bad_access),
        "stray-pointer-into-a-guard" => stray_access(),
        "kill" => kill_with_segv(),
        other => panic!("no such case: {other}"),
    }
    unreachable!("the child was to die");
}

fn on_coroutine(guard: GuardPages, kib: usize, name: Option<&'static str>, body: fn()) {
    let mut pool = StackPool::new(guard).unwrap();
    // The second slot: then the first one lies below the guard, to be told apart from it.
    let _first = pool.take(kib * 1024).unwrap();
    let stack = pool.take(kib * 1024).unwrap();
    let name = name.unwrap_or_default();
    let owner = Owner {
        id: 7,
        name_ptr: name.as_ptr(),
        name_len: name.len(),
    };
    // SAFETY: the owner lives in this frame, which waits below for the coroutine's end.
    unsafe { stack.set_owner(&owner) };
    Coroutine::<(), (), (), Stack>::with_stack(stack, move |_, ()| body()).resume(());
}

fn recurse() {
    #[inline(never)]
    #[allow(unconditional_recursion)]
    fn deeper(depth: u64) -> u64 {
        let frame = black_box([depth; 16]);
        deeper(depth + 1) + black_box(&frame)[0]
    }
    black_box(deeper(0));
}

#[inline(never)]
fn large_frame() {
    black_box(&black_box([1u8; 100 * 1024]));
}

fn bad_access() {
    // SAFETY: none: this is to fault.
    unsafe { ptr::without_provenance_mut::<u8>(16).write_volatile(1) }
}

fn stray_access() {
    use corosensei::stack::Stack as _;
    let stack = StackPool::new(GuardPages::Auto).unwrap().take(1).unwrap();
    // SAFETY: none: this is to fault.
    unsafe { ptr::with_exposed_provenance_mut::<u8>(stack.limit().get()).write_volatile(1) }
}

fn report(name: &str, kib: u32) -> String {
    format!(
        "\nbingfa: coroutine '{name}' (id 7) overflowed its {kib} KiB stack; give it more with \
         coroutine::Builder::stack_size or Runtime::builder().stack_size\n"
    )
}

#[test]
fn endless_recursion_is_reported_with_the_name() {
    let stderr = dies("recursion", SIGABRT);
    assert!(stderr.contains(&report("worker-42", 256)), "{stderr}");
    let stderr = dies("recursion-protect", SIGABRT);
    assert!(stderr.contains(&report("worker-42", 16)), "{stderr}");
}

#[test]
fn one_frame_larger_than_the_stack_is_reported() {
    let stderr = dies("large-frame", SIGABRT);
    assert!(stderr.contains(&report("parser", 64)), "{stderr}");
}

#[test]
fn a_coroutine_without_a_name_is_reported_too() {
    let stderr = dies("unnamed", SIGABRT);
    assert!(stderr.contains(&report("<unnamed>", 16)), "{stderr}");
}

#[test]
fn std_still_reports_its_own_threads() {
    let stderr = dies("plain-thread", SIGABRT);
    assert!(stderr.contains("thread 'plain'"), "{stderr}");
    assert!(stderr.contains("has overflowed its stack"), "{stderr}");
    assert!(!stderr.contains("bingfa:"), "{stderr}");
}

#[test]
fn a_foreign_thread_with_an_alternate_stack_is_reported() {
    let stderr = dies("foreign-thread", SIGABRT);
    assert!(stderr.contains(&report("guest", 64)), "{stderr}");
}

#[test]
fn other_faults_stay_what_they_are() {
    for case in [
        "bad-pointer",
        "bad-pointer-on-coroutine",
        "stray-pointer-into-a-guard",
        "kill",
    ] {
        let stderr = dies(case, SIGSEGV);
        assert!(!stderr.contains("overflowed"), "{case}: {stderr}");
    }
}
