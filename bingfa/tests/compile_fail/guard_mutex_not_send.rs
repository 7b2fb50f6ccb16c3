use bingfa::sync::Mutex;

fn main() {
    let lock = Mutex::new(0);
    let guard = lock.lock().unwrap();
    bingfa::coroutine::scope(|s| {
        s.spawn(move || drop(guard));
    });
}
