use bingfa::coroutine;

fn main() {
    let mut outer = None;
    coroutine::scope(|s| outer = Some(s));
    outer.unwrap().spawn(|| 1);
}
