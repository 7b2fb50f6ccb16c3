use std::cell::Cell;

use bingfa::coroutine;

fn main() {
    let cell = Cell::new(1);
    coroutine::scope(|s| {
        s.spawn(|| cell.set(2));
    });
}
