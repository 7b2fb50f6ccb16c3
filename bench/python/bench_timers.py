"""`timers`: tasks that sleep for a random time, twice in the same process."""

import asyncio
import time

import harness

woken = 0


def run(contender: str, args: dict[str, str]) -> None:
    sleepers = int(args["sleepers"])
    figures = {}

    def measured(temperature: str, cpu: float, start: float) -> None:
        figures[f"{temperature}_cpu_s"] = harness.cpu_seconds() - cpu
        figures[f"{temperature}_wall_s"] = time.perf_counter() - start

    if contender == "gevent":
        gevent_sleep(sleepers, measured)
    else:
        harness.run_loop(contender, asyncio_sleep(sleepers, measured))
    assert woken == 2 * sleepers
    harness.report(**figures)


async def asyncio_sleep(sleepers: int, measured) -> None:
    async def sleep(length: float) -> None:
        global woken
        await asyncio.sleep(length)
        woken += 1

    for temperature in ("cold", "warm"):
        cpu, start = harness.cpu_seconds(), time.perf_counter()
        tasks = [asyncio.create_task(sleep(length)) for length in harness.sleep_lengths(sleepers)]
        for task in tasks:
            await task
        measured(temperature, cpu, start)


def gevent_sleep(sleepers: int, measured) -> None:
    import gevent

    def sleep(length: float) -> None:
        global woken
        gevent.sleep(length)
        woken += 1

    for temperature in ("cold", "warm"):
        cpu, start = harness.cpu_seconds(), time.perf_counter()
        greenlets = [gevent.spawn(sleep, length) for length in harness.sleep_lengths(sleepers)]
        for greenlet in greenlets:
            greenlet.get()
        measured(temperature, cpu, start)
