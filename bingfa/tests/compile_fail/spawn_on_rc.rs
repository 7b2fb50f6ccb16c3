use std::rc::Rc;

fn main() {
    let runtime = bingfa::Runtime::builder().build().unwrap();
    let rc = Rc::new(1);
    runtime.spawn(move || *rc);
}
