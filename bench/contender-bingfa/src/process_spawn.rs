//! `process-spawn`: spawn and join, by the zygote or by a new image.

use bingfa::process::{Builder, StartMethod};
use harness::{Args, Figures, median_us};

pub(crate) fn run(args: &Args) {
    let method = match args.text("method") {
        Some("zygote") => StartMethod::Zygote,
        Some("exec") => StartMethod::Exec,
        other => panic!("no method {other:?}"),
    };
    let taken = median_us(args.number("total"), |n| {
        let child = Builder::new().start_method(method);
        let child = child.spawn(n, |n: u64| n + 1).expect("a process");
        assert_eq!(child.join().expect("a result"), n + 1);
    });
    Figures::new().with("us_per_process", taken).print();
}
