"""Whether the benchmarks run at their small sizes, to try that everything works."""

import os

QUICK = os.environ.get("BENCH_QUICK", "0") not in ("", "0")
