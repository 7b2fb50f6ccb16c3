//! `process-wake`: one thread that waits for another process, at an ipc-channel or at a bare pipe.

use crate::forked::fork;
use harness::{Args, latency_figures, monotonic_ns, send_moments};
use ipc_channel::ipc::{self, IpcSender};
use std::io::{Read, Write, pipe};

pub(crate) fn run(args: &Args) {
    let total: u64 = args.number("total");
    let latencies: Vec<u64> = match args.contender.as_str() {
        "ipc-channel" => {
            let (sender, receiver) = ipc::channel::<u64>().expect("a channel");
            let other = procspawn::spawn((sender, total), |(sender, total)| {
                let sender: IpcSender<u64> = sender;
                send_moments(total, |_, moment| {
                    sender.send(moment).expect("somebody waits there");
                });
            });
            let mut latencies = Vec::new();
            while let Ok(moment) = receiver.recv() {
                latencies.push(monotonic_ns() - moment);
            }
            other.join().expect("it ends well");
            latencies
        }
        "pipe" => {
            let (mut reader, writer) = pipe().expect("a pipe");
            let other = fork(|| {
                send_moments(total, |_, moment| {
                    let bytes = moment.to_le_bytes();
                    (&writer).write_all(&bytes).expect("somebody waits there");
                });
                [0, 0]
            });
            drop(writer);
            let mut bytes = [0; 8];
            let mut latencies = Vec::new();
            while reader.read_exact(&mut bytes).is_ok() {
                latencies.push(monotonic_ns() - u64::from_le_bytes(bytes));
            }
            other.join();
            latencies
        }
        _ => args.unknown(),
    };
    assert_eq!(latencies.len() as u64, total, "lost or doubled");
    latency_figures(latencies).print();
}
