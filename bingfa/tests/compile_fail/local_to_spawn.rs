use std::cell::RefCell;

bingfa::coroutine_local! {
    static NAMES: RefCell<Vec<String>> = RefCell::new(Vec::new());
}

fn main() {
    // A reference into a coroutine-local does not leave `with`.
    let names = NAMES.with(|names| names);
    names.borrow_mut().clear();
}
