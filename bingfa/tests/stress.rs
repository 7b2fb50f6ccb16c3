//! Everything at random: spawns, cancels, timeouts, panics, sleeps, sockets, scopes, locals.
//!
//! `BINGFA_STRESS_SECONDS` (3), `BINGFA_STRESS_SEED` (the clock) and `BINGFA_IO` set it up.
//! At the end nothing may be left: no coroutine, descriptor, mapping or memory.

mod common;

use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant, SystemTime};

use bingfa::coroutine::{self, Cancelled, JoinHandle, shield};
use bingfa::io::{self, Read, Write};
use bingfa::net::{TcpListener, TcpStream, UdpSocket};
use bingfa::os::unix::net::UnixStream;
use bingfa::time::timeout;
use bingfa::{Policy, Runtime};
use common::usage::{Usage, allow_many_descriptors};
use common::{OnDrop, Watchdog, assert_well, in_child};

/// SplitMix64: a seed makes a whole run, apart from the order of events.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn chance(&mut self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }

    fn micros(&mut self, limit: u64) -> Duration {
        Duration::from_micros(self.below(limit))
    }

    fn fork(&mut self) -> Random {
        Random(self.next())
    }
}

/// Coroutine bodies that have begun and not ended; every one ends exactly once.
static ALIVE: AtomicI64 = AtomicI64::new(0);
static RUN: AtomicU64 = AtomicU64::new(0);

struct Life;

impl Life {
    fn begin() -> Life {
        ALIVE.fetch_add(1, SeqCst);
        RUN.fetch_add(1, SeqCst);
        Life
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        ALIVE.fetch_sub(1, SeqCst);
    }
}

bingfa::coroutine_local! {
    static NUMBER: Cell<u64> = Cell::new(0);
    static TALKATIVE: Talkative = Talkative;
}

/// A local whose destructor waits and makes another.
struct Talkative;

impl Drop for Talkative {
    fn drop(&mut self) {
        coroutine::sleep(Duration::from_micros(10));
        NUMBER.with(|number| number.set(1));
    }
}

#[derive(Debug)]
struct OnPurpose;

/// The usual owner of a background coroutine: ends it, and waits for that.
struct Actor(Option<JoinHandle<u64>>);

impl Drop for Actor {
    fn drop(&mut self) {
        let handle = self.0.take().expect("dropped once");
        handle.cancel();
        check(handle.join(), true);
    }
}

/// What all share.
#[derive(Clone)]
struct World {
    echo: std::net::SocketAddr,
    udp: Arc<UdpSocket>,
    /// A socket on which nobody ever says anything, with many readers.
    silent: Arc<UnixStream>,
    until: Instant,
}

fn body(mut random: Random, world: &World, depth: u32) -> u64 {
    let _life = Life::begin();
    NUMBER.with(|number| assert_eq!(number.replace(random.next() | 1), 0, "another's local"));
    let mine = NUMBER.with(Cell::get);
    let steps = 1 + random.below(6);
    for _ in 0..steps {
        if Instant::now() > world.until {
            break;
        }
        step(&mut random, world, depth);
        NUMBER.with(|number| assert_eq!(number.get(), mine, "changed by another"));
    }
    mine
}

fn step(random: &mut Random, world: &World, depth: u32) {
    match random.below(24) {
        0 | 1 => coroutine::sleep(random.micros(2000)),
        2 => coroutine::yield_now(),
        3 => (0..random.below(50)).for_each(|_| coroutine::checkpoint()),
        4 => coroutine::park_timeout(random.micros(500)),
        5 | 6 => talk(random, world),
        7 => {
            let pair = UnixStream::pair().unwrap();
            ping_pong(random, pair);
        }
        8 => drop(timeout(random.micros(1000), || {
            (&*world.silent).read(&mut [0])
        })),
        9 => {
            let deadline = Instant::now() + random.micros(300);
            let (pipe, _keep) = std::io::pipe().unwrap();
            let late = io::readable(&pipe, deadline).unwrap_err();
            assert_eq!(late.kind(), ErrorKind::TimedOut);
        }
        10 => {
            let limit = random.micros(1500);
            let deeper = random.fork();
            if depth > 0 {
                let _ = timeout(limit, || {
                    let mut deeper = deeper;
                    let inner = deeper.micros(1500);
                    let _ = timeout(inner, || step(&mut deeper, world, depth - 1));
                    step(&mut deeper, world, depth - 1);
                });
            }
        }
        11 => shield(|| coroutine::sleep(random.micros(200))),
        12 => {
            // A destructor that waits, whatever it runs in.
            let nap = random.micros(300);
            let _slow = OnDrop(|| coroutine::sleep(nap));
            coroutine::sleep(random.micros(300));
        }
        13 if random.chance(4) => resume_unwind(Box::new(OnPurpose)),
        14 => {
            let caught = catch_unwind(AssertUnwindSafe(|| {
                let mut inner = random.fork();
                step(&mut inner, world, 0);
            }));
            if let Err(payload) = caught
                && payload.is::<OnPurpose>()
                && random.chance(2)
            {
                resume_unwind(payload);
            } // a swallowed cancel comes again
        }
        15 => TALKATIVE.with(|_| ()),
        16 | 17 if depth > 0 => family(random, world, depth),
        18 | 19 if depth > 0 => borrowers(random, world, depth),
        20 if depth > 0 => {
            // Its end may come in mid-unwind, of this coroutine or of a neighbour.
            let (seed, theirs) = (random.fork(), world.clone());
            let _actor = Actor(Some(coroutine::spawn_local(move || {
                body(seed, &theirs, depth - 1)
            })));
            step(random, world, depth - 1);
        }
        21 => drop(world.udp.send_to(b"x", world.udp.local_addr().unwrap())),
        22 => {
            world
                .udp
                .set_read_timeout(Some(Duration::from_micros(500)))
                .unwrap();
            let _ = world.udp.recv_from(&mut [0; 8]);
        }
        _ => {
            let mut buf = [0u8; 3000]; // some stack
            buf[random.below(3000) as usize] = 1;
            std::hint::black_box(&buf);
        }
    }
}

/// A connection to the echo server, which ends with its runtime: then it refuses or resets.
fn talk(random: &mut Random, world: &World) {
    if let Err(error) = try_to_talk(random, world) {
        assert!(ENDING.load(SeqCst) != 0, "the server failed: {error}");
    }
}

fn try_to_talk(random: &mut Random, world: &World) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(world.echo)?;
    for _ in 0..random.below(4) {
        let size = 1 + random.below(20_000) as usize;
        let message = vec![random.next() as u8; size];
        stream.write_all(&message)?;
        let mut answer = vec![0; size];
        stream.read_exact(&mut answer)?;
        assert!(answer == message, "a wrong answer");
    }
    if random.chance(3) {
        socket2::SockRef::from(&stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    }
    Ok(())
}

/// Two ends on two coroutines, of which one may be cancelled in the middle.
fn ping_pong(random: &mut Random, (mut a, mut b): (UnixStream, UnixStream)) {
    let rounds = random.below(5);
    let player = move || {
        let _life = Life::begin();
        let mut byte = [0];
        // A reset is the end, too: the other side was cancelled with a byte unread.
        while matches!(b.read(&mut byte), Ok(1)) {
            if b.write_all(&byte).is_err() {
                return;
            }
        }
    };
    let other = if random.chance(2) {
        coroutine::spawn(player)
    } else {
        coroutine::spawn_local(player)
    };
    let cancelled = random.chance(3);
    for i in 0..rounds {
        let mut byte = [i as u8];
        if a.write_all(&byte).is_err() {
            break;
        }
        if cancelled && i == 1 {
            other.cancel();
        }
        match a.read(&mut byte) {
            Ok(1) => assert_eq!(byte[0], i as u8),
            _ => break,
        }
    }
    drop(a);
    check(other.join(), cancelled);
}

/// The result of a coroutine that nobody but us has cancelled.
fn check<T>(result: std::thread::Result<T>, cancelled: bool) {
    if let Err(payload) = result {
        if payload.is::<Cancelled>() {
            // Or its runtime ends.
            assert!(cancelled || ENDING.load(SeqCst) != 0, "cancelled by nobody");
        } else if !payload.is::<OnPurpose>() {
            resume_unwind(payload);
        }
    }
}

static ENDING: AtomicU64 = AtomicU64::new(0);

fn family(random: &mut Random, world: &World, depth: u32) {
    let children: Vec<JoinHandle<u64>> = (0..1 + random.below(5))
        .map(|_| {
            let (seed, world) = (random.fork(), world.clone());
            if random.chance(3) {
                coroutine::spawn_local(move || body(seed, &world, depth - 1))
            } else {
                coroutine::spawn(move || body(seed, &world, depth - 1))
            }
        })
        .collect();
    if random.chance(3) {
        coroutine::sleep(random.micros(500));
    }
    for child in children {
        let cancelled = random.chance(3);
        if cancelled {
            child.cancel();
        }
        match random.below(4) {
            0 => drop(child),
            1 => {
                if let Ok(result) = child.join_timeout(random.micros(500)) {
                    check(result, cancelled);
                }
            }
            _ => check(child.join(), cancelled),
        }
    }
}

fn borrowers(random: &mut Random, world: &World, depth: u32) {
    let sum = AtomicU64::new(0);
    let text = vec![b'a'; 1000];
    let notes = RefCell::new(Vec::new());
    let mut inner = random.fork();
    let mut all = || {
        coroutine::scope(|s| {
            for i in 0..1 + inner.below(4) {
                let seed = inner.fork();
                let (sum, text) = (&sum, &text);
                let child = move || {
                    let _end = OnDrop(|| {
                        assert!(text.iter().all(|&byte| byte == b'a'));
                        sum.fetch_add(1, SeqCst);
                    });
                    body(seed, world, depth - 1)
                };
                let handle = if i % 2 == 0 {
                    s.spawn(child)
                } else {
                    let notes = &notes;
                    s.spawn_local(move || {
                        notes.borrow_mut().push(i);
                        child()
                    })
                };
                match inner.below(4) {
                    0 => drop(handle),
                    1 => {
                        handle.cancel();
                        check(handle.join(), true);
                    }
                    // A panic of a sibling cancels those whose handle is kept, too.
                    _ => check(handle.join(), true),
                }
            }
        });
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        if random.chance(2) {
            let _ = timeout(random.micros(2000), all);
        } else {
            all();
        }
    }));
    if let Err(payload) = outcome
        && !payload.is::<OnPurpose>()
    {
        resume_unwind(payload);
    }
}

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |value| value.parse().expect("a number"))
}

#[test]
fn everything_at_random() {
    let name = "everything_at_random";
    let output = in_child(name, &[("BINGFA_CHECK", "0")], || {
        let clock = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
        let seed = number("BINGFA_STRESS_SEED", clock);
        let seconds = number("BINGFA_STRESS_SECONDS", 3);
        println!("BINGFA_STRESS_SEED={seed} BINGFA_STRESS_SECONDS={seconds}");
        let _dog = Watchdog::new(&format!("seed {seed}"));
        allow_many_descriptors();
        std::panic::set_hook(Box::new(|info| {
            let text = info.payload_as_str().unwrap_or("?");
            eprintln!("PANIC: {text} at {}", info.location().unwrap());
        }));
        let mut random = Random(seed);
        // The first part is warm-up: its runtimes, stacks and buffers are kept for reuse.
        let part = Duration::from_millis(1000 * seconds / 4);
        run_for(part, &mut random);
        let before = Usage::settled();
        run_for(3 * part, &mut random);
        Usage::settled().assert_no_more_than(&before, &format!("seed {seed}"));
        println!("{} coroutines ran", RUN.load(SeqCst));
    });
    let Some(output) = output else { return };
    print!("{}", String::from_utf8_lossy(&output.stdout));
    assert_well(&output);
    let text = common::stderr(&output);
    assert!(!text.contains("PANIC"), "{text}");
}

/// Runtimes of all kinds, one after the other.
fn run_for(length: Duration, random: &mut Random) {
    let end = Instant::now() + length;
    while Instant::now() < end {
        let policy = [Policy::Fifo, Policy::Priority, Policy::Mlfq][random.below(3) as usize];
        let builder = Runtime::builder()
            .workers(1 + random.below(3) as usize)
            .policy(policy)
            .hog_threshold(Duration::ZERO)
            .shutdown_timeout(Duration::from_secs(20));
        let runtime = builder.build().unwrap();
        ENDING.store(0, SeqCst);
        let until = end.min(Instant::now() + Duration::from_millis(300));
        if random.chance(2) {
            let mut random = random.fork();
            runtime.run(|| rounds(&mut random, until, &runtime));
        } else {
            rounds(random, until, &runtime);
        }
        ENDING.store(1, SeqCst);
        if random.chance(2) {
            // Ends with everything in full swing.
            let world = world(&runtime, Instant::now() + Duration::from_secs(10));
            for _ in 0..random.below(300) {
                let (seed, world) = (random.fork(), world.clone());
                drop(runtime.spawn(move || body(seed, &world, 2)));
            }
        }
        drop(runtime);
        common::until(|| coroutine::active_count() == 0);
        assert_eq!(ALIVE.load(SeqCst), 0, "a body that never ended");
    }
}

fn world(runtime: &Runtime, until: Instant) -> World {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let echo = listener.local_addr().unwrap();
    drop(runtime.spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            drop(coroutine::spawn(move || {
                let mut buf = [0; 4096];
                while let Ok(n @ 1..) = (&stream).read(&mut buf) {
                    if (&stream).write_all(&buf[..n]).is_err() {
                        return;
                    }
                }
            }));
        }
    }));
    let (silent, mute) = UnixStream::pair().unwrap();
    drop(runtime.spawn(move || {
        let _mute = mute;
        coroutine::park(); // until the runtime ends
    }));
    let udp = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
    World {
        echo,
        udp,
        silent: Arc::new(silent),
        until,
    }
}

fn rounds(random: &mut Random, until_then: Instant, runtime: &Runtime) {
    while Instant::now() < until_then {
        let world = world(runtime, until_then);
        let cancelled_by_us: Vec<_> = (0..20 + random.below(100))
            .map(|_| {
                let (seed, world) = (random.fork(), world.clone());
                let handle = runtime.spawn(move || body(seed, &world, 3));
                (handle, random.chance(4))
            })
            .collect();
        if random.chance(2) {
            let nap = random.micros(3000);
            coroutine::sleep(nap);
        }
        for (handle, cancel) in &cancelled_by_us {
            if *cancel {
                handle.cancel();
            }
        }
        for (handle, cancelled) in cancelled_by_us {
            check(handle.join(), cancelled);
        }
    }
}
