"""Shards on Ray: a pool of embedders, each with its own cores, on this machine or on a cluster.

Ray Data hands out shards, and hands them out again when a worker or a machine dies. Nothing but their names travels,
and a shard's file has its name only when it is whole, so that it is there once, however often it was begun.

Ray, as it is started here, listens on this machine alone, wants a token from whoever connects (kept in memory and
nowhere else), reports nothing to its makers, keeps its files in a temporary folder, and is stopped at the end. A
cluster that is given by address belongs to somebody: this connects to it, sends it this course's helpers, and leaves
it running.
"""

import logging
import os
import pickle
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

from helpers.environment import cores, places, project_root
from helpers.files import InputError, first_line
from helpers.scale.embedder import Embedder, Recipe
from helpers.scale.sources import Shard

ACTOR_CORES = 4  # of an embedder, at most: each holds its own copy of the models, 0.5 GB or so
_STORE = 100 * 2**20  # bytes of shared memory for what travels, which is next to nothing
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",  # else it reports to its makers
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # what goes wrong is raised here, too
    # On busy cores its processes take longer to come up than it waits by itself. One of its limits, 15 s for an agent,
    # cannot be raised (ray-project/ray#65983), so that it is started again where it was missed.
    "RAY_raylet_start_wait_time_s": "60",
    "RAY_gcs_server_start_wait_time_s": "60",
}


class Worker:
    """An actor: an embedder that answers with the seconds that a shard took, or with a sentence why it is not made."""

    def __init__(self, recipe: Recipe, out: Path, threads: int) -> None:
        self._recipe, self._out, self._threads = recipe, out, threads

    @cached_property
    def _embedder(self) -> Embedder:
        """Made with the first shard: a machine that lacks the run says so in an answer, and not in a dead actor."""
        return Embedder(self._recipe, self._threads)

    def __call__(self, row: dict[str, bytes]) -> dict[str, float | str]:
        try:
            return {"seconds": self._embedder(pickle.loads(row["shard"]), self._out), "problem": ""}
        except InputError as error:  # told as it is, and not in what Ray wraps around exceptions
            return {"seconds": 0.0, "problem": str(error)}


def on_ray(
    shards: Sequence[Shard], out: Path, recipe: Recipe, address: str | None, threads: int | None
) -> Iterator[float]:
    """Make `shards` into `out` on the cluster at `address`; None: on this machine, started and stopped here.

    Returns:
        The seconds that each shard took.

    Raises:
        InputError: there is no cluster at the address, no machine of it has the cores, one lacks the run, or an
            embedder cannot write.
    """
    if not shards:
        return
    with _cluster(address, threads) as ray:
        threads, actors = pool_of(ray.nodes(), threads)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False  # there is one already
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # it tells of each step, and what is raised anyway
        # A row for each, as bytes: Arrow knows no shards.
        rows = ray.data.from_items([{"shard": pickle.dumps(one)} for one in shards], override_num_blocks=len(shards))
        done = rows.map(
            Worker,
            fn_constructor_args=(recipe, out, threads),
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=actors),
            num_cpus=threads,
        )
        for row in done.iter_rows():
            if row["problem"]:
                raise InputError(row["problem"])
            yield row["seconds"]


def pool_of(nodes: Iterable[Mapping[str, Any]], threads: int | None) -> tuple[int, int]:
    """The threads of an embedder, which has all of its cores on one machine, and how many embedders there is room for.

    Args:
        nodes: the machines that run now, as `ray.nodes` tells of them.
        threads: that were asked for; None: ACTOR_CORES, or fewer where no machine has so many.

    Raises:
        InputError: no machine has the cores; Ray would wait for one that has them, for ever and without a word.
    """
    known = [int(node["Resources"].get("CPU", 0)) for node in nodes if node["Alive"]]
    largest = max(known, default=0)
    if not largest:
        raise InputError("No machine of the Ray cluster has a core to give; start one that has, and run this again.")
    if threads and threads > largest:
        raise InputError(
            f"--threads is {threads}, and no machine of the Ray cluster has more cores than {largest}; "
            f"give at most {largest}."
        )
    threads = threads or min(ACTOR_CORES, largest)
    return threads, sum(count // threads for count in known)


@contextmanager
def _cluster(address: str | None, threads: int | None) -> Iterator[ModuleType]:
    """Ray, connected."""
    os.environ.update(_SETTINGS)
    if address is None:
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # so that 127.0.0.1 stays that, on Linux, too
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # else it keeps one in the user's home
    import ray  # now, since it reads these when it is imported
    import ray.data
    import ray.exceptions

    with _own_ray(threads) if address is None else _given_ray(address):
        yield ray


@contextmanager
def _given_ray(address: str) -> Iterator[None]:
    import ray

    try:
        # What the workers need of this course is sent to them, and where it looks for files that a run has noted; the
        # packages have to be there.
        ray.init(
            address,
            runtime_env={"py_modules": [str(project_root() / "helpers")], "env_vars": places()},
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        why = first_line(error)
        raise InputError(f"There is no Ray cluster at {address} ({why}); start it, or correct it.") from None
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _own_ray(threads: int | None) -> Iterator[None]:
    import ray

    # Its workers import this course, wherever whoever calls was started: a notebook is in a folder of its own.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(project_root()), os.environ.get("PYTHONPATH"))))
    home = tempfile.mkdtemp(prefix="ray-")  # short: sockets lie in it, whose paths may have 107 characters
    try:
        for last in (False, False, True):
            try:
                ray.init(
                    num_cpus=max(cores(), threads or 0),  # who wants more threads than cores has them without Ray, too
                    include_dashboard=False,
                    object_store_memory=_STORE,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    _node_ip_address="127.0.0.1",
                    _temp_dir=home,
                )
                break
            except Exception as error:  # a bare one, when its processes have not come up in time
                ray.shutdown()
                if last:
                    why = first_line(error)
                    raise InputError(f"Ray did not come up ({why}); give it a free core and try again.") from error
        if ray.util.get_node_ip_address() != "127.0.0.1":
            raise InputError("This process was connected to a cluster before; use Ray on this machine from a new one.")
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(home, ignore_errors=True)
