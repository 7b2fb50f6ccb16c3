"""`manager`: set and get in the dict of a multiprocessing.Manager, by client processes."""

import multiprocessing
import time

import harness

KEYS = 1000


def client(shared, start, results, n: int, seconds: float) -> None:
    first, done = n * KEYS, 0

    def steps(count: int) -> None:
        nonlocal done
        for _ in range(count):
            key = first + done % KEYS
            shared[key] = done
            assert shared[key] == done
            done += 1

    steps(100)
    start.wait()
    begin, before = time.perf_counter(), done
    while True:
        steps(100)
        taken = time.perf_counter() - begin
        if taken >= seconds:
            break
    results.put((done - before) * 2 / taken)


def run(contender: str, args: dict) -> None:
    clients, seconds = int(args["clients"]), float(args["seconds"])
    with multiprocessing.Manager() as manager:
        shared, results = manager.dict(), multiprocessing.SimpleQueue()
        start = multiprocessing.Barrier(clients)
        children = [
            multiprocessing.Process(target=client, args=(shared, start, results, n, seconds)) for n in range(clients)
        ]
        for child in children:
            child.start()
        rate = sum(results.get() for _ in children)
        for child in children:
            child.join()
    harness.report(ops_per_s=rate)
