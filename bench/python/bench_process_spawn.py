"""`process-spawn`: multiprocessing's Process by the forkserver, its result over a Pipe."""

import multiprocessing
import statistics
import time

import harness


def child(connection, n: int) -> None:
    connection.send(n + 1)


def run(contender: str, args: dict) -> None:
    context = multiprocessing.get_context("forkserver")

    def once(n: int) -> float:
        begin = time.perf_counter()
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=child, args=(theirs, n))
        process.start()
        theirs.close()
        assert ours.recv() == n + 1
        process.join()
        return time.perf_counter() - begin

    for n in range(3):
        once(n)
    taken = statistics.median(once(n) for n in range(int(args["total"])))
    harness.report(us_per_process=taken * 1e6)
