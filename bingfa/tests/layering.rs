//! Who may use whom: the rooms of the crate and the arrows between them.
//!
//! Looks at every `crate::ROOM` path in the sources, wherever it stands: in `use` lines
//! (with nested braces), in expressions, in tests and in the bodies of macros.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A room and the rooms that it may use; itself always, nothing else.
const ARROWS: &[(&str, &[&str])] = &[
    // What carries the others.
    ("sys", &[]),
    ("stack", &["sys"]),
    ("registry", &["sys"]),
    ("shm", &["sys"]),
    ("park", &["stack", "registry", "sys"]),
    ("reactor", &["park", "registry", "sys"]),
    ("sched", &["reactor", "park", "stack", "registry", "sys"]),
    // What people import.
    ("time", &["park"]),
    ("sync", &["park", "registry"]),
    ("queue", &["sync", "park", "registry"]),
    ("thread", &["sched", "park", "stack", "registry", "sys"]),
    ("coroutine", &["sched", "park", "stack", "registry", "sys"]),
    ("io", &["reactor", "sched", "park", "registry", "sys"]),
    (
        "net",
        &["io", "reactor", "sched", "park", "registry", "sys"],
    ),
    ("fs", &["io", "reactor", "sched", "park", "registry", "sys"]),
    ("os", &["net", "io", "reactor", "park", "sys"]),
    ("selectors", &["io", "time", "sys"]),
    (
        "process",
        &[
            "shm",
            "io",
            "net",
            "os",
            "sync",
            "queue",
            "time",
            "thread",
            "coroutine",
            "sched",
            "reactor",
            "park",
            "registry",
            "sys",
        ],
    ),
    (
        "pool",
        &[
            "process",
            "coroutine",
            "thread",
            "sync",
            "queue",
            "time",
            "park",
            "registry",
        ],
    ),
    (
        "future",
        &["sched", "park", "coroutine", "net", "io", "sync", "time"],
    ),
    ("observe", &["registry", "sched", "park", "stack", "shm"]),
];

/// A first name after `crate::`, and its line.
#[derive(Debug, PartialEq)]
struct Used {
    name: String,
    line: usize,
}

/// The names after every `crate::`, also those in braces: `crate::{a::b, c::{d}}` uses a and c.
fn uses(tokens: TokenStream, found: &mut Vec<Used>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (index, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Ident(ident) if ident == "crate" && colons(&tokens, index + 1) => {
                first_names(&tokens[index + 3..], found);
            }
            TokenTree::Group(group) => uses(group.stream(), found),
            _ => {}
        }
    }
}

fn colons(tokens: &[TokenTree], at: usize) -> bool {
    let colon = |i: usize| matches!(tokens.get(i), Some(TokenTree::Punct(p)) if p.as_char() == ':');
    colon(at) && colon(at + 1)
}

/// What follows `crate::`: a name, or names in braces, each up to its comma.
fn first_names(tokens: &[TokenTree], found: &mut Vec<Used>) {
    match tokens.first() {
        Some(TokenTree::Ident(ident)) => {
            // `crate::name!` is a macro, which is exported at the root wherever it lives.
            let is_macro = matches!(tokens.get(1), Some(TokenTree::Punct(p)) if p.as_char() == '!');
            if !is_macro {
                let line = ident.span().start().line;
                found.push(Used {
                    name: ident.to_string(),
                    line,
                });
            }
        }
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
            let inner: Vec<TokenTree> = group.stream().into_iter().collect();
            let comma = |t: &TokenTree| matches!(t, TokenTree::Punct(p) if p.as_char() == ',');
            for part in inner.split(comma) {
                first_names(part, found);
            }
        }
        Some(TokenTree::Punct(star)) if star.as_char() == '*' => {
            found.push(Used {
                name: "*".into(),
                line: star.span().start().line,
            });
        }
        _ => {}
    }
}

/// What is wrong in a file of `room`, a line each.
fn check(room: &str, file: &str, source: &str) -> Vec<String> {
    let tokens: TokenStream = source
        .parse()
        .unwrap_or_else(|error| panic!("{file}: {error}"));
    let mut found = Vec::new();
    uses(tokens, &mut found);
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == room) else {
        return vec![format!("{file}: `{room}` is not a known room")];
    };
    let wrong = found
        .into_iter()
        .filter(|used| used.name != room && !allowed.contains(&used.name.as_str()));
    wrong
        .map(|Used { name, line }| {
            let known = ARROWS.iter().any(|(room, _)| *room == name);
            let hint = if known {
                ""
            } else {
                " (not a room: name the room that it lives in)"
            };
            let allowed = allowed.join(", ");
            format!("{file}:{line}: `{room}` uses `{name}`{hint}; it may use: {allowed}")
        })
        .collect()
}

fn rust_files(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

#[test]
fn rooms_use_only_the_rooms_that_they_may() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    let mut wrong = Vec::new();
    let mut rooms = BTreeSet::new();
    for path in files {
        let relative = path.strip_prefix(&src).unwrap();
        if relative == Path::new("lib.rs") {
            continue; // declares and re-exports the rooms
        }
        let room = relative.components().next().unwrap().as_os_str();
        let room = room.to_str().unwrap().trim_end_matches(".rs");
        rooms.insert(room.to_string());
        let file = format!("src/{}", relative.display());
        wrong.extend(check(room, &file, &fs::read_to_string(&path).unwrap()));
    }
    assert!(
        rooms.contains("park") && rooms.contains("sched"),
        "{rooms:?}"
    );
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// No arrow leads back: what carries never uses what it carries.
#[test]
fn the_arrows_make_no_circle() {
    let arrows: BTreeMap<_, _> = ARROWS.iter().copied().collect();
    let mut settled = BTreeSet::new();
    while settled.len() < arrows.len() {
        let next = arrows.iter().find(|(room, allowed)| {
            !settled.contains(*room) && allowed.iter().all(|room| settled.contains(room))
        });
        let (room, _) = next.expect("what is left uses itself in a circle, or an unknown room");
        settled.insert(*room);
    }
}

#[test]
fn every_form_of_path_is_found() {
    let source = r#"
        //! crate::in_a_doc
        use crate::one::A; // crate::in_a_comment
        use crate::{two::{B, crate_x}, three, four::{self, five::C}};
        fn f() -> crate::six::T { let s = "crate::in_a_string"; g(crate::seven::<u8>) }
        macro_rules! m { ($x:expr) => { $crate::eight::h(crate::nine![$x]) }; }
        pub(crate) struct S { x: u8 }
        use crate::*;
    "#;
    let mut found = Vec::new();
    uses(source.parse().unwrap(), &mut found);
    let names: Vec<&str> = found.iter().map(|used| used.name.as_str()).collect();
    assert_eq!(
        names,
        ["one", "two", "three", "four", "six", "seven", "eight", "*"]
    );
    assert_eq!(found[1].line, 4);
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let wrong = check(
        "park",
        "src/park/x.rs",
        "use crate::sys;\nuse crate::{sched, Oops};",
    );
    assert_eq!(
        wrong,
        [
            "src/park/x.rs:2: `park` uses `sched`; it may use: stack, registry, sys",
            "src/park/x.rs:2: `park` uses `Oops` (not a room: name the room that it lives in); \
             it may use: stack, registry, sys",
        ]
    );
}
