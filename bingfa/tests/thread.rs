//! `bingfa::thread` as std's, from both carriers.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use bingfa::thread::{self, Builder, JoinHandle, LocalKey, ScopedJoinHandle, State};
use bingfa::{coroutine, time};

const LONG: Duration = Duration::from_secs(3600);
/// For waits that are to end by themselves: long enough for any machine.
const WATCHDOG: Duration = Duration::from_secs(60);

fn message(payload: &(dyn std::any::Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .expect("a message")
}

fn wait_for(condition: impl Fn() -> bool) {
    let until = Instant::now() + WATCHDOG;
    while !condition() {
        assert!(Instant::now() < until, "it never happened");
        thread::yield_now();
        std::thread::sleep(Duration::from_micros(100));
    }
}

#[bingfa::test]
fn spawn_makes_a_thread_and_join_gives_its_result() {
    let here = std::thread::current().id();
    let handle = thread::spawn(move || {
        assert!(!coroutine::is_coroutine());
        assert_ne!(std::thread::current().id(), here);
        42
    });
    assert_eq!(handle.join().unwrap(), 42);
}

#[bingfa::test]
fn join_gives_the_payload_of_a_panic() {
    let payload = thread::spawn(|| panic!("as told")).join().unwrap_err();
    assert_eq!(message(&*payload), "as told");
    let payload = thread::spawn(|| std::panic::panic_any(7_u8))
        .join()
        .unwrap_err();
    assert_eq!(*payload.downcast::<u8>().unwrap(), 7);
}

#[test]
fn joining_from_a_coroutine_suspends_only_that_one() {
    let (go, gate) = mpsc::channel::<()>();
    let done = bingfa::run(move || {
        let slow = thread::spawn(move || gate.recv().unwrap());
        // On the same worker: it runs only if the join below does not block the thread.
        let opener = coroutine::spawn_local(move || go.send(()).unwrap());
        let slow = slow.join();
        opener.join().unwrap();
        slow
    });
    done.unwrap();
}

#[test]
fn on_a_plain_thread_join_waits_for_thread_locals() {
    struct Slow(Cell<Option<Arc<AtomicBool>>>);
    impl Drop for Slow {
        fn drop(&mut self) {
            std::thread::sleep(Duration::from_millis(20));
            if let Some(dropped) = self.0.take() {
                dropped.store(true, SeqCst);
            }
        }
    }
    std::thread_local! { static SLOW: Slow = const { Slow(Cell::new(None)) }; }
    let dropped = Arc::new(AtomicBool::new(false));
    let theirs = dropped.clone();
    thread::spawn(move || SLOW.with(|slow| slow.0.set(Some(theirs))))
        .join()
        .unwrap();
    assert!(dropped.load(SeqCst));
}

#[bingfa::test]
fn join_timeout_gives_the_handle_back() {
    let handle = thread::spawn(|| {
        thread::park();
        5
    });
    let handle = handle.join_timeout(Duration::from_millis(2)).unwrap_err();
    assert!(!handle.is_finished());
    handle.thread().unpark();
    let result = handle.join_timeout(WATCHDOG).expect("it was unparked");
    assert_eq!(result.unwrap(), 5);
}

#[bingfa::test]
fn a_timeout_ends_a_join_and_leaves_the_thread_running() {
    let thread = Arc::new(Mutex::new(None));
    let ended = Arc::new(AtomicBool::new(false));
    let (slot, flag) = (thread.clone(), ended.clone());
    let outcome = time::timeout(Duration::from_millis(2), move || {
        let handle = thread::spawn(move || {
            thread::park();
            flag.store(true, SeqCst);
        });
        *slot.lock().unwrap() = Some(handle.thread().clone());
        handle.join()
    });
    assert!(outcome.is_err());
    thread.lock().unwrap().as_ref().unwrap().unpark();
    wait_for(|| ended.load(SeqCst));
}

#[test]
fn a_cancel_ends_a_join() {
    let parked = thread::spawn(thread::park);
    let thread = parked.thread().clone();
    let joiner = coroutine::spawn(move || parked.join().unwrap());
    wait_for(|| joiner.state() == coroutine::State::Blocked);
    joiner.cancel();
    assert!(joiner.join().unwrap_err().is::<coroutine::Cancelled>());
    thread.unpark();
}

#[test]
fn a_thread_that_joins_itself_is_told_so() {
    let (give, take) = mpsc::channel::<JoinHandle<()>>();
    let (tell, told) = mpsc::channel();
    let handle = thread::spawn(move || {
        let own = take.recv().unwrap();
        let result = catch_unwind(AssertUnwindSafe(|| own.join()));
        tell.send(message(&*result.unwrap_err()).to_string())
            .unwrap();
    });
    give.send(handle).unwrap();
    assert!(told.recv().unwrap().contains("tries to join itself"));
}

struct Flag(AtomicBool);
impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

#[bingfa::test]
fn a_handle_is_a_future() {
    let handle = thread::spawn(|| {
        thread::park();
        "awaited"
    });
    let thread = handle.thread().clone();
    let mut handle = pin!(handle);
    let flag = Arc::new(Flag(AtomicBool::new(false)));
    let waker = Waker::from(flag.clone());
    let mut context = Context::from_waker(&waker);
    assert!(handle.as_mut().poll(&mut context).is_pending());
    thread.unpark();
    wait_for(|| flag.0.load(SeqCst));
    match handle.as_mut().poll(&mut context) {
        Poll::Ready(result) => assert_eq!(result.unwrap(), "awaited"),
        Poll::Pending => panic!("woken, but not ready"),
    }
}

#[bingfa::test]
fn a_dropped_handle_drops_the_result_in_the_end() {
    struct Counted(Arc<AtomicUsize>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, SeqCst);
        }
    }
    let drops = Arc::new(AtomicUsize::new(0));
    let counted = Counted(drops.clone());
    drop(thread::spawn(move || counted)); // most likely while it runs
    let counted = Counted(drops.clone());
    let handle = thread::spawn(move || counted);
    wait_for(|| handle.is_finished());
    drop(handle);
    wait_for(|| drops.load(SeqCst) == 2);
}

#[bingfa::test]
fn current_is_the_calling_carrier() {
    let me = thread::current();
    assert_eq!(me.id(), thread::current().id());
    if let Some(coroutine) = coroutine::try_current() {
        assert_eq!(me.id().as_u64(), coroutine.id().as_u64());
        assert_eq!(me.name(), coroutine.name());
    } else {
        assert_eq!(me.name(), std::thread::current().name());
    }
    let child = Builder::new()
        .name("child".into())
        .spawn(|| {
            assert_eq!(std::thread::current().name(), Some("child"));
            thread::current()
        })
        .unwrap();
    let seen_from_outside = child.thread().clone();
    let seen_from_inside = child.join().unwrap();
    assert_eq!(seen_from_inside.id(), seen_from_outside.id());
    assert_eq!(seen_from_inside.name(), Some("child"));
    assert_ne!(seen_from_inside.id(), me.id());
    assert!(format!("{seen_from_inside:?}").contains("child"));
}

#[bingfa::test]
fn unpark_wakes_either_carrier() {
    let me = thread::current();
    let other = thread::spawn(move || me.unpark());
    thread::park();
    other.join().unwrap();
    let me = thread::current();
    let other = coroutine::spawn(move || me.unpark());
    thread::park();
    other.join().unwrap();
    // The token is kept if it comes first.
    thread::current().unpark();
    thread::park();
    thread::park_timeout(Duration::from_millis(1));
}

#[bingfa::test]
fn a_sleep_takes_as_long_as_asked() {
    let start = Instant::now();
    thread::sleep(Duration::from_millis(3));
    assert!(start.elapsed() >= Duration::from_millis(3));
    assert!(time::timeout(Duration::from_millis(2), || thread::sleep(Duration::MAX)).is_err());
}

#[bingfa::test]
fn a_builder_s_errors_are_errors() {
    let too_much = Builder::new().stack_size(1 << 60).spawn(|| ());
    assert!(too_much.is_err());
    let scoped = thread::scope(|s| {
        let too_much = Builder::new().stack_size(1 << 60).spawn_scoped(s, || ());
        too_much.is_err()
    });
    assert!(scoped);
    let deep = Builder::new().stack_size(32 << 20).spawn(|| {
        let array = [1_u8; 16 << 20];
        std::hint::black_box(&array)
            .iter()
            .map(|&n| u64::from(n))
            .sum::<u64>()
    });
    assert_eq!(deep.unwrap().join().unwrap(), 16 << 20);
}

#[test]
fn snapshots_list_a_thread_from_spawn_to_its_result() {
    let listed = |name: &str| {
        let all = thread::enumerate();
        assert!(all.len() <= thread::active_count() + 64);
        all.into_iter().find(|t| t.name.as_deref() == Some(name))
    };
    let handle = Builder::new()
        .name("listed".into())
        .daemon(false)
        .spawn(thread::park)
        .unwrap();
    let info = listed("listed").expect("at once");
    assert_eq!(info.id, handle.thread().id().as_u64());
    assert!(!info.daemon);
    assert!(info.spawned_at.file().ends_with("thread.rs"));
    wait_for(|| listed("listed").is_some_and(|t| t.state == State::Blocked));
    assert_eq!(listed("listed").unwrap().last_wait.unwrap().what, "park");
    handle.thread().unpark();
    let result = handle.join_timeout(WATCHDOG);
    result.expect("unparked").unwrap();
    assert!(listed("listed").is_none());
    let me = thread::current().id().as_u64();
    assert!(thread::enumerate().iter().any(|t| t.id == me));
}

#[bingfa::test]
fn a_scope_joins_what_borrows_from_it() {
    let text = String::from("borrowed");
    let mut count = 0;
    let lengths = Mutex::new(Vec::new());
    let result = thread::scope(|s| {
        s.spawn(|| count += 1);
        for _ in 0..4 {
            s.spawn(|| {
                // From within a scoped thread, too.
                s.spawn(|| lengths.lock().unwrap().push(text.len()));
            });
        }
        let handle: ScopedJoinHandle<'_, &str> = s.spawn(|| &text[..3]);
        handle.join().unwrap().to_string()
    });
    assert_eq!((result.as_str(), count), ("bor", 1));
    assert_eq!(lengths.into_inner().unwrap(), [8; 4]);
}

#[test]
fn a_scope_in_a_coroutine_leaves_its_worker_free() {
    let (go, gate) = mpsc::channel::<()>();
    bingfa::run(move || {
        let opener = coroutine::spawn_local(move || go.send(()).unwrap());
        let gate = Mutex::new(gate);
        thread::scope(|s| {
            s.spawn(|| gate.lock().unwrap().recv().unwrap());
        });
        opener.join().unwrap();
    });
}

#[bingfa::test]
fn a_scope_panics_for_children_that_nobody_joined() {
    let scope_panics = |f: fn(ScopedJoinHandle<'_, ()>)| {
        catch_unwind(|| thread::scope(|s| f(s.spawn(|| panic!("of a child"))))).is_err()
    };
    assert!(scope_panics(|handle| drop(handle)));
    assert!(scope_panics(|handle| wait_for(|| handle.is_finished())));
    assert!(!scope_panics(|handle| assert!(handle.join().is_err())));
    assert!(!scope_panics(|handle| {
        assert!(handle.join_timeout(WATCHDOG).unwrap().is_err());
    }));
    let payload = catch_unwind(|| {
        thread::scope(|s| {
            s.spawn(|| panic!("of a child"));
            panic!("of the parent")
        })
    });
    assert_eq!(message(&*payload.unwrap_err()), "of the parent");
}

#[test]
fn cancelling_a_scope_waits_for_its_threads() {
    let (go, gate) = mpsc::channel::<()>();
    let ended = Arc::new(AtomicBool::new(false));
    let after = Arc::new(AtomicBool::new(false));
    let (flag, beyond) = (ended.clone(), after.clone());
    let parent = coroutine::spawn(move || {
        let gate = Mutex::new(gate);
        thread::scope(|s| {
            s.spawn(|| {
                gate.lock().unwrap().recv().unwrap();
                flag.store(true, SeqCst);
            });
        });
        beyond.store(true, SeqCst);
        thread::sleep(LONG);
    });
    wait_for(|| parent.state() == coroutine::State::Blocked);
    parent.cancel();
    let parent = parent.join_timeout(Duration::from_millis(20)).unwrap_err();
    assert!(!ended.load(SeqCst));
    go.send(()).unwrap();
    assert!(parent.join().unwrap_err().is::<coroutine::Cancelled>());
    assert!(ended.load(SeqCst) && after.load(SeqCst));
}

bingfa::thread_local! {
    static CELL: Cell<u32> = const { Cell::new(5) };
    static LIST: RefCell<Vec<u32>> = RefCell::new(vec![1]);
}

#[test]
fn thread_locals_have_std_s_helpers() {
    thread::spawn(|| {
        assert_eq!(CELL.get(), 5);
        CELL.set(6);
        assert_eq!(CELL.replace(7), 6);
        assert_eq!(CELL.take(), 7);
        assert_eq!(CELL.get(), 0);
        LIST.with_borrow_mut(|list| list.push(2));
        LIST.with_borrow(|list| assert_eq!(*list, [1, 2]));
        assert_eq!(LIST.replace(vec![9]), [1, 2]);
        LIST.set(vec![8]);
        assert_eq!(LIST.take(), [8]);
        assert_eq!(LIST.try_with(|list| list.borrow().len()), Ok(0));
    })
    .join()
    .unwrap();
}

#[test]
fn setting_a_thread_local_first_skips_its_initialiser() {
    bingfa::thread_local! { static NEVER: Cell<u32> = panic!("initialised") }
    NEVER.set(3);
    assert_eq!(NEVER.get(), 3);
}

#[test]
fn the_initialiser_of_a_thread_local_may_name_anything() {
    const SLOT: u32 = 1;
    fn init() -> u32 {
        2
    }
    bingfa::thread_local! { static NAMES: u32 = SLOT + init() }
    bingfa::coroutine_local! { static MORE: u32 = SLOT + init() }
    assert_eq!(NAMES.with(|n| *n), 3);
    assert_eq!(MORE.with(|n| *n), 3);
}

#[test]
fn a_thread_local_s_initialiser_may_use_its_own_key_if_it_ends() {
    bingfa::thread_local! {
        static DEPTH: Cell<u32> = const { Cell::new(0) };
        static KEY: u32 = {
            DEPTH.set(DEPTH.get() + 1);
            if DEPTH.get() < 3 { KEY.with(|inner| *inner) + 100 } else { 1 }
        };
    }
    assert_eq!(KEY.with(|value| *value), 1); // the innermost was first
}

#[test]
fn thread_locals_are_dropped_at_the_thread_s_end() {
    struct Last(mpsc::Sender<bool>);
    impl Drop for Last {
        fn drop(&mut self) {
            let gone = KEPT.try_with(|_| ()).is_err();
            self.0.send(gone).unwrap();
        }
    }
    bingfa::thread_local! { static KEPT: RefCell<Option<Last>> = const { RefCell::new(None) } }
    let (tell, told) = mpsc::channel();
    thread::spawn(move || KEPT.set(Some(Last(tell))))
        .join()
        .unwrap();
    assert!(told.recv().unwrap(), "no access during its own destruction");
}

#[test]
fn when_two_initialise_at_once_the_first_to_end_wins() {
    static STARTED: AtomicUsize = AtomicUsize::new(0);
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    struct Value(usize);
    impl Drop for Value {
        fn drop(&mut self) {
            DROPPED.fetch_add(1, SeqCst);
        }
    }
    bingfa::thread_local! {
        static SLOW: Value = {
            let number = STARTED.fetch_add(1, SeqCst);
            if number == 0 {
                coroutine::park();
            }
            Value(number)
        };
    }
    thread::spawn(|| {
        bingfa::run(|| {
            let first = coroutine::spawn_local(|| SLOW.with(|value| value.0));
            while STARTED.load(SeqCst) == 0 {
                coroutine::yield_now();
            }
            assert_eq!(SLOW.with(|value| value.0), 1);
            first.unpark();
            assert_eq!(first.join().unwrap(), 1);
            assert_eq!(DROPPED.load(SeqCst), 1);
        });
    })
    .join()
    .unwrap();
    assert_eq!(DROPPED.load(SeqCst), 2);
}

#[test]
#[expect(deprecated)]
fn the_api_is_as_std_s() {
    fn send_and_sync<T: Send + Sync>() {}
    fn unwind_safe<T: std::panic::UnwindSafe + std::panic::RefUnwindSafe>() {}
    fn of_any_type<T>() {
        send_and_sync::<JoinHandle<T>>();
    }
    of_any_type::<std::rc::Rc<()>>();
    send_and_sync::<ScopedJoinHandle<'_, u8>>();
    send_and_sync::<thread::Scope<'_, '_>>();
    send_and_sync::<LocalKey<std::rc::Rc<()>>>();
    send_and_sync::<thread::Thread>();
    unwind_safe::<thread::Thread>();
    unwind_safe::<thread::ThreadId>();
    unwind_safe::<LocalKey<std::rc::Rc<Cell<u8>>>>();
    unwind_safe::<Builder>();
    let _: fn() -> bool = thread::panicking;
    let _: fn() -> std::io::Result<std::num::NonZero<usize>> = thread::available_parallelism;
    let failed: thread::Result<()> = Err(Box::new(1));
    assert!(failed.is_err() && !thread::panicking());
    thread::sleep_ms(0);
    thread::park_timeout_ms(0);
    // SAFETY: nothing is borrowed.
    let handle = unsafe { Builder::default().spawn_unchecked(|| 1) };
    assert_eq!(handle.unwrap().join().unwrap(), 1);
}
