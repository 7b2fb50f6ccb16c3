//! The other side of each of the bounds.

use std::cell::Cell;
use std::rc::Rc;

use bingfa::coroutine::{self, JoinHandle};

fn is_send<T: Send>() {}

fn main() {
    is_send::<JoinHandle<u32>>();
    is_send::<coroutine::Coroutine>();
    bingfa::run(|| {
        let rc = Rc::new(Cell::new(0));
        let local = rc.clone();
        coroutine::spawn_local(move || local.set(1)).join().unwrap();
        let not_sync = Cell::new(0);
        coroutine::scope(|s| {
            let handle = s.spawn_local(|| {
                not_sync.set(rc.get());
                rc.clone()
            });
            assert_eq!(handle.join().unwrap().get(), 1);
        });
        // What is made inside need not be `Send`.
        let inside = coroutine::spawn(|| {
            let rc = Rc::new(5);
            coroutine::yield_now();
            *rc
        });
        assert_eq!(inside.join().unwrap() + not_sync.get(), 6);
    });
}
