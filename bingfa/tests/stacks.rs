//! Stacks: many, none left, overflown, of any size.

mod common;

use std::hint::black_box;
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use bingfa::coroutine::{self, Builder};
use bingfa::{GuardPages, Runtime};
use common::{Flag, assert_well, in_child, on_both, stderr, until};

#[test]
fn both_kinds_of_guard_carry_thousands() {
    for kind in [GuardPages::Protect, GuardPages::Install, GuardPages::Auto] {
        let builder = Runtime::builder().workers(2).guard_pages(kind);
        let runtime = match builder.build() {
            Ok(runtime) => runtime,
            Err(error) => {
                assert_eq!(kind, GuardPages::Install, "{error}");
                assert!(error.to_string().contains("6.13"), "{error}");
                continue;
            }
        };
        assert_ne!(runtime.info().guard_pages, GuardPages::Auto);
        for _ in 0..2 {
            let go = Flag::new();
            let alive = Arc::new(AtomicUsize::new(0));
            let all: Vec<_> = (0..2000)
                .map(|i: usize| {
                    let alive = alive.clone();
                    runtime.spawn(move || {
                        let deep = [i as u8; 4000];
                        alive.fetch_add(1, SeqCst);
                        coroutine::park();
                        assert!(black_box(&deep).iter().all(|&b| b == i as u8));
                        1
                    })
                })
                .collect();
            until(|| alive.load(SeqCst) == 2000);
            go.set();
            all.iter().for_each(|one| one.unpark());
            assert_eq!(coroutine::join_all(all).unwrap().len(), 2000);
        }
    }
}

#[test]
fn out_of_stacks_is_an_error_at_the_join_that_says_why() {
    let name = "out_of_stacks_is_an_error_at_the_join_that_says_why";
    let output = in_child(name, &[("BINGFA_CHECK", "0")], || {
        let builder = Runtime::builder()
            .workers(1)
            .guard_pages(GuardPages::Protect);
        let runtime = builder.stack_size(16 << 10).build().unwrap();
        let limit: usize = std::fs::read_to_string("/proc/sys/vm/max_map_count")
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        let many = limit / 2; // two mappings each, so all of them are too many
        let all: Vec<_> = (0..many).map(|_| runtime.spawn(coroutine::park)).collect();
        for one in &all {
            until(|| one.is_finished() || one.state() == coroutine::State::Blocked);
        }
        assert!(
            all.iter().any(|one| one.is_finished()),
            "the limit was reached"
        );
        let running = all.iter().filter(|one| !one.is_finished()).count();
        // Those that run are not harmed, and room that they give back is used again.
        let mut unharmed = 0;
        for one in all {
            one.unpark();
            if let Err(payload) = one.join() {
                let message = payload.downcast::<String>().unwrap();
                assert!(message.contains("could not start"), "{message}");
                assert!(message.contains("vm.max_map_count"), "{message}");
            } else {
                unharmed += 1;
            }
        }
        assert_eq!(unharmed, running);
        assert_eq!(runtime.spawn(|| 1).join().unwrap(), 1);
    });
    let Some(output) = output else { return };
    assert_well(&output);
    assert!(stderr(&output).contains("could not start: no more coroutine stacks"));
}

#[inline(never)]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    if depth == u64::MAX {
        return 0;
    }
    1 + recurse(depth + 1) + black_box(frame)[3]
}

#[test]
fn an_overflow_names_the_coroutine_and_aborts() {
    let name = "an_overflow_names_the_coroutine_and_aborts";
    for place in ["worker", "run", "pthread", "sized"] {
        let output = in_child(name, &[("TEST_PLACE", place)], || {
            let deep = Builder::new().name("deep");
            match std::env::var("TEST_PLACE").unwrap().as_str() {
                "worker" => drop(deep.spawn(|| recurse(0)).unwrap().join()),
                "run" => drop(bingfa::run(|| {
                    deep.spawn_local(|| recurse(0)).unwrap().join()
                })),
                "pthread" => on_foreign_thread(|| {
                    drop(bingfa::run(|| {
                        Builder::new()
                            .name("deep")
                            .spawn_local(|| recurse(0))
                            .unwrap()
                            .join()
                    }));
                }),
                _ => drop(
                    deep.stack_size(64 << 10)
                        .spawn(|| recurse(0))
                        .unwrap()
                        .join(),
                ),
            }
        });
        let Some(output) = output else { return };
        let text = stderr(&output);
        assert_eq!(
            output.status.signal(),
            Some(libc::SIGABRT),
            "{place}: {text}"
        );
        assert!(text.contains("coroutine 'deep' (id "), "{place}: {text}");
        let size = match place {
            "sized" => 64,
            _ if cfg!(debug_assertions) => 1024,
            _ => 256,
        };
        assert!(
            text.contains(&format!("overflowed its {size} KiB stack")),
            "{place}: {text}"
        );
        assert!(text.contains("Builder::stack_size"), "{place}: {text}");
    }
}

/// Runs `f` on a thread that std has not made, so that it has no alternate signal stack.
fn on_foreign_thread(f: fn()) {
    extern "C" fn start(f: *mut libc::c_void) -> *mut libc::c_void {
        // SAFETY: what was passed below.
        let f: fn() = unsafe { std::mem::transmute(f) };
        f();
        std::ptr::null_mut()
    }
    // SAFETY: `start` fits; the thread is joined before this returns.
    unsafe {
        let mut thread = std::mem::zeroed();
        let arg = f as *mut libc::c_void;
        assert_eq!(
            libc::pthread_create(&mut thread, std::ptr::null(), start, arg),
            0
        );
        libc::pthread_join(thread, std::ptr::null_mut());
    }
}

#[test]
fn stacks_of_any_size_work_side_by_side() {
    on_both(|| {
        let all: Vec<_> = [1, 16 << 10, 100_000, 1 << 20, 8 << 20, 64 << 20]
            .into_iter()
            .map(|size| {
                let body = move || {
                    // Uses half of what it asked for.
                    fn fill(left: usize) -> usize {
                        let page = black_box([1u8; 1024]);
                        match left.checked_sub(4096) {
                            Some(rest) => fill(rest) + usize::from(page[7]),
                            None => 0,
                        }
                    }
                    fill(size / 2)
                };
                Builder::new().stack_size(size).spawn(body).unwrap()
            })
            .collect();
        coroutine::join_all(all).unwrap();
    });
    let error = Builder::new()
        .stack_size(usize::MAX)
        .spawn(|| ())
        .unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    // An absurd size that is allowed may still be refused by the system: then at the join.
    let huge = Builder::new()
        .stack_size(1 << 36)
        .spawn(|| 1)
        .unwrap()
        .join();
    if let Err(payload) = huge {
        let message = payload.downcast::<String>().unwrap();
        assert!(message.contains("could not start"), "{message}");
    }
}
