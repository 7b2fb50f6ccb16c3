//! Finds and builds the contenders' programs, so that a measurement never runs an old one.

use crate::plan::{Bench, Program, program};
use crate::system::output;
use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How the contenders are started, and who cannot take part.
#[derive(Debug, Default)]
pub(crate) struct Programs {
    /// The program and its first arguments.
    commands: BTreeMap<Program, Vec<OsString>>,
    missing: BTreeMap<&'static str, String>,
    versions: Vec<(&'static str, String)>,
}

impl Programs {
    /// A command that starts `contender`. `Err`: it is left out, and why.
    pub(crate) fn command(&self, contender: &str) -> Result<Command, &str> {
        if let Some(why) = self.missing.get(contender) {
            return Err(why);
        }
        let words = self
            .commands
            .get(&program(contender))
            .ok_or("not built: nothing asked for it")?;
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        Ok(command)
    }

    /// The versions of what is not Rust.
    pub(crate) fn versions(&self) -> Vec<(&'static str, String)> {
        self.versions.clone()
    }
}

/// The directory `bench/`.
pub(crate) fn bench_directory() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the runner lies in bench/")
}

/// Builds what `benches` need into the directory that this program lies in.
pub(crate) fn build(benches: &[Bench]) -> Result<Programs, String> {
    let bench = bench_directory();
    let out = &out_directory()?;
    let wanted: BTreeSet<&str> = benches.iter().flat_map(Bench::contenders).collect();
    let wants = |which| wanted.iter().any(|name| program(name) == which);

    let mut programs = Programs::default();
    let rust = [
        (Program::Peers, "peers"),
        (Program::Bingfa, "contender-bingfa"),
    ];
    for (which, package) in rust {
        if wants(which) {
            cargo(bench, out, package)?;
            let words = vec![out.join(package).into()];
            programs.commands.insert(which, words);
        }
    }
    if wanted.contains("redis") {
        match output("redis-server", &["--version"]) {
            version if version == "unknown" => {
                programs.leave_out("redis", "no redis-server here; bench/setup.sh gets it");
            }
            version => programs.versions.push(("redis", version)),
        }
    }
    if wants(Program::Go) {
        match go(bench, out)? {
            Some((path, version)) => {
                programs.commands.insert(Program::Go, vec![path.into()]);
                programs.versions.push(("go", version));
            }
            None => programs.leave_out("go", "no Go here; bench/setup.sh gets it"),
        }
    }
    if wants(Program::Python) {
        programs.find_python(bench, &wanted);
    }
    Ok(programs)
}

/// Builds bingfa's contender alone.
pub(crate) fn build_bingfa() -> Result<PathBuf, String> {
    let out = out_directory()?;
    cargo(bench_directory(), &out, "contender-bingfa")?;
    Ok(out.join("contender-bingfa"))
}

/// Where this program lies.
fn out_directory() -> Result<PathBuf, String> {
    let own = env::current_exe().map_err(|error| format!("where is this program? {error}"))?;
    Ok(own
        .parent()
        .expect("a program lies in a directory")
        .to_path_buf())
}

impl Programs {
    fn leave_out(&mut self, contender: &'static str, why: impl Into<String>) {
        let why = why.into();
        eprintln!("bench: {contender} is left out: {why}");
        self.missing.insert(contender, why);
    }

    /// Takes the interpreter that `bench/setup.sh` has made, unless another is named, and asks it what it can import.
    fn find_python(&mut self, bench: &Path, wanted: &BTreeSet<&str>) {
        let own = bench.join(".venv/bin/python3");
        let python: PathBuf = match env::var_os("BINGFA_BENCH_PYTHON") {
            Some(path) => path.into(),
            None if own.exists() => own,
            None => "python3".into(),
        };
        let words = vec![python.clone().into(), bench.join("python/main.py").into()];
        self.commands.insert(Program::Python, words);
        let name = python.display().to_string();
        self.versions
            .push(("python", output(&name, &["--version"])));
        for (contender, module) in [
            ("python", "asyncio"),
            ("futures", "concurrent.futures"),
            ("uvloop", "uvloop"),
            ("gevent", "gevent"),
        ] {
            if !wanted.contains(contender) {
                continue;
            }
            let probe =
                format!("import {module} as m; print(getattr(m, '__version__', 'built in'))");
            match output(&name, &["-c", &probe]) {
                version if version == "unknown" => self.leave_out(
                    contender,
                    format!("{name} cannot import {module}; bench/setup.sh gets it"),
                ),
                version if version == "built in" => {}
                version => self.versions.push((contender, version)),
            }
        }
    }
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
fn go(bench: &Path, out: &Path) -> Result<Option<(PathBuf, String)>, String> {
    let own = bench.join(".venv/bin/go");
    // A path is made absolute: the build runs in another directory.
    let tool: PathBuf = match env::var_os("BINGFA_BENCH_GO").map(std::path::absolute) {
        Some(path) => path.map_err(|error| format!("BINGFA_BENCH_GO: {error}"))?,
        None if own.exists() => own,
        None => "go".into(),
    };
    let version = output(&tool.display().to_string(), &["version"]);
    if version == "unknown" {
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
    Ok(Some((program, version)))
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
