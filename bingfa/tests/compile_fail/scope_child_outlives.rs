use bingfa::coroutine;

fn main() {
    coroutine::scope(|s| {
        let inner = 1;
        s.spawn(|| inner + 1);
    });
}
