"""`semaphore`: a permit for each of those who wait; the last to arrive again asks for the next."""

import asyncio
import time

import harness


def run(contender: str, args: dict[str, str]) -> None:
    harness.report_wakes(contender, args, rounds_of)


async def rounds_of(waiters: int, rounds: int) -> float:
    permits, all_back = asyncio.Semaphore(0), asyncio.Semaphore(0)
    back = 0

    async def waiter() -> None:
        nonlocal back
        for _ in range(rounds):
            back += 1
            if back == waiters:
                all_back.release()
            await permits.acquire()

    tasks = [asyncio.create_task(waiter()) for _ in range(waiters)]
    start = None
    for _ in range(rounds):
        await all_back.acquire()
        start = start or time.perf_counter()
        back = 0
        for _ in range(waiters):
            permits.release()
    await asyncio.gather(*tasks)
    assert permits.locked()
    return time.perf_counter() - start
