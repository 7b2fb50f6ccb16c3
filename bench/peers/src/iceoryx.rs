//! `process-queue`: iceoryx2, whose receiver finds messages by looking again and again.
//!
//! A publisher keeps its messages in memory that its subscribers map: nothing is encoded or
//! copied at the receiving end. It is not told when somebody waits, so nobody sleeps.

use crate::forked::fork;
use harness::{QueueShape, monotonic_ns};
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::{
    BackpressureStrategy, LogLevel, Node, NodeBuilder, ServiceName, ipc, set_log_level,
};
use iceoryx2::service::port_factory::PortFactory as _;
use iceoryx2::service::port_factory::publish_subscribe::PortFactory;
use std::hint::spin_loop;
use std::process;
use std::thread;
use std::time::Duration;

type Bytes = [u8];
type Service = PortFactory<ipc::Service, Bytes, ()>;

/// So many looks in vain, and the core is left to others for a while.
const LOOKS: u32 = 1000;

pub(crate) fn one_way(shape: QueueShape, each: u64) -> (Duration, u64) {
    assert_eq!(
        (shape.producers, shape.consumers),
        (1, 1),
        "who subscribes gets every message"
    );
    let name = format!("bingfa-bench-{}-{}", process::id(), monotonic_ns());
    let consumer = fork(|| {
        let node = node();
        let service = open(&node, &name, shape);
        let subscriber = subscriber(&service, shape);
        let (mut sum, mut last) = (0, 0);
        for _ in 0..each {
            sum += receive(&subscriber);
            last = monotonic_ns();
        }
        [sum, last]
    });
    let producer = fork(|| {
        let node = node();
        let service = open(&node, &name, shape);
        let publisher = publisher(&service, shape);
        while service.dynamic_config().number_of_subscribers() == 0 {
            thread::yield_now();
        }
        let begin = monotonic_ns();
        for n in 0..each {
            send(&publisher, n, shape.size);
        }
        // The messages lie in memory of ours.
        while service.dynamic_config().number_of_subscribers() > 0 {
            thread::sleep(Duration::from_millis(1));
        }
        [begin, 0]
    });
    let [sum, end] = consumer.join();
    let [begin, _] = producer.join();
    (Duration::from_nanos(end - begin), sum)
}

pub(crate) fn round_trips(shape: QueueShape, each: u64) -> (Duration, u64) {
    let name = format!("bingfa-bench-{}-{}", process::id(), monotonic_ns());
    let (there, back) = (format!("{name}-there"), format!("{name}-back"));
    let total = each + 1; // the first is the warm-up
    let echo = fork(|| {
        let node = node();
        let (there, back) = (open(&node, &there, shape), open(&node, &back, shape));
        let (subscriber, publisher) = (subscriber(&there, shape), publisher(&back, shape));
        for _ in 0..total {
            send(&publisher, receive(&subscriber), shape.size);
        }
        while back.dynamic_config().number_of_subscribers() > 0 {
            thread::sleep(Duration::from_millis(1));
        }
        [0, 0]
    });
    // In a copy too, so that this process has still one thread when the next copy is made.
    let timed = fork(|| {
        let node = node();
        let (there, back) = (open(&node, &there, shape), open(&node, &back, shape));
        let (subscriber, publisher) = (subscriber(&back, shape), publisher(&there, shape));
        while there.dynamic_config().number_of_subscribers() == 0 {
            thread::yield_now();
        }
        let (mut begin, mut sum) = (0, 0);
        for n in 0..total {
            if n == 1 {
                begin = monotonic_ns();
            }
            // The warm-up is number 0 as well, and adds nothing.
            send(&publisher, n.saturating_sub(1), shape.size);
            sum += receive(&subscriber);
        }
        [monotonic_ns() - begin, sum]
    });
    let [taken, sum] = timed.join();
    echo.join();
    (Duration::from_nanos(taken), sum)
}

fn node() -> Node<ipc::Service> {
    set_log_level(LogLevel::Error); // it would say that it has no configuration file
    NodeBuilder::new().create().expect("a node")
}

fn open(node: &Node<ipc::Service>, name: &str, shape: QueueShape) -> Service {
    let name: ServiceName = name.try_into().expect("a short name");
    node.service_builder(&name)
        .publish_subscribe::<Bytes>()
        .enable_safe_overflow(false) // else a full buffer loses its oldest message
        .subscriber_max_buffer_size(shape.capacity())
        .max_publishers(1)
        .max_subscribers(1)
        .max_nodes(2)
        .open_or_create()
        .expect("a service")
}

fn publisher(service: &Service, shape: QueueShape) -> Publisher<ipc::Service, Bytes, ()> {
    service
        .publisher_builder()
        .initial_max_slice_len(shape.size)
        .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
        .create()
        .expect("a publisher")
}

fn subscriber(service: &Service, shape: QueueShape) -> Subscriber<ipc::Service, Bytes, ()> {
    service
        .subscriber_builder()
        .buffer_size(shape.capacity())
        .create()
        .expect("a subscriber")
}

fn send(publisher: &Publisher<ipc::Service, Bytes, ()>, number: u64, size: usize) {
    let sample = publisher.loan_slice_uninit(size).expect("room");
    let number = number.to_le_bytes();
    let sample = sample.write_from_fn(|at| number.get(at).copied().unwrap_or(0));
    sample.send().expect("the subscriber is there");
}

fn receive(subscriber: &Subscriber<ipc::Service, Bytes, ()>) -> u64 {
    let mut looks = 0;
    loop {
        if let Some(sample) = subscriber.receive().expect("the publisher is there") {
            return u64::from_le_bytes(sample[..8].try_into().expect("eight bytes"));
        }
        looks += 1;
        if looks % LOOKS == 0 {
            thread::yield_now();
        } else {
            spin_loop();
        }
    }
}
