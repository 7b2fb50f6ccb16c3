"""What the contenders share: the event loop of each, figures, memory, CPU time."""

import asyncio
import json
import os
import resource
import sys
import threading
import time

SPAWN_WAVE = 10_000


def run_loop(contender: str, coroutine):
    """Runs `coroutine` on the loop that `contender` stands for."""
    factory = None
    if contender == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(coroutine)


def unknown(contender: str, bench: str):
    sys.exit(f"contender {contender} has no bench {bench}")


def report(**figures: float) -> None:
    print(json.dumps(figures), flush=True)


def end_with_stdin() -> None:
    """Ends the process when standard input ends, from a thread of its own."""

    def wait() -> None:
        sys.stdin.buffer.read()
        report(served=1)
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def cpu_seconds() -> float:
    return time.process_time()


def memory() -> tuple[float, float]:
    """Resident pages and page tables, in bytes."""
    fields = {}
    with open("/proc/self/status", encoding="ascii") as status:
        for line in status:
            name, _, value = line.partition(":")
            fields[name] = value.split()
    return tuple(1024.0 * int(fields[name][0]) for name in ("VmRSS", "VmPTE"))


def report_memory(before: tuple[float, float], tasks: int) -> None:
    resident, tables = (now - then for now, then in zip(memory(), before))
    report(bytes_per_task=resident / tasks, page_table_bytes_per_task=tables / tasks)


def switch_rounds(seconds: float, run) -> float:
    """As in the harness of the Rust contenders: the last and longest of several runs counts."""
    switches = 10_000
    while True:
        taken = run(switches)
        if taken >= seconds * 0.8:
            return taken * 1e9 / switches
        factor = min(max(seconds / max(taken, 1e-6), 1.5), 20)
        switches = int(switches * factor)


def report_wakes(contender: str, args: dict[str, str], rounds_of) -> None:
    """Nanoseconds per wake-up, where `rounds_of` wakes all waiters in each of so many rounds."""
    waiters = int(args["waiters"])

    def run(wakes: int) -> float:
        rounds = -(-wakes // waiters)
        taken = run_loop(contender, rounds_of(waiters, rounds))
        return taken * wakes / (rounds * waiters)

    report(ns_per_op=switch_rounds(float(args["seconds"]), run))


def sleep_lengths(count: int):
    """The same lengths as in the harness of the Rust contenders, in seconds."""
    mask = (1 << 64) - 1
    x = 0x9E3779B97F4A7C15
    for _ in range(count):
        x ^= x << 13 & mask
        x ^= x >> 7
        x ^= x << 17 & mask
        yield x % 2_000_000 / 1e6


def raise_descriptor_limit() -> None:
    wanted = 100_000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
    except (ValueError, PermissionError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
