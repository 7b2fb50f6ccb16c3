//! Values of several types in one list or dict, as the notes have them in Python.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Any {
    Nothing,
    Truth(bool),
    Whole(i64),
    Real(f64),
    Text(String),
}

/// As Python shows them.
impl fmt::Display for Any {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Any::Nothing => f.write_str("None"),
            Any::Truth(true) => f.write_str("True"),
            Any::Truth(false) => f.write_str("False"),
            Any::Whole(n) => write!(f, "{n}"),
            Any::Real(x) => write!(f, "{x}"),
            Any::Text(text) => write!(f, "'{text}'"),
        }
    }
}

/// They all, with commas.
pub fn joined(all: impl IntoIterator<Item = impl fmt::Display>) -> String {
    let texts: Vec<String> = all.into_iter().map(|one| one.to_string()).collect();
    texts.join(", ")
}
