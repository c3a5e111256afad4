"""Latency: whether what is measured has the machine to itself."""

import os
import subprocess
import sys

from helpers.speed.latency import taken_by_others


def test_a_program_at_work_beside_this_one_takes_a_core() -> None:
    busy = subprocess.Popen([sys.executable, "-c", "print(flush=True)\nwhile True: pass"], stdout=subprocess.PIPE)
    busy.stdout.readline()
    try:
        assert 0.7 / os.cpu_count() < taken_by_others() <= 1
    finally:
        busy.kill()
        busy.communicate()
