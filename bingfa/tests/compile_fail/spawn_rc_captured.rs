use std::rc::Rc;

fn main() {
    let rc = Rc::new(1);
    bingfa::coroutine::spawn(move || *rc);
}
