//! `manager`: set and get in a manager's dict, by client processes.

use bingfa::process::{
    self,
    manager::{Dict, Event, Manager, Proxy},
};
use harness::{Args, DictWork, Figures};

type Job = (Proxy<Dict<u64, u64>>, Proxy<Event>, u64, f64);

pub(crate) fn run(args: &Args) {
    let (clients, seconds): (u64, f64) = (args.number("clients"), args.number("seconds"));
    let manager = Manager::new().expect("a manager");
    let dict = manager.dict().expect("a dict");
    let go = manager.event().expect("an event");
    let children: Vec<_> = (0..clients)
        .map(|n| process::spawn((dict.clone(), go.clone(), n, seconds), client))
        .collect();
    go.set().expect("an event");
    let rates = children
        .into_iter()
        .map(|child| child.join().expect("a rate"));
    Figures::new().with("ops_per_s", rates.sum()).print();
}

fn client((dict, go, n, seconds): Job) -> f64 {
    let mut work = DictWork::new(n);
    let mut step = |key, value| {
        dict.insert(key, value).expect("the manager lives");
        assert_eq!(dict.get(&key).expect("the manager lives"), Some(value));
    };
    work.steps(500, &mut step);
    go.wait().expect("the manager lives");
    work.rate(seconds, &mut step)
}
