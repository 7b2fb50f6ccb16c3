"""`switch`: tasks that do nothing but yield."""

import asyncio
import time

import harness


def run(contender: str, args: dict[str, str]) -> None:
    tasks, seconds = int(args["tasks"]), float(args["seconds"])
    if contender == "gevent":

        def yields(switches: int) -> float:
            return gevent_yields(tasks, switches // tasks)

    else:

        def yields(switches: int) -> float:
            return harness.run_loop(contender, asyncio_yields(tasks, switches // tasks))

    harness.report(ns_per_switch=harness.switch_rounds(seconds, yields))


async def asyncio_yields(tasks: int, each: int) -> float:
    async def spin() -> int:
        done = 0
        while done < each:
            await asyncio.sleep(0)
            done += 1
        return done

    start = time.perf_counter()
    done = await asyncio.gather(*(spin() for _ in range(tasks)))
    taken = time.perf_counter() - start
    assert sum(done) == tasks * each
    return taken


def gevent_yields(tasks: int, each: int) -> float:
    import gevent

    def spin() -> int:
        done = 0
        while done < each:
            gevent.sleep(0)
            done += 1
        return done

    start = time.perf_counter()
    greenlets = [gevent.spawn(spin) for _ in range(tasks)]
    gevent.joinall(greenlets, raise_error=True)
    taken = time.perf_counter() - start
    assert sum(greenlet.value for greenlet in greenlets) == tasks * each
    return taken
