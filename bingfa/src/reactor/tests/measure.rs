//! Figures, on demand:
//! `cargo test --release --lib reactor::tests::measure -- --ignored --nocapture --test-threads=1`.

use std::io::{Read, Write};

use super::*;

#[test]
#[ignore = "a measurement"]
fn an_empty_flush() {
    const ROUNDS: u32 = 10_000_000;
    for kind in kinds() {
        let mut worker = Worker::new(kind);
        let ns = |worker: &mut Worker, rounds: u32| {
            let start = Instant::now();
            for _ in 0..rounds {
                worker.flush();
            }
            start.elapsed().as_nanos() as f64 / f64::from(rounds)
        };
        let idle = ns(&mut worker, ROUNDS);
        let (ours, _peer) = unix();
        let call = ours.recv(1);
        worker.start(&call);
        worker.flush();
        let waiting = ns(&mut worker, ROUNDS / 10);
        println!("{kind:?}: flush {idle:.1} ns with nothing, {waiting:.1} ns with one waiting");
        worker.cancel(&call);
        worker.finish(&call);
    }
}

const PAIRS: usize = 64;
const ECHOES: usize = 4_000;

/// What one echo of 64 bytes costs the thread that does all of it: 64 connections, and
/// the same clients for all, so only differences mean something.
#[test]
#[ignore = "a measurement"]
fn an_echo() {
    for _ in 0..3 {
        println!("raw epoll: {:.0} ns", echo_raw());
        for kind in kinds() {
            println!("{kind:?}: {:.0} ns", echo(kind));
        }
    }
}

fn echo(kind: Kind) -> f64 {
    let mut worker = Worker::new(kind);
    let mut pairs: Vec<_> = (0..PAIRS).map(|_| tcp()).collect();
    let mut place = [0; 4096];
    let fds: Vec<_> = pairs
        .iter()
        .map(|(ours, _)| (ours.fd(), &raw const ours.source))
        .collect();
    let mut buffers = vec![[0u8; 4096]; PAIRS];
    let submit = |worker: &mut Worker, ops: &mut [Op], i: usize, kind: OpKind| {
        ops[i] = Op::new(
            kind,
            fds[i].0,
            NonNull::new(fds[i].1.cast_mut()),
            ptr::null(),
        );
        match worker.driver.attempt(&ops[i]) {
            Some(result) => {
                ops[i].result.set(Some(result));
                worker.done.push(NonNull::from(&ops[i]));
            }
            // SAFETY: `ops` is not moved, and an operation is replaced when it is done.
            None => unsafe {
                worker
                    .driver
                    .submit(NonNull::from(&ops[i]), &mut worker.done)
            },
        }
    };
    let mut ops: Vec<Op> = (0..PAIRS)
        .map(|_| Op::new(OpKind::Poll { events: 0 }, -1, None, ptr::null()))
        .collect();
    let recv = |buf: &mut [u8; 4096]| OpKind::Recv {
        buf: buf.as_mut_ptr(),
        len: 4096,
        flags: 0,
    };
    for (i, buf) in buffers.iter_mut().enumerate() {
        submit(&mut worker, &mut ops, i, recv(buf));
    }
    worker.flush();
    let start = Instant::now();
    let mut batch = Vec::new();
    for _ in 0..ECHOES {
        for (_, peer) in &mut pairs {
            peer.write_all(&[1; 64]).unwrap();
        }
        let mut sent = 0;
        while sent < PAIRS {
            worker.flush();
            std::mem::swap(&mut batch, &mut worker.done);
            for op in batch.drain(..) {
                let i = (op.as_ptr() as usize - ops.as_ptr() as usize) / size_of::<Op>();
                assert_eq!(ops[i].result.get(), Some(64));
                let buf = &mut buffers[i];
                if matches!(ops[i].kind, OpKind::Recv { .. }) {
                    let send = OpKind::Send {
                        buf: buf.as_ptr(),
                        len: 64,
                        flags: 0,
                    };
                    submit(&mut worker, &mut ops, i, send);
                } else {
                    sent += 1;
                    submit(&mut worker, &mut ops, i, recv(buf));
                }
            }
        }
        for (_, peer) in &mut pairs {
            assert_eq!(peer.read(&mut place).unwrap(), 64);
        }
    }
    let total = start.elapsed();
    for op in &ops {
        // SAFETY: in flight, or done.
        unsafe { worker.driver.cancel(NonNull::from(op), &mut worker.done) };
    }
    worker.until(|| ops.iter().all(|op| op.result.get().is_some()));
    total.as_nanos() as f64 / (ECHOES * PAIRS) as f64
}

fn echo_raw() -> f64 {
    use crate::sys::epoll::{EDGE, IN, OUT, Poll};
    let poll = Poll::new().unwrap();
    let mut pairs: Vec<_> = (0..PAIRS).map(|_| tcp()).collect();
    for (i, (ours, _)) in pairs.iter().enumerate() {
        poll.set(ours.fd(), IN | OUT | EDGE, i as u64, false)
            .unwrap();
    }
    let mut events = Vec::with_capacity(PAIRS);
    let mut place = [0; 4096];
    poll.wait(&mut events, None).unwrap();
    let start = Instant::now();
    for _ in 0..ECHOES {
        for (_, peer) in &mut pairs {
            peer.write_all(&[1; 64]).unwrap();
        }
        let mut sent = 0;
        while sent < PAIRS {
            poll.wait(&mut events, None).unwrap();
            for event in &events {
                let io = &mut pairs[event.u64 as usize].0.io;
                assert_eq!(io.read(&mut place).unwrap(), 64);
                io.write_all(&place[..64]).unwrap();
                sent += 1;
            }
        }
        for (_, peer) in &mut pairs {
            assert_eq!(peer.read(&mut place).unwrap(), 64);
        }
    }
    start.elapsed().as_nanos() as f64 / (ECHOES * PAIRS) as f64
}
