"""`process-queue`: multiprocessing.Queue."""

import multiprocessing
import time

import harness

ROOM, ROOM_BYTES = 1024, 64 << 20

fork = multiprocessing.get_context("fork")


def item(n: int, size: int):
    return n if size == 8 else n.to_bytes(8, "little") + bytes(size - 8)


def number(got) -> int:
    return got if isinstance(got, int) else int.from_bytes(got[:8], "little")


def produce(queue, results, each: int, size: int) -> None:
    begin = time.monotonic_ns()
    for n in range(each):
        queue.put(item(n, size))
    results.put(begin)


def consume(queue, results) -> None:
    total = last = 0
    while (got := queue.get()) is not None:
        total += number(got)
        last = time.monotonic_ns()
    results.put((total, last))


def one_way(producers: int, consumers: int, each: int, size: int) -> tuple[int, int]:
    queue = fork.Queue(room(size))
    begins, ends = fork.SimpleQueue(), fork.SimpleQueue()
    getters = [fork.Process(target=consume, args=(queue, ends)) for _ in range(consumers)]
    putters = [fork.Process(target=produce, args=(queue, begins, each, size)) for _ in range(producers)]
    for process in getters + putters:
        process.start()
    begin = min(begins.get() for _ in putters)
    # A process that has ended has sent all that it had put.
    for process in putters:
        process.join()
    for _ in getters:
        queue.put(None)
    results = [ends.get() for _ in getters]
    for process in getters:
        process.join()
    return max(last for _, last in results) - begin, sum(total for total, _ in results)


def echo(there, back) -> None:
    while (got := there.get()) is not None:
        back.put(got)


def round_trips(each: int, size: int) -> tuple[int, int]:
    there, back = fork.Queue(room(size)), fork.Queue(room(size))
    other = fork.Process(target=echo, args=(there, back))
    other.start()

    def trip(n: int) -> int:
        there.put(item(n, size))
        return number(back.get())

    trip(0)
    begin = time.monotonic_ns()
    total = sum(trip(n) for n in range(each))
    taken = time.monotonic_ns() - begin
    there.put(None)
    other.join()
    return taken, total


def room(size: int) -> int:
    return min(max(ROOM_BYTES // size, 2), ROOM)


def run(contender: str, args: dict[str, str]) -> None:
    producers, consumers, size = int(args["producers"]), int(args["consumers"]), int(args["size"])
    seconds = float(args["seconds"])
    items = min(max(ROOM_BYTES // size, 16), 5_000)
    while True:
        each = -(-items // producers)
        if "round_trip" in args:
            ns, total = round_trips(each, size)
        else:
            ns, total = one_way(producers, consumers, each, size)
        assert total == producers * (each * (each - 1) // 2), "lost or doubled"
        if ns >= seconds * 0.8e9:
            break
        items = int(items * min(max(seconds * 1e9 / ns, 1.5), 20))
    us = ns / 1e3 / (each * producers)
    if "round_trip" in args:
        harness.report(us_per_round_trip=us)
    else:
        harness.report(msgs_per_s=1e6 / us, us_per_msg=us, mb_per_s=size / us)
