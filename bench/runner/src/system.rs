//! What is to be known of the machine and the programs, to judge or to repeat a measurement.

use crate::contenders::{Programs, bench_directory};
use std::fs;
use std::process::Command;

/// Facts by name, in the order in which one reads them.
#[derive(Debug)]
pub(crate) struct System {
    pub(crate) facts: Vec<(&'static str, String)>,
}

impl System {
    pub(crate) fn look(programs: &Programs) -> Self {
        let read = |path: &str| {
            fs::read_to_string(path)
                .ok()
                .map(|text| text.trim().to_string())
        };
        let unknown = || "unknown".to_string();
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let governor = "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor";
        let io_uring = match read("/proc/sys/kernel/io_uring_disabled").as_deref() {
            Some("0") => "allowed",
            Some(_) => "restricted",
            None => "unknown",
        };
        let mut facts = vec![
            ("date", output("date", &["-u", "+%Y-%m-%d %H:%M UTC"])),
            ("commit", commit()),
            (
                "cpu",
                format!(
                    "{cores} cores of {}",
                    proc_field("/proc/cpuinfo", "model name")
                ),
            ),
            ("virtualisation", output("systemd-detect-virt", &[])),
            (
                "governor",
                read(governor).unwrap_or_else(|| "not visible".into()),
            ),
            ("memory", proc_field("/proc/meminfo", "MemTotal")),
            ("kernel", output("uname", &["-srv"])),
            (
                "load average at the start",
                read("/proc/loadavg").unwrap_or_else(unknown),
            ),
            ("io_uring", io_uring.into()),
            (
                "vm.max_map_count",
                read("/proc/sys/vm/max_map_count").unwrap_or_else(unknown),
            ),
            (
                "transparent huge pages",
                read("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or_else(unknown),
            ),
            ("rustc", output("rustc", &["--version"])),
            (
                "release profile",
                "opt-level 3, thin LTO, 4 codegen units, system allocator".into(),
            ),
            (
                "RUSTFLAGS",
                std::env::var("RUSTFLAGS").unwrap_or_else(|_| "none".into()),
            ),
            ("peers", locked_versions()),
        ];
        facts.extend(programs.versions());
        Self { facts }
    }
}

/// The first line that a program prints; `unknown` if it cannot be run.
pub(crate) fn output(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    match text.unwrap_or_default().lines().next() {
        Some(line) if !line.trim().is_empty() => line.trim().to_string(),
        _ => "unknown".to_string(),
    }
}

fn commit() -> String {
    let git = |args: &[&str]| {
        let directory = bench_directory().display().to_string();
        let words: Vec<&str> = ["-C", &directory].iter().chain(args).copied().collect();
        output("git", &words)
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"]);
    match git(&["status", "--porcelain", "--untracked-files=no"]).as_str() {
        "unknown" => commit,
        _ => format!("{commit}, with changes"),
    }
}

/// The value of the first line `name : value`.
fn proc_field(path: &str, name: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let value = text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_string())
    });
    value.unwrap_or_else(|| "unknown".into())
}

/// The versions of the Rust peers, from the lock file: those that `peers` depends on.
fn locked_versions() -> String {
    let lock = fs::read_to_string(bench_directory().join("Cargo.lock")).unwrap_or_default();
    let manifest =
        fs::read_to_string(bench_directory().join("peers/Cargo.toml")).unwrap_or_default();
    let dependencies = manifest
        .lines()
        .skip_while(|line| *line != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| !name.is_empty());
    let version = |name: &str| {
        let entry = format!("name = \"{name}\"\nversion = \"");
        let rest = lock.split(&entry).nth(1)?;
        Some(format!("{name} {}", rest.split('"').next()?))
    };
    let versions: Vec<String> = dependencies
        .filter(|name| !matches!(*name, "harness" | "libc" | "rustix" | "serde_bytes"))
        .filter_map(version)
        .collect();
    versions.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peers_have_versions() {
        let versions = locked_versions();
        assert!(versions.contains("tokio 1."), "{versions}");
        assert!(!versions.contains("libc"), "{versions}");
    }

    #[test]
    fn the_machine_is_known() {
        let system = System::look(&Programs::default());
        let fact = |name| {
            system
                .facts
                .iter()
                .find(|(known, _)| *known == name)
                .unwrap()
        };
        assert!(fact("cpu").1.contains("cores"));
        assert!(fact("kernel").1.starts_with("Linux"));
    }
}
