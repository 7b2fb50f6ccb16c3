use bingfa::coroutine;

fn main() {
    let handle = coroutine::scope(|s| s.spawn(|| 1));
    handle.join().unwrap();
}
