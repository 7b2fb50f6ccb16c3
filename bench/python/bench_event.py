"""`event`: one `set` wakes all who wait; the last to arrive again asks for the next."""

import asyncio
import time

import harness


def run(contender: str, args: dict[str, str]) -> None:
    harness.report_wakes(contender, args, rounds_of)


async def rounds_of(waiters: int, rounds: int) -> float:
    # By turns: one is cleared while all wait for the other.
    opened, all_back = (asyncio.Event(), asyncio.Event()), asyncio.Event()
    back = 0

    async def waiter() -> None:
        nonlocal back
        for round_ in range(rounds):
            back += 1
            if back == waiters:
                all_back.set()
            await opened[round_ % 2].wait()

    tasks = [asyncio.create_task(waiter()) for _ in range(waiters)]
    start = None
    for round_ in range(rounds):
        await all_back.wait()
        start = start or time.perf_counter()
        all_back.clear()
        back = 0
        opened[(round_ + 1) % 2].clear()
        opened[round_ % 2].set()
    await asyncio.gather(*tasks)
    return time.perf_counter() - start
