//! Handles of shared objects in messages of pipes: what nobody reads holds nothing.

mod common;

use bingfa::coroutine;
use bingfa::process::{
    self, Connection, GetError, Queue, RawValue, SharedMemory, Value, pipe, spawn,
};
use common::family::{child, flag, idle, kill_and_join, stay};
use common::usage::shared_memory;
use common::{Watchdog, labelled, on_both, until, until_in};
use serde::{Deserialize, Serialize};

const MIB: usize = 1 << 20;

fn large() -> SharedMemory {
    SharedMemory::new(20 * MIB).unwrap()
}

type End = Connection<(), SharedMemory>;

#[test]
fn what_nobody_reads_gives_its_memory_back() {
    child("what_nobody_reads_gives_its_memory_back", || {
        drop(large());
        let before = shared_memory();
        let is_gone = || shared_memory() < before + (5 << 20);
        let filled = || {
            let (ours, theirs) = pipe::<SharedMemory, ()>().unwrap();
            (0..3).for_each(|_| ours.send(large()).unwrap());
            assert!(shared_memory() > before + (50 << 20));
            (ours, theirs)
        };
        labelled("the end is dropped", || {
            let (ours, theirs) = filled();
            drop(theirs);
            until(is_gone);
            assert!(ours.send(large()).is_err());
            until(is_gone);
        });
        labelled("the sender's end first", || {
            let (ours, theirs) = filled();
            drop(ours);
            drop(theirs.recv().unwrap());
            drop(theirs);
            until(is_gone);
        });
        labelled("a process that has the end is killed", || {
            let (ours, theirs) = filled();
            let here = flag();
            let reader = spawn(
                (theirs, here.clone()),
                |(end, here): (End, RawValue<u32>)| {
                    let first = end.recv().unwrap();
                    stay(&here);
                    drop((first, end));
                },
            );
            until(|| here.get() == 1);
            drop(ours);
            assert!(!is_gone());
            kill_and_join(reader);
            until(is_gone);
        });
        labelled("the end lies in a message that nobody reads", || {
            let (outer, far) = pipe::<End, ()>().unwrap();
            let (_ours, theirs) = filled();
            outer.send(theirs).unwrap();
            drop((outer, far));
            until(is_gone);
        });
        labelled("what is read is whole", || {
            let (ours, theirs) = pipe::<(SharedMemory, Vec<u8>), ()>().unwrap();
            for len in [1, 1 << 20] {
                let one = large();
                ours.send((one.clone(), vec![7; len])).unwrap();
                ours.send((one.clone(), vec![])).unwrap();
                drop(one);
                let (read, bytes) = theirs.recv().unwrap();
                assert_eq!(bytes.len(), len);
                read.write_at(0, b"there");
                let mut text = [0; 5];
                theirs.recv().unwrap().0.read_at(0, &mut text);
                assert_eq!(&text, b"there");
            }
            until(is_gone);
        });
    });
}

/// Two objects, of which its receiver takes one, and then wants no more.
#[derive(Debug, Serialize)]
struct Parcel(SharedMemory, SharedMemory);

impl<'de> Deserialize<'de> for Parcel {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        SharedMemory::deserialize(deserializer)?;
        Err(serde::de::Error::custom("no more"))
    }
}

#[test]
fn what_a_reader_leaves_in_a_message_goes_with_it() {
    child("what_a_reader_leaves_in_a_message_goes_with_it", || {
        drop(large());
        let before = shared_memory();
        let (ours, theirs) = pipe::<Parcel, ()>().unwrap();
        let kept = large();
        // The first one is in messages of its own, too, which are not touched.
        let (others, far) = pipe::<SharedMemory, ()>().unwrap();
        others.send(&kept).unwrap();
        ours.send(Parcel(kept, large())).unwrap();
        assert!(shared_memory() > before + (35 << 20));
        let error = theirs.recv().unwrap_err().to_string();
        assert!(error.contains("`process_pipe_handles::Parcel`"), "{error}");
        until(|| shared_memory() < before + (25 << 20));
        far.recv().unwrap().write_at(0, b"it is there");
        until(|| shared_memory() < before + (5 << 20));
    });
}

#[test]
fn a_wait_that_only_a_lost_message_could_end_is_over() {
    on_both(|| {
        let queue: Queue<u8> = Queue::unbounded().unwrap();
        // Another process had it once.
        spawn(queue.clone(), drop).join().unwrap();
        let (ours, theirs) = pipe::<Queue<u8>, ()>().unwrap();
        ours.send(queue.clone()).unwrap();
        let reader = spawn(theirs, |_end: Connection<(), Queue<u8>>| idle(()));
        let waiter = coroutine::spawn(move || queue.get());
        until_in(&waiter, "process queue get");
        kill_and_join(reader);
        let error = waiter.join().unwrap().unwrap_err();
        assert!(matches!(error, GetError::Closed(_)), "{error}");
    });
}

#[test]
fn many_that_are_read_leave_nothing_behind() {
    let _dog = Watchdog::new("many");
    let (ours, theirs) = pipe::<Value<u64>, ()>().unwrap();
    let reader = spawn(theirs, |end: Connection<(), Value<u64>>| {
        while let Ok(number) = end.recv() {
            *number.lock().unwrap() += 1;
        }
    });
    let number = Value::new(0u64).unwrap();
    (0..2000).for_each(|_| ours.send(&number).unwrap());
    drop(ours);
    reader.join().unwrap();
    assert_eq!(*number.lock().unwrap(), 2000);
    let _ = process::active_children();
}
