use bingfa::coroutine;

fn main() {
    let mut number = 1;
    coroutine::scope(|s| {
        s.spawn(|| number += 1);
        s.spawn(|| number += 1);
    });
}
