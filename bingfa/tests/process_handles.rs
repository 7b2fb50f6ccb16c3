//! Handles of what processes share are part of bingfa's own messages only: anything else that
//! encodes them gets an error which says how they can be sent.

mod common;

use std::fs::File;
use std::os::fd::OwnedFd;

use bingfa::process::manager::{Client, Manager};
use bingfa::process::{
    self, Array, Barrier, BoundedSemaphore, Condvar, Event, Fd, Mutex, PutError, Queue, RawArray,
    RawValue, ReentrantLock, RwLock, Semaphore, SharedMemory, Value,
};
use common::labelled;
use serde::Serialize;
use serde::de::DeserializeOwned;

#[track_caller]
fn is_no_bytes(handle: &impl Serialize, name: &str, how: &str) {
    let error = serde_json::to_string(handle).unwrap_err().to_string();
    assert!(error.contains(name), "{name}: {error}");
    assert!(
        error.contains("can only be sent by bingfa") && error.contains(how),
        "{name}: {error}"
    );
}

#[test]
fn what_lies_in_shared_memory_is_no_bytes() {
    labelled("bytes", || {
        let how = "process::pipe, or in an item of process::Queue or process::channel";
        let (sender, receiver) = process::channel::<u8>(None).unwrap();
        is_no_bytes(&Queue::<u8>::bounded(1).unwrap(), "Queue", how);
        is_no_bytes(&sender, "Sender", how);
        is_no_bytes(&receiver, "Receiver", how);
        is_no_bytes(&Mutex::new(1u8).unwrap(), "Mutex", how);
        is_no_bytes(&Value::new(1u8).unwrap(), "Value", how);
        is_no_bytes(&Array::new(&[1u8]).unwrap(), "Array", how);
        is_no_bytes(&RawValue::new(1u8).unwrap(), "RawValue", how);
        is_no_bytes(&RawArray::new(&[1u8]).unwrap(), "RawArray", how);
        is_no_bytes(&SharedMemory::new(1).unwrap(), "SharedMemory", how);
        is_no_bytes(&Event::new().unwrap(), "Event", how);
        is_no_bytes(&Barrier::new(1).unwrap(), "Barrier", how);
        is_no_bytes(&Condvar::new().unwrap(), "Condvar", how);
        is_no_bytes(&ReentrantLock::new(1u8).unwrap(), "ReentrantLock", how);
        is_no_bytes(&Semaphore::new(1).unwrap(), "Semaphore", how);
        let bounded = BoundedSemaphore::new(1).unwrap();
        is_no_bytes(&bounded, "BoundedSemaphore", how);
        is_no_bytes(&RwLock::new(1u8).unwrap(), "RwLock", how);
    });
}

fn refused<T: Serialize + DeserializeOwned + 'static>(item: T) {
    let queue = Queue::unbounded().unwrap();
    let Err(PutError::Refused(_, why)) = queue.put(item) else {
        panic!("a descriptor in memory");
    };
    let why = why.to_string();
    assert!(
        why.contains("descriptors") && why.contains("process::pipe"),
        "{why}"
    );
    assert!(queue.is_empty());
}

#[test]
fn what_takes_a_descriptor_along_is_no_bytes_and_no_item_of_a_queue() {
    labelled("descriptors", || {
        let how = "process::pipe, or as a value that a manager keeps";
        let manager = Manager::new().unwrap();
        let (client, number) = (Client::clone(&manager), manager.value(1u8).unwrap());
        let (connection, _other) = process::pipe::<u8, u8>().unwrap();
        let file = || Fd::from(OwnedFd::from(File::open("/dev/null").unwrap()));
        is_no_bytes(&client, "Client", how);
        is_no_bytes(&number, "Client", how);
        is_no_bytes(&connection, "Connection", how);
        is_no_bytes(&file(), "Fd", how);
        refused(client);
        refused(number);
        refused(connection);
        refused(file());
    });
}

#[test]
fn a_manager_is_reached_by_what_lies_in_a_queue_if_it_has_an_address() {
    labelled("address", || {
        let manager = Manager::builder().bind("127.0.0.1:0").key(b"k").start();
        let manager = manager.unwrap();
        let number = manager.value(1u8).unwrap();
        manager.publish("number", &number).unwrap();
        let near = Client::connect(manager.local_addr().unwrap(), b"k").unwrap();
        let queue = Queue::unbounded().unwrap();
        queue.put(near).unwrap();
        let child = process::spawn(queue, |queue: Queue<Client>| {
            let client = queue.get().unwrap();
            let number = client.open::<process::manager::Value<u8>>("number");
            number.unwrap().set(7).unwrap();
        });
        child.join().unwrap();
        assert_eq!(number.get().unwrap(), 7);
    });
}
