use std::rc::Rc;

use bingfa::coroutine;

fn main() {
    bingfa::run(|| {
        let handle = coroutine::spawn_local(|| Rc::new(1));
        std::thread::spawn(move || handle.join());
    });
}
