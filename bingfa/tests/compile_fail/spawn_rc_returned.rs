use std::rc::Rc;

fn main() {
    bingfa::coroutine::spawn(|| Rc::new(1));
}
