fn main() {
    let number = 1;
    let reference = &number;
    bingfa::coroutine::spawn(move || *reference);
    bingfa::coroutine::spawn_local(move || *reference);
}
