//! Forks, and processes that are denied io_uring.

use std::process::Command;

use super::*;
use crate::reactor::{IoBackend, choose};
use crate::sys::testing;

/// Set in the child that this test binary runs of itself.
const CHILD: &str = "BINGFA_TEST_CHILD";

/// Runs the test `name` of this binary in a process of its own.
fn rerun(name: &str, io: Option<&str>) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([
        "--exact",
        &format!("{}::{name}", module_path!().split_once("::").unwrap().1),
    ]);
    command
        .args(["--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .env_remove("BINGFA_IO");
    if let Some(io) = io {
        command.env("BINGFA_IO", io);
    }
    let output = command.output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && printed.contains("1 passed"),
        "{printed}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

#[test]
fn where_io_uring_is_denied_epoll_serves() {
    if !is_child() {
        return rerun("where_io_uring_is_denied_epoll_serves", None);
    }
    testing::deny_io_uring().unwrap();
    let (kind, reason) = choose(IoBackend::Auto).unwrap();
    assert_eq!(kind, Kind::Epoll);
    assert_eq!(
        reason,
        "io_uring is denied: Operation not permitted (seccomp? kernel.io_uring_disabled?); using \
         epoll"
    );
    let (ours, mut peer) = tcp();
    settle(&mut Worker::new(kind), &ours, &mut peer);

    let error = choose(IoBackend::Uring).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
    assert!(
        error
            .to_string()
            .contains("permit the io_uring system calls"),
        "{error}"
    );
}

#[test]
fn the_variable_forces_a_backend() {
    if !is_child() {
        return rerun("the_variable_forces_a_backend", Some("epoll"));
    }
    let (kind, reason) = choose(IoBackend::Auto).unwrap();
    assert_eq!((kind, reason.as_str()), (Kind::Epoll, "BINGFA_IO=epoll"));
}

#[test]
fn nonsense_in_the_variable_is_an_error() {
    if !is_child() {
        return rerun("nonsense_in_the_variable_is_an_error", Some("nonsense"));
    }
    let error = choose(IoBackend::Auto).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert!(error.to_string().contains("\"nonsense\""), "{error}");
}

#[test]
fn a_fork_may_not_wait_and_does_no_harm() {
    if !is_child() {
        return rerun("a_fork_may_not_wait_and_does_no_harm", None);
    }
    on_each(|worker| {
        let (ours, mut peer) = tcp();
        let call = ours.recv(10);
        worker.start(&call);
        worker.assert_pending(&call);
        let late = ours.recv(10);
        assert!(testing::panics_in_fork(|| worker.wait()));
        assert!(testing::panics_in_fork(|| worker.submit(&late)));
        assert!(testing::panics_in_fork(|| worker.flush()));
        assert!(testing::panics_in_fork(|| worker.cancel(&call)));
        // The child's copy of a socket is closed, and its own driver works.
        let fine = testing::panics_in_fork(|| {
            ours.source.release(ours.fd());
            let (ours, mut peer) = unix();
            let kind = if worker.is_epoll {
                Kind::Epoll
            } else {
                kinds()[1]
            };
            settle(&mut Worker::new(kind), &ours, &mut peer);
            panic!("all went well");
        });
        assert!(fine);
        peer.write_all(b"abc").unwrap();
        assert_eq!(
            worker.finish(&call),
            3,
            "the parent's registration is still there"
        );
    });
}
