"""`condvar`: one `notify_all` wakes all who wait; the last to arrive again asks for the next."""

import asyncio
import time

import harness


def run(contender: str, args: dict[str, str]) -> None:
    harness.report_wakes(contender, args, rounds_of)


async def rounds_of(waiters: int, rounds: int) -> float:
    lock = asyncio.Lock()
    opened, all_back = asyncio.Condition(lock), asyncio.Condition(lock)
    turn = back = 0

    async def waiter() -> None:
        nonlocal back
        for round_ in range(rounds):
            async with lock:
                back += 1
                if back == waiters:
                    all_back.notify()
                while turn <= round_:
                    await opened.wait()

    tasks = [asyncio.create_task(waiter()) for _ in range(waiters)]
    start = None
    for round_ in range(rounds):
        async with lock:
            while back < waiters:
                await all_back.wait()
            start = start or time.perf_counter()
            turn, back = round_ + 1, 0
            opened.notify_all()
    await asyncio.gather(*tasks)
    return time.perf_counter() - start
