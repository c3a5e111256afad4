"""Run by test_on_ray.py in a network namespace that has nothing but loopback: two raylets, of which one is killed.

Ray turns 127.0.0.1 into the machine's own address where it has one, and then misses a head that is bound to loopback.
"""

import fcntl
import json
import os
import socket
import struct
import sys
import threading
import time
from pathlib import Path

import psutil
import ray
from ray.cluster_utils import Cluster

from helpers.files import InputError, written_files
from helpers.scale.embedder import Recipe
from helpers.scale.embedding import embed

NODE = {"num_cpus": 1, "include_dashboard": False, "node_ip_address": "127.0.0.1", "object_store_memory": 80 * 2**20}
SIOCSIFFLAGS, IFF_UP = 0x8914, 1


def bring_loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        fcntl.ioctl(one, SIOCSIFFLAGS, struct.pack("16sH14s", b"lo", IFF_UP, b""))


def actors() -> int:
    """Embedders at work, on all nodes."""
    return sum("MapWorker" in " ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"]))


def main(source: Path, out: Path, run: Path) -> None:
    bring_loopback_up()
    del os.environ["PYTHONPATH"]  # the nodes have no course but the one that is sent to them
    cluster = Cluster(initialize_head=True, head_node_args=NODE)
    second = cluster.add_node(**NODE)
    told = {"address": cluster.address}

    def kill() -> None:
        while len(written_files(out / "vectors", "*.parquet")) < 3 or actors() < 2:
            time.sleep(0.02)
        told["actors"] = actors()
        told["there"] = sorted(path.name for path in written_files(out / "vectors", "*.parquet"))
        cluster.remove_node(second, allow_graceful=False)
        told["killed"] = time.perf_counter()

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    recipe = Recipe(
        run, "scratch", captioner="attention"
    )  # captions take long enough for something to happen meanwhile
    try:
        embed(source, out, recipe, ray=cluster.address, threads=2, shard_size=25)
    except InputError as error:
        told["too many threads"] = str(error)
    tally = embed(source, out, recipe, ray=cluster.address, shard_size=25)  # with as many threads as a node has cores
    told |= {"photos": tally.photos, "made": tally.made, "done": time.perf_counter()}
    again = embed(source, out, recipe, ray=cluster.address, shard_size=25)
    told |= {"made again": again.made, "nodes": len(cluster.list_all_nodes())}
    ruined = out.with_name("ruined")
    ruined.mkdir()
    (ruined / "vectors").write_text("a file where a folder should be")
    try:
        embed(source, ruined, recipe, ray=cluster.address, shard_size=1000)
    except InputError as error:
        told["problem"] = str(error)
    assert not ray.is_initialized()
    cluster.shutdown()
    print(json.dumps(told))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
