mod one {
    #[bingfa::main]
    fn main(argument: u32) {}
}
mod two {
    #[bingfa::main]
    fn main<T>() {}
}
mod three {
    #[bingfa::main]
    fn start() {}
}
mod four {
    #[bingfa::main(wrokers = 2)]
    fn main() {}
}
mod five {
    #[bingfa::main(policy = Random)]
    fn main() {}
}
fn main() {}
