#[bingfa::main]
async fn main() {}
