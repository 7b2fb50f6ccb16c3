"""`mutex`: many tasks lock, add and let others run while they have the lock."""

import asyncio
import time

import harness


def run(contender: str, args: dict[str, str]) -> None:
    shape, _, tasks = args["shape"].partition("=")
    if shape != "tasks":
        harness.unknown(contender, "mutex of threads")

    def locks(count: int) -> float:
        return harness.run_loop(contender, lock_and_add(int(tasks), count // int(tasks)))

    ns = harness.switch_rounds(float(args["seconds"]), locks)
    harness.report(ns_per_op=ns, ops_per_s=1e9 / ns)


async def lock_and_add(tasks: int, each: int) -> float:
    lock = asyncio.Lock()
    total = 0

    async def add() -> None:
        nonlocal total
        for _ in range(each):
            async with lock:
                total += 1
                await asyncio.sleep(0)

    start = time.perf_counter()
    await asyncio.gather(*(add() for _ in range(tasks)))
    taken = time.perf_counter() - start
    assert total == tasks * each
    return taken
