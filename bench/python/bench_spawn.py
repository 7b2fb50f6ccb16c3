"""`spawn`: tasks that add to a number, in waves of 10,000; `futures` by a pool of two threads."""

import asyncio
import concurrent.futures
import time

import harness

total_run = 0


def run(contender: str, args: dict[str, str]) -> None:
    total = int(args["total"])
    waves = total // harness.SPAWN_WAVE
    if contender == "gevent":
        taken = gevent_waves(waves)
    elif contender == "futures":
        taken = pool_waves(waves)
    else:
        taken = harness.run_loop(contender, asyncio_waves(waves))
    assert total_run == total + harness.SPAWN_WAVE
    harness.report(ns_per_task=taken * 1e9 / total)


def add() -> None:
    global total_run
    total_run += 1


async def asyncio_add() -> None:
    add()


async def asyncio_waves(waves: int) -> float:
    async def wave() -> None:
        tasks = [asyncio.create_task(asyncio_add()) for _ in range(harness.SPAWN_WAVE)]
        for task in tasks:
            await task

    await wave()
    start = time.perf_counter()
    for _ in range(waves):
        await wave()
    return time.perf_counter() - start


def gevent_waves(waves: int) -> float:
    import gevent

    def wave() -> None:
        for greenlet in [gevent.spawn(add) for _ in range(harness.SPAWN_WAVE)]:
            greenlet.get()

    wave()
    start = time.perf_counter()
    for _ in range(waves):
        wave()
    return time.perf_counter() - start


def pool_waves(waves: int) -> float:
    with concurrent.futures.ThreadPoolExecutor(2) as pool:

        def wave() -> None:
            for future in [pool.submit(add) for _ in range(harness.SPAWN_WAVE)]:
                future.result()

        wave()
        start = time.perf_counter()
        for _ in range(waves):
            wave()
        return time.perf_counter() - start
