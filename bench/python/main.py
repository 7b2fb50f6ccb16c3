"""The contenders written in Python: `python` (asyncio, the standard library's own), `uvloop`, `gevent`.

Started by the runner as `python3 main.py CONTENDER BENCH key=value ...`. It prints one line of JSON with its figures; a
bench that serves prints {"port": N} first and its figures when standard input ends. A file per bench, whose `run` gets the
contender and the arguments.
"""

import importlib
import sys

import harness


def main() -> None:
    if len(sys.argv) < 3:
        sys.exit("usage: main.py CONTENDER BENCH key=value ... (started by the bench runner)")
    contender, bench = sys.argv[1:3]
    args = dict(word.split("=", 1) for word in sys.argv[3:])
    harness.raise_descriptor_limit()
    module = importlib.import_module("bench_" + bench.replace("-", "_"))
    module.run(contender, args)


if __name__ == "__main__":
    main()
