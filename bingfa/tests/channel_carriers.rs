//! The channels on every carrier: the checks of all ways.

mod common;

use bingfa::queue;
use bingfa::sync::mpsc;
use common::ways::{Law, conforms};

#[test]
fn channels() {
    for capacity in [1, 60] {
        conforms(Law::First, Some(capacity), || queue::bounded(capacity));
    }
    conforms(Law::First, Some(0), queue::rendezvous);
    conforms(Law::First, None, queue::unbounded);
}

#[test]
fn mpsc() {
    conforms(Law::First, None, mpsc::channel);
    for capacity in [0, 1, 60] {
        conforms(Law::First, Some(capacity), || mpsc::sync_channel(capacity));
    }
}
