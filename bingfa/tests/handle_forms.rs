//! The rarer forms of handles: those of scopes as arms of a select, builders in scopes,
//! coroutine-locals by their shortcuts, unwind safety, printing; and the queues and sockets'
//! methods that no other test is about.

mod common;

use std::cell::{Cell, RefCell};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Instant;

use bingfa::coroutine::{self, Builder, State};
use bingfa::io::IsTerminal;
use bingfa::queue::{GetError, Select, SimpleQueue};
use bingfa::sync::{self, Event, mpsc};
use bingfa::{net, select, thread};

use common::{Flag, LONG, SHORT, assert_well, block_on, in_child, on_one_thread, until};

#[bingfa::test]
fn handles_of_scopes_are_arms() {
    let go_on = Event::new();
    thread::scope(|s| {
        let mut fast = s.spawn(|| 1);
        let mut slow = s.spawn(|| go_on.wait());
        select! {
            wait(fast) => {},
            wait(slow) => unreachable!(),
        }
        assert_eq!(fast.join().unwrap(), 1);
        let late = select! { wait(slow) => false, timeout(SHORT) => true };
        assert!(late);
        go_on.set();
        assert_eq!(Select::new().arm(&mut slow).wait(), 0);
        slow.join().unwrap();
    });
    go_on.clear();
    coroutine::scope(|s| {
        let mut fast = s.spawn(|| 1);
        let mut slow = s.spawn(|| go_on.wait());
        select! {
            wait(slow) => unreachable!(),
            wait(fast) => {},
        }
        assert_eq!(fast.join().unwrap(), 1);
        assert_eq!(Select::new().arm(&mut slow).try_now(), None);
        let late = select! { wait(slow) => false, timeout(SHORT) => true };
        assert!(late);
        go_on.set();
        assert_eq!(Select::new().arm(&mut slow).wait_timeout(LONG), Some(0));
        slow.join().unwrap();
    });
}

#[bingfa::test]
fn a_scoped_coroutine_that_ends_wakes_the_select() {
    let go_on = Event::new();
    coroutine::scope(|s| {
        let mut ends = s.spawn(|| go_on.wait());
        let never = SimpleQueue::<()>::new();
        let waker = s.spawn(|| go_on.set());
        select! {
            get(never) -> _ => unreachable!(),
            wait(ends) => {},
        }
        assert!(ends.is_finished());
        waker.join().unwrap();
    });
}

#[bingfa::test]
fn events_are_arms_of_the_macro() {
    let (stop, jobs) = (Event::new(), SimpleQueue::new());
    let what = select! {
        arm(stop.wait_async()) => "stop",
        get(jobs) -> job => job.unwrap(),
        timeout(SHORT) => "nothing",
    };
    assert_eq!(what, "nothing");
    jobs.put("job").unwrap();
    let what = select! {
        arm(stop.wait_async()) => "stop",
        get(jobs) -> job => job.unwrap(),
    };
    assert_eq!(what, "job");
    coroutine::scope(|s| {
        s.spawn(|| stop.set());
        let what = select! {
            get(jobs) -> _ => unreachable!(),
            arm(stop.wait_async()) => "stop",
        };
        assert_eq!(what, "stop");
    });
}

#[bingfa::test]
fn a_builder_spawns_in_a_scope() {
    let numbers = [1, 2, 3];
    coroutine::scope(|s| {
        let park = Builder::new()
            .name("parks")
            .priority(7)
            .spawn_scoped(s, || {
                assert_eq!(coroutine::current().name(), Some("parks"));
                coroutine::park();
                numbers.iter().sum::<i32>()
            });
        let park = park.unwrap();
        assert_eq!(park.name(), Some("parks"));
        assert_eq!(park.id(), park.coroutine().id());
        until(|| park.state() == State::Blocked);
        park.unpark();
        assert_eq!(park.join().unwrap(), 6);

        let deep = Builder::new().stack_size(16 << 20).spawn_scoped(s, || {
            let bytes = std::hint::black_box([1u8; 1 << 20]);
            bytes.iter().map(|&byte| usize::from(byte)).sum::<usize>()
        });
        assert_eq!(deep.unwrap().join().unwrap(), 1 << 20);

        let refused = Builder::new().priority(8).spawn_scoped(s, || ());
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    }); // which does not wait for the one that was refused
}

bingfa::coroutine_local! {
    static DEPTH: Cell<u32> = Cell::new(1);
    static NAMES: RefCell<Vec<&'static str>> = RefCell::new(vec!["first"]);
}

#[bingfa::test]
fn coroutine_locals_have_std_s_shortcuts() {
    let of_another = || {
        coroutine::spawn(|| (DEPTH.get(), NAMES.with_borrow(Vec::len)))
            .join()
            .unwrap()
    };
    DEPTH.set(5);
    assert_eq!(DEPTH.replace(6), 5);
    assert_eq!((DEPTH.take(), DEPTH.get()), (6, 0));
    NAMES.with_borrow_mut(|names| {
        names.push("second");
        assert_eq!(of_another(), (1, 1)); // waits, and finds nothing borrowed
    });
    assert_eq!(NAMES.replace(vec!["third"]), ["first", "second"]);
    assert_eq!(NAMES.take(), ["third"]);
    NAMES.set(vec!["fourth"]);
    assert_eq!(NAMES.try_with(|names| names.borrow().len()), Ok(1));
}

#[test]
fn a_coroutine_local_of_a_thread_that_ends_is_an_error_and_no_abort() {
    struct AtTheEnd(Flag);
    impl Drop for AtTheEnd {
        fn drop(&mut self) {
            // Before or after the thread has dropped its own; that is not for us to say.
            let _ = DEPTH.try_with(Cell::get);
            self.0.set();
        }
    }
    thread_local! {
        static END: RefCell<Option<AtTheEnd>> = const { RefCell::new(None) };
    }
    let ended = Flag::new();
    let other = ended.clone();
    thread::spawn(move || {
        END.replace(Some(AtTheEnd(other)));
        DEPTH.set(2);
    })
    .join()
    .unwrap();
    until(|| ended.is_set());
}

#[test]
fn what_may_cross_a_catch_unwind() {
    type NotSafe = Cell<u8>;
    fn both<T: UnwindSafe + RefUnwindSafe>() {}
    fn shared<T: RefUnwindSafe>() {}
    // As std's.
    both::<mpsc::Sender<NotSafe>>();
    both::<mpsc::SyncSender<NotSafe>>();
    both::<mpsc::Receiver<NotSafe>>();
    both::<mpsc::Iter<'_, NotSafe>>();
    both::<mpsc::TryIter<'_, NotSafe>>();
    both::<mpsc::IntoIter<NotSafe>>();
    shared::<thread::Scope<'_, '_>>();
    both::<thread::Thread>();
    both::<sync::Mutex<NotSafe>>();
    both::<sync::RwLock<NotSafe>>();
    both::<sync::Once>();
    // More than std's.
    both::<thread::JoinHandle<NotSafe>>();
    both::<thread::ScopedJoinHandle<'_, NotSafe>>();
    both::<coroutine::JoinHandle<NotSafe>>();
    both::<coroutine::ScopedJoinHandle<'_, NotSafe>>();
    shared::<coroutine::Scope<'_, '_>>();
}

#[bingfa::test]
fn a_simple_queue_in_all_its_forms() {
    let queue = SimpleQueue::new();
    assert_eq!(queue.get_timeout(SHORT), Err(GetError::Empty));
    assert_eq!(queue.get_deadline(Instant::now()), Err(GetError::Empty));
    for n in 0..6 {
        queue.put(n).unwrap();
    }
    assert_eq!(queue.get_timeout(LONG), Ok(0));
    assert_eq!(queue.get_deadline(Instant::now() + LONG), Ok(1));
    assert_eq!(block_on(queue.get_async()), Ok(2));
    assert_eq!(queue.try_iter().collect::<Vec<_>>(), [3, 4, 5]);
    assert_eq!(queue.try_iter().next(), None);
    queue.close();
    assert_eq!(queue.get_timeout(LONG), Err(GetError::Closed));
    assert_eq!(
        queue.get_deadline(Instant::now() + LONG),
        Err(GetError::Closed)
    );
    assert!(block_on(queue.get_async()).is_err());
}

#[bingfa::test]
#[allow(deprecated)]
fn only_v6_is_as_in_std() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let (Ok(ours), Ok(stds)) = (
            net::TcpListener::bind(address),
            std::net::TcpListener::bind(address),
        ) else {
            continue; // a machine without IPv6
        };
        let errno = |error: std::io::Error| error.raw_os_error();
        assert_eq!(ours.only_v6().map_err(errno), stds.only_v6().map_err(errno));
        assert_eq!(
            ours.set_only_v6(true).map_err(errno),
            stds.set_only_v6(true).map_err(errno)
        );
    }
}

#[bingfa::test]
fn stdin_knows_whether_it_is_a_terminal() {
    let (ours, stds) = (bingfa::io::stdin(), std::io::stdin());
    assert_eq!(ours.is_terminal(), stds.is_terminal());
    assert_eq!(ours.lock().is_terminal(), stds.is_terminal());
}

#[test]
fn coroutines_of_one_worker_may_print_at_once() {
    const LINES: usize = 200;
    let name = "coroutines_of_one_worker_may_print_at_once";
    let output = in_child(name, &[], || {
        println!(); // after what the test's harness has said
        on_one_thread(|| {
            let printers: Vec<_> = ["a", "b"]
                .map(|who| {
                    coroutine::spawn_local(move || {
                        for n in 0..LINES {
                            print!("[{who} {n} ");
                            println!("{}]", who.repeat(n)); // no wait in between
                            coroutine::yield_now();
                        }
                    })
                })
                .into();
            coroutine::join_all(printers).unwrap();
            // Held across a wait it is not in the way of others on this thread.
            let held = std::io::stdout().lock();
            coroutine::spawn_local(|| println!("[held]"))
                .join()
                .unwrap();
            drop(held);
        });
    });
    let Some(output) = output else { return };
    assert_well(&output);
    let text = String::from_utf8(output.stdout).unwrap();
    let runs = text.lines().filter(|line| *line == "[held]").count();
    assert!(runs > 0);
    for who in ["a", "b"] {
        for n in 0..LINES {
            let line = format!("[{who} {n} {}]", who.repeat(n));
            assert_eq!(text.lines().filter(|l| *l == line).count(), runs, "{line}");
        }
    }
}

#[bingfa::test]
fn threads_have_the_operating_system_s_handle() {
    use bingfa::os::unix::thread::JoinHandleExt;

    // SAFETY: nothing is asked of the caller.
    let own = || unsafe { libc::pthread_self() };
    let named = thread::spawn(move || {
        thread::park();
        own()
    });
    let known = named.as_pthread_t();
    named.thread().unpark();
    assert_eq!(named.join().unwrap(), known);

    let native = thread::spawn(|| ()).into_pthread_t();
    // SAFETY: the right to join it came with it.
    let joined = unsafe { libc::pthread_join(native, std::ptr::null_mut()) };
    assert_eq!(joined, 0);
}
