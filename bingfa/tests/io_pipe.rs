//! The twin of std's anonymous pipe, on whichever carrier the tests run.

mod common;

use std::io::ErrorKind;
use std::os::fd::OwnedFd;

use bingfa::coroutine;
use bingfa::io::{self, PipeReader, PipeWriter, Read, Write};

use common::cancel_and_join;

#[bingfa::test]
fn what_goes_in_comes_out_until_the_last_writer_is_gone() {
    let (mut reader, writer) = io::pipe().unwrap();
    let mut other = writer.try_clone().unwrap();
    let writers = [
        coroutine::spawn(move || (&writer).write_all(&[1; 100_000])), // more than it has room for
        coroutine::spawn(move || other.write_all(&[2; 100_000])),
    ];
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    coroutine::join_all(writers).unwrap();
    assert_eq!(bytes.len(), 200_000);
    assert_eq!(bytes.iter().filter(|&&byte| byte == 1).count(), 100_000);
}

#[bingfa::test]
fn a_write_that_nobody_can_read_is_an_error() {
    let (reader, mut writer) = io::pipe().unwrap();
    drop(reader);
    let error = writer.write(b"x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

#[bingfa::test]
fn a_cancelled_reader_has_taken_nothing() {
    let (reader, mut writer) = io::pipe().unwrap();
    let mut second = reader.try_clone().unwrap();
    let waits = coroutine::spawn(move || (&reader).read(&mut [0; 8]));
    common::until(|| waits.state() == coroutine::State::Blocked);
    cancel_and_join(waits);
    writer.write_all(b"x").unwrap();
    drop(writer);
    let mut text = String::new();
    second.read_to_string(&mut text).unwrap();
    assert_eq!(text, "x");
}

#[bingfa::test]
fn its_ends_become_std_s_and_come_back() {
    let (reader, writer) = io::pipe().unwrap();
    let reader = PipeReader::from(std::io::PipeReader::from(reader));
    let mut writer = PipeWriter::from(OwnedFd::from(writer));
    writer.write_all(b"x").unwrap();
    let mut byte = [0];
    (&reader).read_exact(&mut byte).unwrap();
    assert_eq!(byte, *b"x");
    assert!(format!("{reader:?}").starts_with("PipeReader("));
}

#[cfg(feature = "process")]
#[bingfa::test]
fn a_command_writes_into_it() {
    let (mut reader, writer) = io::pipe().unwrap();
    let mut child = bingfa::process::Command::new("echo")
        .arg("heard")
        .stdout(writer)
        .spawn()
        .unwrap();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "heard\n");
    assert!(child.wait().unwrap().success());
}
