#[bingfa::test]
async fn asynchronous() {}

#[bingfa::test]
fn with(argument: u32) {}

#[bingfa::test]
fn generic<T>() {}

#[bingfa::test(workers = 2)]
fn configured() {}

#[bingfa::test]
#[test]
fn twice() {}

#[bingfa::test]
struct NotAFunction;

fn main() {}
