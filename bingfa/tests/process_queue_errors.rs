//! Queues in a process and between processes fail alike.

use bingfa::process::Queue;

#[test]
fn both_families_of_queues_fail_by_the_same_names() {
    macro_rules! fails_alike {
        ($family:ident, $queue:expr, $get:pat, $put:pat) => {{
            use bingfa::$family::{GetError, PutError};
            let queue = $queue;
            let empty = queue.try_get().unwrap_err();
            assert!(matches!(empty, GetError::Empty) && empty.is_empty() && !empty.is_closed());
            assert!(queue.try_put(1u8).is_ok());
            let full = queue.try_put(2).unwrap_err();
            assert!(full.is_full() && !full.is_closed());
            assert!(matches!(full, PutError::Full(2)) && full.into_inner() == 2);
            queue.close();
            let closed = queue.try_put(3).unwrap_err();
            assert!(matches!(closed, $put) && closed.is_closed() && !closed.is_full());
            assert_eq!(closed.into_inner(), 3);
            assert_eq!(queue.try_get().unwrap(), 1);
            let closed = queue.try_get().unwrap_err();
            assert!(matches!(closed, $get) && closed.is_closed() && !closed.is_empty());
        }};
    }
    let here = bingfa::queue::Queue::bounded(1);
    fails_alike!(queue, here, GetError::Closed, PutError::Closed(_));
    let between = Queue::bounded(1).unwrap();
    fails_alike!(process, between, GetError::Closed(_), PutError::Closed(..));
}
