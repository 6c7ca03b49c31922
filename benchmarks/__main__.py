"""Run every benchmark, one after the other: ``make bench``."""

import runpy
import sys

ALL = ("scheduling", "memory", "images", "throughput", "dp_step", "precision", "fashion_mnist", "startup", "frames")

if __name__ == "__main__":
    for name in ALL:
        print(f"\n== python -m benchmarks.{name}", flush=True)
        sys.argv = [name]
        try:
            runpy.run_module(f"benchmarks.{name}", run_name="__main__")
        except SystemExit as end:  # click leaves this way also when all went well
            if end.code:
                raise
