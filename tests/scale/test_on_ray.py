"""Ray, the real engine: on this machine's cores, with its driver killed, and as two nodes of which one is killed."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
from scale.test_embedding import HALF, expected_vectors, rows_of
from tiny_run import draw_photo

from helpers.environment import project_root
from helpers.files import InputError, written_files
from helpers.scale.embedder import Recipe
from helpers.scale.embedding import embed
from helpers.scale.on_ray import Worker, pool_of
from helpers.scale.sources import shards_of

COUNT = 500


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ray") / "photos"
    for number in range(COUNT):
        draw_photo(folder / f"{number:03d}.jpg", number)
    (folder / "torn.jpg").write_bytes(b"no photo")
    return folder


@pytest.fixture(scope="module")
def expected(tiny_run: Path, photos: Path) -> np.ndarray:
    return expected_vectors(tiny_run, [photos / f"{number:03d}.jpg" for number in range(COUNT)])


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home and a place for temporary files, to see what is left in them; short, since sockets lie there."""
    home = Path(tempfile.mkdtemp(prefix="h", dir="/tmp"))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("TMPDIR", str(home))
    yield home
    shutil.rmtree(home)


def watched(process: subprocess.Popen) -> tuple[str, str, set[psutil.Process], set[str]]:
    """What `process` printed until its end, all that it started meanwhile, and the addresses that these listened at.

    Ray's processes are known by whose children they are: some write their titles over what they were started with.
    """
    started: set[psutil.Process] = set()
    addresses: set[str] = set()
    while True:
        try:
            return *process.communicate(timeout=0.2), started, addresses
        except subprocess.TimeoutExpired:
            started.update(psutil.Process(process.pid).children(recursive=True))
            for one in started:
                with suppress(psutil.Error):  # it ended meanwhile
                    connections = one.net_connections("inet")
                    listening = [other.laddr.ip for other in connections if other.status == psutil.CONN_LISTEN]
                    addresses.update(ip.removeprefix("::ffff:") for ip in listening)


def alive(processes: set[psutil.Process], home: Path, within: float) -> list[psutil.Process]:
    """Those that have not ended `within` seconds, and others that were started with this place for temporary files."""
    others = {
        one
        for one in psutil.process_iter(["environ"])
        if (one.info["environ"] or {}).get("TMPDIR") == str(home) and one.pid != os.getpid()
    }
    return psutil.wait_procs(processes | others, timeout=within)[1]


def check(out: Path, expected: np.ndarray) -> None:
    """Every photo is there once, by its id and by its vector, and no temporary file is."""
    rows = rows_of(out)
    assert sorted(rows) == [f"{number:03d}.jpg" for number in range(COUNT)]
    np.testing.assert_allclose([rows[id_]["vector"] for id_ in sorted(rows)], expected, atol=HALF)
    assert not list(out.rglob(".*writing*"))


def test_a_machine_that_lacks_the_run_says_so_in_its_answer(photos: Path, tmp_path: Path) -> None:
    worker = Worker(Recipe(tmp_path / "nowhere"), tmp_path / "out", 1)
    answer = worker({"shard": pickle.dumps(shards_of(photos)[0])})
    assert answer["seconds"] == 0 and "nowhere" in answer["problem"] and "run notebook" in answer["problem"]


def machines(*cores: float | None) -> list[dict]:
    """As Ray tells of them; the last one died."""
    resources = [{"memory": 1e9} | ({} if count is None else {"CPU": count}) for count in (*cores, 64.0)]
    return [{"Alive": row < len(cores), "Resources": one} for row, one in enumerate(resources)]


@pytest.mark.parametrize(
    ("cores", "threads", "expected"),
    [
        ((1.0, 1.0), None, (1, 2)),
        ((2.0, 2.0, 2.0), None, (2, 3)),
        ((3.0, None, 3.0), None, (3, 2)),
        ((3.0, 3.0), 2, (2, 2)),  # a core of each is left, and makes no third
        ((16.0, 6.0, 2.0), None, (4, 5)),
        ((16.0, 6.0, 2.0), 8, (8, 2)),
    ],
)
def test_an_embedder_has_its_cores_on_one_machine(
    cores: tuple[float | None, ...], threads: int | None, expected: tuple[int, int]
) -> None:
    assert pool_of(machines(*cores), threads) == expected


def test_cores_that_no_machine_has_are_not_waited_for() -> None:
    with pytest.raises(InputError, match=r"--threads is 4, and no machine .* has more cores than 3; give at most 3\."):
        pool_of(machines(3.0, 2.0), 4)
    for none in (machines(), machines(None, 0.0)):
        with pytest.raises(InputError, match=r"No machine of the Ray cluster has a core to give; start one"):
            pool_of(none, None)


def test_on_all_cores_it_gives_the_same_files_and_leaves_nothing_running_or_lying_about(
    tiny_run: Path, photos: Path, expected: np.ndarray, tmp_path: Path, home: Path
) -> None:
    recipe = Recipe(tiny_run, "scratch")
    command = [sys.executable, "-m", "helpers.scale", "embed", photos, tmp_path / "ray", "--ray", "local"]
    command += ["--run", tiny_run, "--model", "scratch", "--shard-size", "50"]
    process = subprocess.Popen(command, cwd=project_root(), stdout=subprocess.PIPE, text=True)
    printed, _, started, addresses = watched(process)
    assert process.returncode == 0 and addresses == {"127.0.0.1"} and len(started) >= 6
    assert printed == "500 photos in 11 shards: 11 made now, 0 were there; 1 rejected: 1 not an image.\n"
    check(tmp_path / "ray", expected)
    embed(photos, tmp_path / "alone", recipe, shard_size=50)
    assert rows_of(tmp_path / "ray") == rows_of(tmp_path / "alone")
    assert alive(started, home, within=10) == [] and list(home.iterdir()) == []


def test_a_killed_driver_takes_ray_with_it_and_the_rest_is_made_by_whoever_comes_next(
    tiny_run: Path, photos: Path, expected: np.ndarray, tmp_path: Path, home: Path
) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "helpers.scale", "embed", photos, out, "--ray", "local"]
    command += ["--run", tiny_run, "--model", "scratch", "--shard-size", "10"]
    process = subprocess.Popen(command, cwd=project_root(), stderr=subprocess.DEVNULL)
    while len(written_files(out / "vectors", "*.parquet")) < 3:
        assert process.poll() is None
        time.sleep(0.01)
    started = set(psutil.Process(process.pid).children(recursive=True))
    process.send_signal(signal.SIGKILL)
    process.wait()
    # Ray's two agents try for 60 s to tell of it, and nothing that can be set makes that shorter.
    assert len(started) >= 6 and alive(started, home, within=120) == []
    there = {path.name: path.stat().st_mtime_ns for path in written_files(out / "vectors", "*.parquet")}
    assert 3 <= len(there) < 51
    tally = embed(photos, out, Recipe(tiny_run, "scratch"), shard_size=10)
    assert (tally.there, tally.made, tally.photos) == (len(there), 51 - len(there), COUNT)
    assert all((out / "vectors" / name).stat().st_mtime_ns == time_ for name, time_ in there.items())
    check(out, expected)


@pytest.mark.skipif(sys.platform != "linux", reason="two nodes on loopback need a network namespace of Linux")
def test_of_two_nodes_one_is_killed_and_every_photo_is_there_once(
    tiny_run: Path, photos: Path, tmp_path: Path, home: Path
) -> None:
    out, course, run = tmp_path / "out", tmp_path / "course", tmp_path / "elsewhere" / "runs" / "tiny"
    shutil.copytree(project_root() / "helpers", course / "helpers", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(tiny_run, run)  # a run outside of the course, over photos that lie in it
    (run / "photos").rename(course / "photos")
    (run / "dataset" / "roots.json").write_text(json.dumps({"photos": "photos"}))
    program = [sys.executable, project_root() / "tests" / "scale" / "two_nodes.py", photos, out, run]
    environment = os.environ | {
        "PYTHONPATH": str(course),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "5" * 64,
        "RAY_raylet_start_wait_time_s": "120",
        "RAY_TMPDIR": str(home),
    }
    own = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--net", "--map-root-user"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([*own, *program], env=environment, cwd=tmp_path, text=True, **pipes)
    printed, errors, started, _ = watched(process)
    assert process.returncode == 0, errors
    told = json.loads(printed.splitlines()[-1])
    assert told["address"].startswith("127.0.0.1:") and told["actors"] == 2 and told["nodes"] == 1
    assert told["too many threads"].startswith(
        "--threads is 2, and no machine of the Ray cluster has more cores than 1;"
    )
    assert told["killed"] < told["done"] and 3 <= len(told["there"]) < 21  # of 21 shards, when it was killed
    assert (told["photos"], told["made"], told["made again"]) == (COUNT, 21, 0)
    assert told["problem"].startswith(f"{tmp_path / 'ruined' / 'vectors'}") and "cannot be written" in told["problem"]
    check(out, expected_vectors(tiny_run, [photos / f"{number:03d}.jpg" for number in range(COUNT)], side=320))
    assert all(row["caption"] for row in rows_of(out).values())
    assert len(started) >= 10 and alive(started, home, within=120) == []  # the agents of the killed node, for 60 s
