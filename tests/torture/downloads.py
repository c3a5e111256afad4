"""A real server on this machine plays Kaggle and the Hugging Face hub, well and badly.

Each case is a download by a process of its own, as a notebook does it: normal, slow, cut off, damaged, and refused with
each status that a server gives; then the server recovers, and the same download has to succeed. What was half there in
between must not have been read.
"""

import base64
import hashlib
import io
import os
import re
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from torture.rows import Row

from helpers.environment import project_root

HANDLE = "someone/photos/versions/3"
REPOSITORY = "someone/tiny-encoder"
COMMIT = "c" * 40
# Where what a kernel would call is called, without the long pauses.
KAGGLE = (
    "import sys; from kagglesdk import kaggle_env as env; env._env_to_endpoint[env.KaggleEnv.PROD] = sys.argv[1]\n"
    "from helpers import downloads; downloads.PAUSES = (0.1, 0.1, 0.1)\n"
    "from helpers.data.datasets import download; print('path', download(sys.argv[2], 'captions_folder'))"
)
HUB = (
    "import hashlib, sys; from huggingface_hub import hf_hub_download\n"
    "from helpers import downloads; downloads.PAUSES = (0.1, 0.1)\n"
    "def load(local):\n"
    "    names = 'config.json', 'model.safetensors'\n"
    "    paths = [hf_hub_download(sys.argv[2], name, local_files_only=local) for name in names]\n"
    "    return hashlib.sha256(open(paths[1], 'rb').read()).hexdigest()\n"
    "print('path', downloads.from_hub(sys.argv[2], load, 'The model', 'do without'))"
)


@dataclass
class Behaviour:
    """How the server treats the next requests for the one large file: what `mode` says, `times` times."""

    mode: str = "normal"
    times: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self) -> str:
        with self.lock:
            self.times -= 1
            return self.mode if self.times >= 0 else "normal"


class Handler(BaseHTTPRequestHandler):
    """Answers as the two hubs do: Kaggle with a redirect to the archive, Hugging Face with headers that name a file."""

    protocol_version = "HTTP/1.1"
    files: dict[str, bytes]
    large: str  # the file that `behaviour` is about
    behaviour: Behaviour

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer(302, b"", {"Location": f"/{self.large}"})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        name = self.path.split("?")[0].split("/resolve/")[-1].removeprefix("main/").removeprefix(f"{COMMIT}/")
        content = self.files.get(name.lstrip("/"))
        if content is None:
            return self.answer(404, b"", {"X-Error-Code": "EntryNotFound"})
        large = name.lstrip("/") == self.large
        mode = self.behaviour.take() if large and self.command == "GET" else "normal"
        if mode.isdigit():
            return self.answer(int(mode), b"<html>the server's own page</html>", {"Retry-After": "1"})
        digest = hashlib.sha256(content).hexdigest() if large else hashlib.sha1(content).hexdigest()
        headers = {
            "Accept-Ranges": "bytes",
            "ETag": f'"{digest}"',
            "X-Repo-Commit": COMMIT,
            "x-goog-hash": f"md5={base64.b64encode(hashlib.md5(content).digest()).decode()}",
        }
        sent, status = content, 200
        if (asked := re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))) is not None:
            start = int(asked[1])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            sent, status = content[start:], 206
        if mode == "damaged":
            middle = len(sent) // 2
            sent = sent[:middle] + bytes(255 - byte for byte in sent[middle : middle + 64]) + sent[middle + 64 :]
        return self.answer(status, sent, headers, mode)

    def answer(self, status: int, content: bytes, headers: dict[str, str], mode: str = "normal") -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        step = max(1, len(content) // 20)
        for start in range(0, len(content), step):
            if mode == "cut off" and start >= len(content) // 2:
                self.close_connection = True
                self.connection.close()
                return
            self.wfile.write(content[start : start + step])
            if mode == "slow":
                time.sleep(0.1)


@contextmanager
def serve(files: dict[str, bytes], large: str, behaviour: Behaviour) -> Iterator[str]:
    """The address of a server of `files`, at work."""
    handler = type("Server", (Handler,), {"files": files, "large": large, "behaviour": behaviour})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.handle_error = lambda *_: None  # a client that breaks off is part of the game
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def fetch(code: str, address: str, name: str, cache: Path) -> subprocess.CompletedProcess[str]:
    """Run `code` in a fresh process that knows no cache but `cache`, no account and no other server."""
    hidden = ("PROXY", "KAGGLE", "HF_", "TORCH_HOME")
    environment = {key: value for key, value in os.environ.items() if not any(part in key.upper() for part in hidden)}
    environment |= {
        "HOME": str(cache),
        "KAGGLEHUB_CACHE": str(cache / "kaggle"),
        "HF_HOME": str(cache / "hub"),
        "HF_ENDPOINT": address,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "*",
    }
    command = [sys.executable, "-c", code, address, name]
    return subprocess.run(command, env=environment, cwd=project_root(), capture_output=True, text=True, timeout=180)


def sentence(run: subprocess.CompletedProcess[str]) -> str:
    """The sentence that a download ended with; empty when it succeeded."""
    last = run.stderr.strip().splitlines()[-1] if run.returncode else ""
    kind, _, text = last.partition("InputError: ")
    return text or kind


CASES = {  # mode -> how often, and what the sentence has to say; None: the download succeeds all the same
    "normal": (0, None),
    "slow": (9, None),
    "cut off": (2, None),
    "damaged": (1, None),
    "403": (99, "the server wants an account, or consent to its terms (status 403)"),
    "404": (99, "the server has nothing of that name (status 404)"),
    "429": (99, "wants patience (status 429)"),
    "500": (99, "the server is at fault (status 500)"),
    "500 twice": (2, None),
}


def play(hub: str, mode: str, cache: Path, files: dict[str, bytes], large: str) -> str:
    """One case: what went wrong with it, or nothing."""
    times, expected = CASES[mode]
    behaviour = Behaviour(mode.split()[0] if mode != "cut off" else mode, times)
    code, name = (KAGGLE, HANDLE) if hub == "Kaggle" else (HUB, REPOSITORY)
    with serve(files, large, behaviour) as address:
        first = fetch(code, address, name, cache)
        if expected is None and first.returncode != 0:
            return f"did not get through: {sentence(first)}"
        if expected is not None:
            if expected not in sentence(first):
                return f"said {sentence(first)!r}"
            behaviour.times = 0  # the server recovers
            first = fetch(code, address, name, cache)
            if first.returncode != 0:
                return f"did not recover: {sentence(first)}"
    again = fetch(code, "http://127.0.0.1:9", name, cache)  # no server is needed any more
    if again.returncode != 0 or path_of(again) != path_of(first):
        return f"is not whole in the cache: {sentence(again)}"
    if hub != "Kaggle":
        return "" if path_of(first) == hashlib.sha256(files[large]).hexdigest() else "has other bytes than were sent"
    folder = Path(path_of(first))
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return "" if found == unpacked(files[large]) else "has other files than were sent"


def path_of(run: subprocess.CompletedProcess[str]) -> str:
    return next(line for line in run.stdout.splitlines() if line.startswith("path ")).removeprefix("path ")


def unpacked(archive: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(archive)) as file:
        return {name: file.read(name) for name in file.namelist()}


def photos_archive() -> bytes:
    """Forty files that do not compress, so that a cut falls into them."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for number in range(40):
            file.writestr(f"Images/{number:02d}.jpg", hashlib.shake_128(str(number).encode()).digest(5000))
        file.writestr("captions.txt", "image,caption\n")
    return buffer.getvalue()


def climbing_archive(kind: str) -> bytes:
    """An archive with a member that would land two folders above."""
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w") as file:
            file.writestr("captions.txt", "image,caption\n")
            file.writestr("../../../../../climbed.txt", "out")
    else:
        with tarfile.open(fileobj=buffer, mode="w") as file:
            for name in ("captions.txt", "../../../../../climbed.txt"):
                member = tarfile.TarInfo(name)
                member.size = 3
                file.addfile(member, io.BytesIO(b"out"))
    return buffer.getvalue()


def climb(kind: str, folder: Path) -> str:
    """What went wrong with an archive whose member climbs out, or nothing: nothing may lie outside the cache."""
    cache = folder / "a" / "cache"
    with serve({"archive": climbing_archive(kind)}, "archive", Behaviour()) as address:
        run = fetch(KAGGLE, address, HANDLE, cache)
    outside = [path for path in folder.rglob("climbed.txt") if not path.is_relative_to(cache / "kaggle" / "datasets")]
    if outside:
        return f"wrote {outside[0]}"
    if "would write outside of its own folder (../../../../../climbed.txt)" not in sentence(run):
        return f"said {sentence(run)!r}"
    return "kept the archive" if list(cache.rglob("*.archive")) else ""


def rows(folder: Path, hubs: tuple[str, ...] = ("Kaggle", "Hugging Face"), only: tuple[str, ...] = ()) -> list[Row]:
    """All cases, in `folder`."""
    sent = {
        "Kaggle": ({"archive.zip": photos_archive()}, "archive.zip"),
        "Hugging Face": ({"config.json": b"{}", "model.safetensors": photos_archive()}, "model.safetensors"),
    }
    found = []
    for hub in hubs:
        modes = [mode for mode in CASES if not only or mode in only]
        wrong = {mode: play(hub, mode, folder / hub / mode, *sent[hub]) for mode in modes}
        wrong = {mode: what for mode, what in wrong.items() if what}
        done = f"{len(modes) - len(wrong)} of {len(modes)}: {', '.join(modes)}"
        told = "; ".join([done, *(f"{mode} {what}" for mode, what in wrong.items())])
        found.append(Row(f"downloads from a server that plays {hub}", len(modes), told, "downloads", not wrong))
    if not only:
        wrong = [what for kind in ("zip", "tar") if (what := climb(kind, folder / kind))]
        told = "; ".join(wrong) or "each refused in one sentence, and nothing lies outside of the data set's folder"
        found.append(Row("archives with a member that climbs out", 2, told, "downloads", not wrong))
    return found
