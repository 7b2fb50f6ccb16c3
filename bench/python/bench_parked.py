"""`parked`: tasks that wait and do nothing else."""

import asyncio
import os

import harness


def run(contender: str, args: dict[str, str]) -> None:
    total = int(args["tasks"])
    if contender == "gevent":
        gevent_park(total)
    else:
        harness.run_loop(contender, asyncio_park(total))


async def asyncio_park(total: int) -> None:
    parked = 0
    gate = asyncio.Event()

    async def wait() -> None:
        nonlocal parked
        parked += 1
        await gate.wait()

    before = harness.memory()
    tasks = [asyncio.create_task(wait()) for _ in range(total)]
    while parked < total:
        await asyncio.sleep(0)
    finish(before, tasks)


def gevent_park(total: int) -> None:
    import gevent
    from gevent.event import Event

    parked = 0
    gate = Event()

    def wait() -> None:
        nonlocal parked
        parked += 1
        gate.wait()

    before = harness.memory()
    greenlets = [gevent.spawn(wait) for _ in range(total)]
    while parked < total:
        gevent.sleep(0)
    finish(before, greenlets)


def finish(before: tuple[float, float], tasks: list) -> None:
    harness.report_memory(before, len(tasks))
    # Releasing all of them would take longer than the measurement.
    os._exit(0)
