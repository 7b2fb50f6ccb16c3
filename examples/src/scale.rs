//! `--scale`: the programs sleep for seconds, their tests for milliseconds.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How long a second of a program lasts.
#[derive(Clone, Copy, Debug, clap::Args, Serialize, Deserialize)]
pub struct Scale {
    /// Multiplies every sleep: 0.1 is ten times as fast
    #[arg(long = "scale", value_name = "X", default_value_t = 1.0, global = true)]
    #[arg(value_parser = positive)]
    factor: f64,
}

impl Scale {
    /// So many seconds, scaled.
    pub fn seconds(self, seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds * self.factor)
    }

    /// One to three seconds, at random, scaled.
    pub fn a_while(self) -> Duration {
        self.seconds(f64::from(fastrand::u8(1..=3)))
    }

    /// The factor itself, to hand on.
    pub fn factor(self) -> f64 {
        self.factor
    }
}

/// Small enough that the longest sleep (an hour) still fits into a [`Duration`].
fn positive(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(factor) if factor > 0.0 && factor <= 1e6 => Ok(factor),
        _ => Err("expected a number above 0 and at most 1000000".into()),
    }
}
