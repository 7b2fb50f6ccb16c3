use bingfa::coroutine;

fn main() {
    let text = String::from("gone");
    coroutine::scope(|s| {
        s.spawn(|| text.len());
        drop(text);
    });
}
