//! A process that says of itself that it waits for ever.

use std::io;
use std::time::Duration;

use bingfa::process::{self, Event, Receiver, Sender};
use bingfa::thread::{self, sleep};
use bingfa_examples::{blocked_at, must};
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
        let watched = thread::current().id().as_u64().get();
        thread::spawn(move || {
            self.asked.wait();
            let wait = loop {
                match blocked_at(watched, "process queue", &helpless) {
                    Some(wait) => break wait,
                    None => sleep(Duration::from_millis(1)), // it still works
                }
            };
            let answer = format!("{} blocked: {wait}", process::id());
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
