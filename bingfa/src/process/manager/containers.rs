//! What a manager does with dicts and lists: their keys and values are bytes to it.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;

use super::link::Outgoing;
use super::protocol::{Bytes, DictOp, Item, ListOp, Refusal, Reply};
use super::state::{Done, Next, Refused, Session, State, lock, say};
use crate::process::wire::Encoded;
use crate::sync::Mutex;

pub(super) type Entries = HashMap<Vec<u8>, Encoded>;

/// Descriptors for one more message with this value.
pub(super) fn copies(value: &Encoded) -> io::Result<Vec<OwnedFd>> {
    value.fds.iter().map(OwnedFd::try_clone).collect()
}

fn copy(value: &Encoded) -> io::Result<Encoded> {
    Ok(Encoded {
        bytes: value.bytes.clone(),
        fds: copies(value)?,
        ..Encoded::default()
    })
}

pub(super) fn kept(bytes: Bytes<'_>, fds: Vec<OwnedFd>) -> Encoded {
    Encoded {
        bytes: bytes.0.to_vec(),
        fds,
        ..Encoded::default()
    }
}

/// Answers with a value that stays, or with none.
fn show(out: &mut Outgoing, value: Option<&Encoded>) -> Done {
    let Some(value) = value else {
        return say(out, &Reply::Absent);
    };
    out.fill(&Reply::Value(Bytes(&value.bytes)), copies(value)?)?;
    Ok(Next::Answer)
}

/// Answers with a value that is given away, or with none.
pub(super) fn hand_over(out: &mut Outgoing, value: Option<Encoded>) -> Done {
    let Some(Encoded { bytes, fds, .. }) = value else {
        return say(out, &Reply::Absent);
    };
    out.fill(&Reply::Value(Bytes(&bytes)), fds)?;
    Ok(Next::Answer)
}

/// Answers with several values that stay.
fn show_all<'a>(out: &mut Outgoing, values: impl Iterator<Item = (&'a [u8], &'a Encoded)>) -> Done {
    let mut fds = Vec::new();
    let mut items = Vec::new();
    for (key, value) in values {
        fds.append(&mut copies(value)?);
        items.push(Item {
            key: Bytes(key),
            value: Bytes(&value.bytes),
            fds: value.fds.len() as u16,
        });
    }
    out.fill(&Reply::Items(items), fds)?;
    Ok(Next::Answer)
}

/// The items of a message, each with its own of the message's descriptors.
fn several(items: Vec<Item<'_>>, fds: Vec<OwnedFd>) -> impl Iterator<Item = (Vec<u8>, Encoded)> {
    let mut fds = fds.into_iter();
    items.into_iter().map(move |item| {
        let own = fds.by_ref().take(usize::from(item.fds)).collect();
        (item.key.0.to_vec(), kept(item.value, own))
    })
}

impl State {
    pub(super) fn dict(
        &self,
        session: &Session,
        entries: &Mutex<Entries>,
        op: DictOp<'_>,
        fds: Vec<OwnedFd>,
        out: &mut Outgoing,
    ) -> Done {
        let mut entries = lock(entries);
        match op {
            DictOp::Get(key) => show(out, entries.get(key.0)),
            DictOp::Insert(key, value) => {
                put(&mut entries, key, kept(value, fds));
                say(out, &Reply::Done)
            }
            DictOp::Extend(items) => {
                entries.extend(several(items, fds));
                say(out, &Reply::Done)
            }
            DictOp::Remove(key) => hand_over(out, entries.remove(key.0)),
            DictOp::Contains(key) => say(out, &Reply::Flag(entries.contains_key(key.0))),
            DictOp::Len => say(out, &Reply::Number(entries.len() as u64)),
            DictOp::Items => show_all(out, entries.iter().map(|(key, value)| (&key[..], value))),
            DictOp::Clear => {
                entries.clear();
                say(out, &Reply::Done)
            }
            DictOp::Exchange(key, current, new) => {
                let found = entries.get(key.0);
                if found.map(|found| &found.bytes[..]) != current.map(|current| current.0) {
                    return show(out, found);
                }
                match new {
                    Some(new) => put(&mut entries, key, kept(new, fds)),
                    None => drop(entries.remove(key.0)),
                }
                say(out, &Reply::Done)
            }
            DictOp::Update(call, key, args) => {
                let found = entries.get(key.0).map(copy).transpose()?;
                let contents = found.into_iter().collect();
                let (mut new, result) = self.update(session, call, contents, kept(args, fds))?;
                match new.pop() {
                    Some(value) => put(&mut entries, key, value),
                    None => drop(entries.remove(key.0)),
                }
                hand_over(out, Some(result))
            }
        }
    }

    pub(super) fn list(
        &self,
        session: &Session,
        items: &Mutex<Vec<Encoded>>,
        op: ListOp<'_>,
        fds: Vec<OwnedFd>,
        out: &mut Outgoing,
    ) -> Done {
        let mut items = lock(items);
        let len = items.len();
        // The place, if there is one; also the one behind the last, if that is `open`.
        let place = |index: u64, open: bool| {
            let found = usize::try_from(index).ok();
            let found = found.filter(|&at| at < len || open && at == len);
            let none = || format!("there is no place {index} in a list of {len}");
            found.ok_or_else(|| Refused(Refusal::NotFound, none()))
        };
        match op {
            ListOp::Extend(more) => items.extend(several(more, fds).map(|(_, item)| item)),
            ListOp::Push(item) => items.push(kept(item, fds)),
            ListOp::Pop => return hand_over(out, items.pop()),
            ListOp::Get(index) => {
                let found = place(index, false).ok().map(|at| &items[at]);
                return show(out, found);
            }
            ListOp::Set(index, item) => items[place(index, false)?] = kept(item, fds),
            ListOp::Insert(index, item) => items.insert(place(index, true)?, kept(item, fds)),
            ListOp::Remove(index) => {
                let found = place(index, false).ok().map(|at| items.remove(at));
                return hand_over(out, found);
            }
            ListOp::Len => return say(out, &Reply::Number(len as u64)),
            ListOp::Items => return show_all(out, items.iter().map(|item| (&b""[..], item))),
            ListOp::Reverse => items.reverse(),
            ListOp::Clear => items.clear(),
            ListOp::Update(call, args) => {
                let contents = items.iter().map(copy).collect::<io::Result<_>>()?;
                let (new, result) = self.update(session, call, contents, kept(args, fds))?;
                *items = new;
                return hand_over(out, Some(result));
            }
        }
        say(out, &Reply::Done)
    }
}

fn put(entries: &mut Entries, key: Bytes<'_>, value: Encoded) {
    match entries.get_mut(key.0) {
        Some(entry) => *entry = value,
        None => drop(entries.insert(key.0.to_vec(), value)),
    }
}
