//! The peers and floors that bingfa is measured against: a module per runtime, a function per bench.
//!
//! Started by the runner as `peers CONTENDER BENCH key=value ...`; what it prints is told in the crate `harness`.

mod epoll_loop;
mod floors;
mod may_rt;
mod monoio_rt;
mod smol_rt;
mod threads;
mod tokio_rt;

use harness::Args;

fn main() {
    let args = Args::from_env();
    harness::raise_descriptor_limit();
    match args.contender.as_str() {
        "tokio" | "tokio-current" => tokio_rt::run(&args),
        "may" => may_rt::run(&args),
        "smol" => smol_rt::run(&args),
        "monoio" => monoio_rt::run(&args),
        "std" => threads::run(&args),
        "epoll-loop" => epoll_loop::run(&args),
        "corosensei" => floors::corosensei(&args),
        "page-touch" | "page-touch-1" => floors::page_touch(&args),
        other => panic!("no contender is called {other}"),
    }
}
