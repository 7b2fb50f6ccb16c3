//! A process that says of itself that it waits for ever.

use std::io;
use std::time::Duration;

use bingfa::observe::{self, State};
use bingfa::process::{self, Event, Receiver, Sender};
use bingfa::thread::{self, sleep};
use bingfa_examples::must;
use serde::{Deserialize, Serialize};

/// What a child has, to answer with.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Watch {
    asked: Event,
    answers: Sender<String>,
}

/// What its parent has, to ask with.
pub(crate) struct Watcher {
    ask: Event,
    answers: Receiver<String>,
}

pub(crate) fn watch() -> io::Result<(Watch, Watcher)> {
    let asked = Event::new()?;
    let (sender, answers) = process::channel(None)?;
    let ask = asked.clone();
    let watch = Watch {
        asked,
        answers: sender,
    };
    Ok((watch, Watcher { ask, answers }))
}

impl Watch {
    /// Puts a thread beside the calling one that answers, once it is asked and the caller waits
    /// for a queue in a state in which only others could help. It ends with the process.
    pub(crate) fn this_thread(self, helpless: impl Fn() -> bool + Send + 'static) {
        let watched = thread::current().id().as_u64();
        thread::spawn(move || {
            self.asked.wait();
            let wait = loop {
                // In this order: who is still listed as waiting may have been woken by the last
                // item, but not if the queue had none before.
                let wait = helpless().then(observe::snapshot).and_then(|all| {
                    let of_it = all.into_iter().find(|one| one.info.id == watched)?;
                    let blocked = of_it.info.state == State::Blocked;
                    of_it.info.last_wait.filter(|_| blocked)
                });
                match wait {
                    Some(wait) if wait.what.starts_with("process queue") => break wait,
                    _ => sleep(Duration::from_millis(1)), // it still works
                }
            };
            let (pid, what, at) = (process::id(), wait.what, wait.at);
            let answer = format!("{pid} blocked: {what} at {}:{}", at.file(), at.line());
            must(self.answers.send(answer).map_err(io::Error::other));
        });
    }
}

impl Watcher {
    /// Waits until so many say that they are blocked, and prints where.
    ///
    /// # Errors
    /// If they have ended instead.
    pub(crate) fn prints(&self, how_many: usize) -> io::Result<()> {
        self.ask.set();
        for _ in 0..how_many {
            println!("{}", self.answers.recv().map_err(io::Error::other)?);
        }
        Ok(())
    }
}
