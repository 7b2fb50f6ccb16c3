//! The benches: a file each.

mod echo;
mod fair;
mod parked;
mod spawn;
mod switch;
mod timers;

use crate::options::Options;
use crate::plan::Bench;

/// The names of the command line.
pub(crate) const NAMES: [&str; 6] = ["switch", "spawn", "parked", "echo", "timers", "fair"];

/// All benches, as `options` wants them.
pub(crate) fn all(options: &Options) -> Vec<Bench> {
    vec![
        switch::bench(options),
        spawn::bench(options),
        parked::bench(options),
        echo::bench(options),
        timers::bench(options),
        fair::bench(options),
    ]
}
