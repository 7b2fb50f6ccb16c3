//! The editor, under a terminal of its own: what it shows, what it saves, and how it leaves.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};

use common::{Killed, end_of, run};

const CARRIERS: [&str; 2] = ["thread", "coroutine"];
const WATCHDOG: Duration = Duration::from_secs(120);
const ROWS: NonZero<u16> = NonZero::new(20).unwrap();
const COLUMNS: NonZero<u16> = NonZero::new(100).unwrap();

/// A directory that goes with the test.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Dir {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Relaxed);
        let name = format!("bingfa-editor-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Dir(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("notes.txt")
    }

    /// What is in it.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name());
        names.map(|name| name.into_string().unwrap()).collect()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// An editor, its keyboard and its screen.
struct Editor {
    process: Killed,
    keyboard: fs::File,
    /// The program's side of the terminal, which so outlives the program.
    terminal: OwnedFd,
    modes_before: String,
    screen: Arc<Mutex<vt100::Parser>>,
}

impl Editor {
    fn start(file: &Path, carrier: &str, every: &str) -> Editor {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&keyboard).unwrap();
        unlockpt(&keyboard).unwrap();
        let name = ptsname(&keyboard, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let terminal = rustix::fs::open(name, flags, Mode::empty()).unwrap();
        let size = Winsize {
            ws_row: ROWS.get(),
            ws_col: COLUMNS.get(),
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&terminal, size).unwrap();
        let modes_before = modes(&terminal);
        let own = || terminal.try_clone().unwrap();
        // A session of its own, whose terminal this is.
        let process = Command::new("setsid")
            .args(["--ctty", env!("CARGO_BIN_EXE_editor")])
            .arg(file)
            .args(["--carrier", carrier, "--every", every])
            .env_remove("RUST_BACKTRACE")
            .stdin(own())
            .stdout(own())
            .stderr(own())
            .spawn()
            .unwrap();
        let keyboard = fs::File::from(keyboard);
        let screen = Arc::new(Mutex::new(vt100::Parser::new(ROWS, COLUMNS, 0)));
        let (mut output, shown) = (keyboard.try_clone().unwrap(), screen.clone());
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n) = output.read(&mut buffer) {
                shown.lock().unwrap().process(&buffer[..n]);
            }
        });
        let editor = Editor {
            process: Killed(process),
            keyboard,
            terminal,
            modes_before,
            screen,
        };
        editor.until_shown("Ctrl-Q leaves");
        editor
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    fn shown(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    #[track_caller]
    fn until_shown(&self, text: &str) {
        until(
            || self.shown().contains(text),
            || format!("{text:?} is not shown, but\n{}", self.shown()),
        );
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process.0), signal).unwrap();
    }

    /// Kills it and waits for its end.
    fn kill(mut self) {
        self.signal(Signal::KILL);
        end_of(&mut self.process.0);
    }

    /// Waits for its end, after which the terminal is as it was before.
    #[track_caller]
    fn ends(mut self) -> (ExitStatus, String) {
        let status = end_of(&mut self.process.0);
        assert_eq!(modes(&self.terminal), self.modes_before);
        until(
            || {
                let screen = self.screen.lock().unwrap();
                !screen.screen().alternate_screen() && !screen.screen().hide_cursor()
            },
            || "the screen is not given back".into(),
        );
        assert!(!self.screen.lock().unwrap().screen().bracketed_paste());
        (status, self.shown())
    }
}

fn modes(terminal: &OwnedFd) -> String {
    format!("{:?}", tcgetattr(terminal).unwrap())
}

#[track_caller]
fn until(mut condition: impl FnMut() -> bool, or_else: impl Fn() -> String) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < WATCHDOG, "{}", or_else());
        thread::sleep(Duration::from_millis(2));
    }
}

#[track_caller]
fn until_saved(file: &Path, text: &str) {
    let content = || fs::read_to_string(file).unwrap_or_default();
    until(|| content() == text, || format!("saved is {:?}", content()));
}

#[test]
fn p54_what_is_typed_is_shown_and_saved_without_being_asked() {
    for carrier in CARRIERS {
        let dir = Dir::new();
        let mut editor = Editor::start(&dir.file(), carrier, "0.05");
        editor.until_shown("no changes");
        editor.press("first line\rsecond, 第二");
        editor.until_shown("second, 第二");
        until_saved(&dir.file(), "first line\nsecond, 第二");
        editor.until_shown("all saved");
        // Up, end of line, delete two; and a paste of two lines.
        editor.press("\x1b[A\x1b[F\x7f\x7f");
        until_saved(&dir.file(), "first li\nsecond, 第二");
        editor.press("\x1b[200~a\rb\x1b[201~");
        until_saved(&dir.file(), "first lia\nb\nsecond, 第二");
        editor.until_shown("2:2");
        editor.kill();
        assert_eq!(
            fs::read_to_string(dir.file()).unwrap(),
            "first lia\nb\nsecond, 第二"
        );
        // Being killed, it left its lock, which nobody holds.
        let editor = Editor::start(&dir.file(), carrier, "0.05");
        editor.until_shown("second, 第二");
        editor.kill();
    }
}

#[test]
fn p54_a_kill_at_any_moment_leaves_a_whole_former_text() {
    const ROUNDS: usize = 8;
    for carrier in CARRIERS {
        let dir = Dir::new();
        let mut before = String::new();
        for round in 0..ROUNDS {
            let mut editor = Editor::start(&dir.file(), carrier, "0.004");
            // In all less than a terminal takes in while nobody reads.
            let typed: String = (0..200).map(|n| format!("{round}-{n:04}-abc\r")).collect();
            let whole = typed.replace('\r', "\n");
            let mut saved = 0;
            let last = fastrand::usize(1..60);
            for (step, keys) in typed.as_bytes().chunks(47).enumerate() {
                editor.press(std::str::from_utf8(keys).unwrap());
                let content = fs::read_to_string(dir.file()).unwrap_or_default();
                saved = check(&content, &whole, &before, saved);
                if step == last {
                    break;
                }
                thread::sleep(Duration::from_micros(fastrand::u64(0..1500)));
            }
            if round % 2 == 0 {
                // However slow the machine is, something is there by now.
                let content = || fs::read_to_string(dir.file()).unwrap_or_default();
                until(|| content() != before, || "nothing is saved".into());
            }
            editor.kill();
            let content = fs::read_to_string(dir.file()).unwrap_or_default();
            check(&content, &whole, &before, saved);
            before = content;
        }
    }
}

/// `content` is what was there `before`, below the beginning of what was typed, and that is
/// no shorter than `saved`: returns how long.
#[track_caller]
fn check(content: &str, typed: &str, before: &str, saved: usize) -> usize {
    let Some(new) = content.strip_suffix(before) else {
        panic!("of {before:?} is left {content:?}");
    };
    assert!(typed.starts_with(new), "{new:?} was not typed");
    assert!(new.len() >= saved, "{saved} bytes were saved already");
    new.len()
}

#[test]
fn p54_whoever_leaves_has_saved_and_gives_the_terminal_back() {
    for carrier in CARRIERS {
        let dir = Dir::new();
        let mut editor = Editor::start(&dir.file(), carrier, "3600");
        editor.press("text");
        editor.until_shown("unsaved changes, never saved");
        editor.press("\x13"); // Ctrl-S
        editor.until_shown("all saved");
        editor.press(" and more");
        editor.until_shown("unsaved changes, saved");
        editor.press("\x11"); // Ctrl-Q
        let (status, shown) = editor.ends();
        assert!(status.success(), "{status}: {shown}");
        assert_eq!(fs::read(dir.file()).unwrap(), b"text and more");
        assert_eq!(dir.names(), ["notes.txt"]);
    }
}

#[test]
fn p54_a_signal_to_end_is_obeyed_with_the_text_saved() {
    for (carrier, signal) in CARRIERS.into_iter().zip([Signal::TERM, Signal::HUP]) {
        let dir = Dir::new();
        let mut editor = Editor::start(&dir.file(), carrier, "3600");
        editor.press("text");
        editor.until_shown("unsaved changes");
        editor.signal(signal);
        let (status, _) = editor.ends();
        assert_eq!(status.signal(), Some(signal.as_raw()), "{status}");
        assert_eq!(fs::read(dir.file()).unwrap(), b"text");
        assert_eq!(dir.names(), ["notes.txt"]);
    }
}

#[test]
fn p54_a_task_that_panics_ends_it_with_the_text_saved() {
    for carrier in CARRIERS {
        let dir = Dir::new();
        let mut editor = Editor::start(&dir.file(), carrier, "3600");
        editor.press("text\x1b[24~"); // F12
        let screen = editor.screen.clone();
        let (status, _) = editor.ends();
        assert_eq!(status.code(), Some(1), "{status}");
        let shown = || screen.lock().unwrap().screen().contents();
        until(
            || shown().contains("F12 was pressed") && shown().contains("error: task keys"),
            shown,
        );
        assert_eq!(fs::read(dir.file()).unwrap(), b"text");
    }
}

#[test]
fn p54_a_save_that_fails_is_shown_and_tried_again() {
    for carrier in CARRIERS {
        let dir = Dir::new();
        let (here, gone) = (dir.0.join("here"), dir.0.join("gone"));
        fs::create_dir(&here).unwrap();
        let mut editor = Editor::start(&here.join("text"), carrier, "0.05");
        fs::rename(&here, &gone).unwrap();
        editor.press("text");
        editor.until_shown("NOT SAVED: No such file or directory");
        fs::rename(&gone, &here).unwrap();
        editor.until_shown("all saved");
        until_saved(&here.join("text"), "text");

        // Leaving is refused once, then done without a save.
        fs::rename(&here, &gone).unwrap();
        editor.press("!\x11");
        editor.until_shown("NOT SAVED");
        editor.press("\x11");
        let (status, shown) = editor.ends();
        assert_eq!(status.code(), Some(1), "{status}: {shown}");
        assert_eq!(fs::read(gone.join("text")).unwrap(), b"text");
    }
}

#[test]
fn p54_what_cannot_be_edited_is_refused() {
    let dir = Dir::new();
    let refused = |file: &Path| {
        let ended = run(Command::new(env!("CARGO_BIN_EXE_editor")).arg(file));
        assert_eq!(ended.status.code(), Some(1));
        assert_eq!(ended.stdout, "");
        ended.stderr
    };
    assert!(refused(&dir.file()).contains("start the editor in one"));
    assert!(refused(&dir.0).contains("Is a directory"));
    assert!(refused(&dir.0.join("missing/text")).contains("missing/text: No such file"));
    fs::write(dir.file(), [0xff]).unwrap();
    assert!(refused(&dir.file()).contains("notes.txt: stream did not contain valid UTF-8"));

    fs::write(dir.file(), "text").unwrap();
    let editor = Editor::start(&dir.file(), "thread", "1");
    assert!(refused(&dir.file()).contains("another editor has it open"));
    editor.kill();
}
