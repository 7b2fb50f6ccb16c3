//! `bingfa::fs` does what std's does, on every carrier.

mod common;

use std::collections::BTreeSet;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bingfa::fs::{self, DirBuilder, File, FileTimes, OpenOptions, TryLockError};
use bingfa::io::{ErrorKind, IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write};
use bingfa::os::unix::fs::{
    DirBuilderExt, DirEntryExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink,
};
use bingfa::sync::Arc;

use common::crew::on_every_carrier;
use common::{assert_well, in_child, on_both};

/// More than is copied on a worker.
const LARGE: usize = 3 << 20;

/// A directory that goes with the test.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Dir {
        use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Relaxed);
        let name = format!("bingfa-fs-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Dir(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Bytes that say where they belong.
fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|i| ((i + seed) % 251) as u8).collect()
}

#[test]
fn what_was_written_is_read() {
    on_both(|| {
        let dir = Dir::new();
        let path = dir.file("text");
        let mut file = File::create_new(&path).unwrap();
        file.write_all(b"hello, ").unwrap();
        (&file).write_all(b"world").unwrap();
        file.flush().unwrap();
        file.sync_data().unwrap();
        file.sync_all().unwrap();
        assert_eq!(file.stream_position().unwrap(), 12);
        assert_eq!(file.seek(SeekFrom::End(-5)).unwrap(), 7);
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "world");
        file.rewind().unwrap();
        let mut some = [0; 5];
        file.read_exact(&mut some).unwrap();
        assert_eq!(&some, b"hello");
        assert_eq!(file.seek(SeekFrom::Current(100)).unwrap(), 105);
        assert_eq!(file.read(&mut some).unwrap(), 0);
        assert_eq!(file.read(&mut []).unwrap(), 0);

        assert_eq!(fs::read(&path).unwrap(), b"hello, world");
        fs::write(&path, "other").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "other");
    });
}

#[test]
fn large_transfers_are_whole() {
    on_both(|| {
        let dir = Dir::new();
        let path = dir.file("large");
        let data = pattern(LARGE, 0);
        let mut file = File::create_new(&path).unwrap();
        assert_eq!(file.write(&data).unwrap(), LARGE);
        file.rewind().unwrap();
        let mut read = vec![0; LARGE + 1];
        assert_eq!(file.read(&mut read).unwrap(), LARGE);
        assert!(read[..LARGE] == data);

        let other = pattern(LARGE, 7);
        assert_eq!(file.write_at(&other, 5).unwrap(), LARGE);
        assert_eq!(file.read_at(&mut read, 5).unwrap(), LARGE);
        assert!(read[..LARGE] == other);
        // The file's own position has not moved.
        assert_eq!(file.stream_position().unwrap(), LARGE as u64);
        assert_eq!(file.read_at(&mut read, 1 << 40).unwrap(), 0);
    });
}

#[test]
fn several_buffers_are_one_transfer() {
    on_both(|| {
        let dir = Dir::new();
        let mut file = File::create_new(dir.file("parts")).unwrap();
        let parts = [IoSlice::new(b"one"), IoSlice::new(b"two")];
        assert_eq!(file.write_vectored(&parts).unwrap(), 6);
        file.rewind().unwrap();
        let (mut a, mut b) = ([0; 2], [0; 10]);
        let mut parts = [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)];
        assert_eq!(file.read_vectored(&mut parts).unwrap(), 6);
        assert_eq!((&a, &b[..4]), (b"on", &b"etwo"[..]));
    });
}

#[test]
fn transfers_of_many_carriers_at_one_position_take_turns() {
    const LINES: usize = 60;
    on_every_carrier(|crew| {
        let dir = Dir::new();
        let path = dir.file("lines");
        let file = Arc::new(File::create_new(&path).unwrap());
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let file = file.clone();
                crew.spawn(move || {
                    for line in 0..LINES {
                        let line = format!("{writer} {line:05} {}\n", "x".repeat(90));
                        assert_eq!((&*file).write(line.as_bytes()).unwrap(), line.len());
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        let text = fs::read_to_string(&path).unwrap();
        let heads: BTreeSet<&str> = text.lines().map(|line| &line[..7]).collect();
        assert_eq!(text.lines().count(), 4 * LINES);
        assert_eq!(heads.len(), 4 * LINES);
    });
}

#[test]
fn many_carriers_read_and_write_at_offsets() {
    const PART: usize = 200_000;
    on_every_carrier(|crew| {
        let dir = Dir::new();
        let path = dir.file("parts");
        let file = Arc::new(File::create_new(&path).unwrap());
        let members: Vec<_> = (0..6)
            .map(|n| {
                let file = file.clone();
                crew.spawn(move || {
                    let (data, offset) = (pattern(PART, n), (n * PART) as u64);
                    file.write_all_at(&data, offset).unwrap();
                    file.sync_data().unwrap();
                    let mut read = vec![0; PART];
                    file.read_exact_at(&mut read, offset).unwrap();
                    assert!(read == data);
                })
            })
            .collect();
        for member in members {
            member.join().unwrap();
        }
        let all = fs::read(&path).unwrap();
        assert!((0..6).all(|n| all[n * PART..(n + 1) * PART] == pattern(PART, n)));
    });
}

#[test]
fn errors_are_those_of_std() {
    on_both(|| {
        let dir = Dir::new();
        let (path, missing) = (dir.file("file"), dir.file("missing/file"));
        fs::write(&path, "text").unwrap();
        let kind = |result: std::io::Result<()>| result.unwrap_err().kind();

        assert_eq!(kind(File::open(&missing).map(drop)), ErrorKind::NotFound);
        assert_eq!(kind(fs::write(&missing, "")), ErrorKind::NotFound);
        assert_eq!(kind(fs::rename(&missing, &path)), ErrorKind::NotFound);
        assert_eq!(kind(fs::remove_file(&missing)), ErrorKind::NotFound);
        assert_eq!(kind(fs::create_dir(missing)), ErrorKind::NotFound);
        assert_eq!(
            kind(File::create_new(&path).map(drop)),
            ErrorKind::AlreadyExists
        );
        assert_eq!(kind(fs::create_dir(&path)), ErrorKind::AlreadyExists);
        assert_eq!(kind(fs::read(&dir.0).map(drop)), ErrorKind::IsADirectory);
        assert_eq!(
            kind(File::create(&dir.0).map(drop)),
            ErrorKind::IsADirectory
        );
        assert_eq!(
            kind(File::open(&dir.0).unwrap().read(&mut [0]).map(drop)),
            ErrorKind::IsADirectory
        );
        assert_eq!(
            kind(File::open(path.join("below")).map(drop)),
            ErrorKind::NotADirectory
        );
        assert_eq!(kind(fs::remove_dir(&dir.0)), ErrorKind::DirectoryNotEmpty);
        assert_eq!(
            kind(fs::read_dir(&path).map(drop)),
            ErrorKind::NotADirectory
        );
        fs::write(dir.file("binary"), [0xff]).unwrap();
        assert_eq!(
            kind(fs::read_to_string(dir.file("binary")).map(drop)),
            ErrorKind::InvalidData
        );

        let read_only = File::open(&path).unwrap();
        let refused = (&read_only).write(b"x").unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(9), "{refused}"); // EBADF
        assert_eq!(
            read_only.write_at(b"x", 0).unwrap_err().raw_os_error(),
            Some(9)
        );
        assert_eq!(kind(read_only.set_len(0)), ErrorKind::InvalidInput);
        assert_eq!(
            kind(read_only.read_at(&mut [0], u64::MAX).map(drop)),
            ErrorKind::InvalidInput
        );
        assert_eq!(
            kind(OpenOptions::new().open(&path).map(drop)),
            ErrorKind::InvalidInput
        );
        assert_eq!(
            kind(File::open("nul\0byte").map(drop)),
            ErrorKind::InvalidInput
        );
    });
}

#[test]
fn a_full_device_is_an_error_of_the_write() {
    on_both(|| {
        let mut full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        assert_eq!(full.write(b"x").unwrap_err().kind(), ErrorKind::StorageFull);
        assert_eq!(
            full.write_all(&vec![0; LARGE]).unwrap_err().kind(),
            ErrorKind::StorageFull
        );
        let written = fs::write("/dev/full", "x");
        assert_eq!(written.unwrap_err().kind(), ErrorKind::StorageFull);
        assert_eq!(full.sync_all().unwrap_err().kind(), ErrorKind::InvalidInput);

        let mut zeros = [1; 100];
        File::open("/dev/zero")
            .unwrap()
            .read_exact(&mut zeros)
            .unwrap();
        assert_eq!(zeros, [0; 100]);
    });
}

#[test]
fn a_file_past_its_limit_is_an_error_of_the_write() {
    const LIMIT: usize = 8192;
    let test = "a_file_past_its_limit_is_an_error_of_the_write";
    if std::env::var_os("BINGFA_TEST_CHILD").is_none() {
        // The shell sets what only system calls can: the limit, and no death by its signal.
        let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$@\"", LIMIT / 512);
        let output = std::process::Command::new("sh")
            .args(["-c", &script, "sh"])
            .arg(std::env::current_exe().unwrap())
            .args([test, "--exact", "--nocapture", "--test-threads=1"])
            .env("BINGFA_TEST_CHILD", test)
            .output()
            .unwrap();
        return assert_well(&output);
    }
    in_child(test, &[], || {
        on_both(|| {
            let dir = Dir::new();
            let too_large = fs::write(dir.file("a"), vec![1; LIMIT + 1]).unwrap_err();
            assert_eq!(too_large.kind(), ErrorKind::FileTooLarge);
            let mut file = File::create_new(dir.file("b")).unwrap();
            file.write_all(&[1; LIMIT]).unwrap();
            let refused = file.write(b"x").unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::FileTooLarge);
            let refused = file.write_at(b"x", LIMIT as u64).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::FileTooLarge);
            assert_eq!(file.metadata().unwrap().len(), LIMIT as u64);
        });
    });
}

#[test]
fn options_are_those_of_std() {
    on_both(|| {
        let dir = Dir::new();
        let path = dir.file("file");
        let mut new = File::options();
        new.write(true).create_new(true).mode(0o640);
        drop(new.open(&path).unwrap());
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777 & !0o640, 0);
        fs::write(&path, "12345").unwrap();

        let mut log = File::options().append(true).open(&path).unwrap();
        log.rewind().unwrap();
        log.write_all(b"6").unwrap();
        assert_eq!(log.write_at(b"7", 0).unwrap(), 1); // Linux appends even so
        assert_eq!(fs::read(&path).unwrap(), b"1234567");

        let mut both = File::options().read(true).write(true).open(&path).unwrap();
        both.write_all(b"abc").unwrap();
        let mut rest = Vec::new();
        both.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"4567");
        File::options()
            .write(true)
            .truncate(true)
            .open(&path)
            .unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), 0);
    });
}

#[test]
fn a_file_knows_itself() {
    on_both(|| {
        let dir = Dir::new();
        let file = File::create_new(dir.file("file")).unwrap();
        file.set_len(1000).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 1000);
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        file.set_modified(long_ago).unwrap();
        assert_eq!(file.metadata().unwrap().modified().unwrap(), long_ago);
        file.set_times(FileTimes::new().set_accessed(long_ago))
            .unwrap();
        assert_eq!(file.metadata().unwrap().accessed().unwrap(), long_ago);
        let mut permissions = file.metadata().unwrap().permissions();
        permissions.set_mode(0o600);
        file.set_permissions(permissions.clone()).unwrap();
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600);
        permissions.set_readonly(true);
        fs::set_permissions(dir.file("file"), permissions).unwrap();
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o400);

        let mut clone = file.try_clone().unwrap();
        clone.seek(SeekFrom::Start(7)).unwrap();
        assert_eq!((&file).stream_position().unwrap(), 7);
        assert!(format!("{file:?}").contains("file"), "{file:?}");
    });
}

#[test]
fn directories_are_made_listed_and_removed() {
    on_both(|| {
        let dir = Dir::new();
        fs::create_dir_all(dir.file("a/b/c")).unwrap();
        fs::create_dir_all(dir.file("a/b/c")).unwrap();
        DirBuilder::new().mode(0o700).create(dir.file("d")).unwrap();
        assert_eq!(fs::metadata(dir.file("d")).unwrap().mode() & 0o777, 0o700);

        // More than are read at once.
        let mut expected: BTreeSet<String> = (0..300).map(|n| format!("file {n}")).collect();
        for name in &expected {
            fs::write(dir.file("d").join(name), name).unwrap();
        }
        let mut entries = fs::read_dir(dir.file("d")).unwrap();
        for entry in &mut entries {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            assert!(entry.file_type().unwrap().is_file());
            let metadata = entry.metadata().unwrap();
            assert_eq!(metadata.len(), name.len() as u64);
            assert_eq!(metadata.ino(), entry.ino());
            assert_eq!(entry.path(), dir.file("d").join(&name));
            assert!(expected.remove(&name), "{name} twice");
        }
        assert!(expected.is_empty(), "not listed: {expected:?}");
        assert!(entries.next().is_none());

        fs::remove_dir(dir.file("a/b/c")).unwrap();
        fs::remove_dir_all(dir.file("d")).unwrap();
        assert!(!fs::exists(dir.file("d")).unwrap());
        assert!(fs::exists(dir.file("a/b")).unwrap());
    });
}

#[test]
fn names_are_given_and_taken() {
    on_both(|| {
        let dir = Dir::new();
        let (one, two, link) = (dir.file("one"), dir.file("two"), dir.file("link"));
        fs::write(&one, "text").unwrap();
        assert_eq!(fs::copy(&one, &two).unwrap(), 4);
        fs::write(&one, "new").unwrap();
        fs::rename(&one, &two).unwrap();
        assert_eq!(fs::read(&two).unwrap(), b"new");
        fs::hard_link(&two, &one).unwrap();
        assert_eq!(fs::metadata(&one).unwrap().nlink(), 2);
        symlink("two", &link).unwrap();
        assert_eq!(fs::read_link(&link).unwrap(), Path::new("two"));
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(
            fs::canonicalize(&link).unwrap(),
            std::fs::canonicalize(&two).unwrap()
        );
        fs::remove_file(&two).unwrap();
        assert!(!fs::exists(&link).unwrap());
    });
}

#[test]
fn a_file_is_std_s_and_a_descriptor() {
    on_both(|| {
        let dir = Dir::new();
        let path = dir.file("file");
        fs::write(&path, "text").unwrap();
        let file = File::from(std::fs::File::open(&path).unwrap());
        let number = file.as_fd().as_raw_fd();
        let raw = File::from(OwnedFd::from(file)).into_raw_fd();
        assert_eq!(raw, number);
        // SAFETY: just given up by its owner.
        let mut file = unsafe { File::from_raw_fd(raw) };
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "text");
        drop(std::fs::File::from(file));
    });
}

#[test]
fn a_lock_that_is_taken_is_not_given() {
    on_both(|| {
        let dir = Dir::new();
        let open = || File::create(dir.file("lock")).unwrap();
        let (one, two) = (open(), open());
        one.lock_shared().unwrap();
        two.try_lock_shared().unwrap();
        assert!(matches!(one.try_lock(), Err(TryLockError::WouldBlock)));
        two.unlock().unwrap();
        one.lock().unwrap();
        assert!(matches!(
            two.try_lock_shared(),
            Err(TryLockError::WouldBlock)
        ));
        drop(one);
        two.lock().unwrap();
    });
}
