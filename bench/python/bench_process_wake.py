"""`process-wake`: one thread that waits at a multiprocessing.Queue."""

import multiprocessing
import time

import harness


def send(queue, total: int) -> None:
    for _ in range(total):
        time.sleep(0.0005)
        queue.put(time.monotonic_ns())


def run(contender: str, args: dict[str, str]) -> None:
    total = int(args["total"])
    fork = multiprocessing.get_context("fork")
    queue = fork.Queue()
    sender = fork.Process(target=send, args=(queue, total))
    sender.start()
    latencies = []
    for _ in range(total):
        moment = queue.get()
        latencies.append(time.monotonic_ns() - moment)
    sender.join()
    latencies.sort()
    harness.report(p50_us=latencies[total // 2] / 1e3, p99_us=latencies[int(total * 0.99)] / 1e3)
