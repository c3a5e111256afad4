"""`make app`: the search page at an address of this machine only, over a finished run or an album.

    python -m helpers.search.app                          # outputs/sample at http://127.0.0.1:8866
    python -m helpers.search.app --profile flickr8k --port 9000
    python -m helpers.search.app --album ~/Pictures       # a folder of one's own, looked at first

One process serves all visitors; each brings the token of the address that is printed.
"""

import argparse
import contextlib
import errno
import secrets
import signal
import socket
import subprocess
import sys
import threading
import webbrowser
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from helpers.data.images import load_photo
from helpers.environment import set_threads
from helpers.files import InputError, Options, exit_status
from helpers.profiles import get_profile, way_to_the_end
from helpers.search.album import HOME, Album, check_begun, check_home, run_of
from helpers.search.engine import CAPTIONER, PhotoSearch
from helpers.search.guard import Guard
from helpers.search.web import Gallery, build_site

ADDRESS = "127.0.0.1"
PORTS = 20  # that are tried, if others are in use
LAST_PORT = 65_535
CONNECTIONS = 500  # at once; a browser opens six
# One query is too small to share: on two cores, one of them busy, a second thread costs more than it saves.
THREADS = 1


def open_run(outputs: Path, profile: str | None) -> PhotoSearch:
    """The run in `outputs`, once it is sure that every question can be answered.

    Raises:
        InputError: the chain has not run, or not to its end.
    """
    check_begun(outputs, profile)
    set_threads(THREADS)
    try:
        engine = PhotoSearch(outputs)
        for model in engine.models:
            engine.index(model)
    except InputError as error:
        raise InputError(
            f"The run in {outputs} is not finished: {way_to_the_end(outputs, profile)}. ({error})"
        ) from None
    if not (outputs / CAPTIONER / "encode.xml").exists():
        raise InputError(
            f"The run in {outputs} is not finished (no captioner on OpenVINO): {way_to_the_end(outputs, profile)}."
        )
    return engine


def open_album(folder: Path, home: Path | None, outputs: Path | None, profile: str | None) -> Album:
    """The album of `folder`, brought up to date; what is None is as `album.run_of` has it.

    Raises:
        InputError: there is no photo that can be used, or something of the run is missing.
    """
    folder = folder.resolve()  # whose name may begin with a dash
    options = {"--album": home and home.resolve(), "--run": outputs and outputs.resolve(), "--profile": profile}
    given = [f"{name}={value}" for name, value in options.items() if value is not None]
    # In a process of its own: to look at photos takes a gigabyte, which the page then has no use for.
    if run_apart([sys.executable, "-m", "helpers.search.album", str(folder), *given]):
        raise InputError(f"The page over {folder} was not opened, for what is said above.")
    set_threads(THREADS)
    return Album(folder, run_of(folder, home, outputs, profile), home)


def run_apart(command: list[str]) -> int:
    """The exit status of a command; Ctrl-C, which a terminal sends to both, ends it through this process alone."""
    process = None
    try:
        with _held_back(signal.SIGINT):  # as the command inherits it, for good
            process = subprocess.Popen(command)
        return process.wait()
    except BaseException:
        if process is not None:
            process.kill()  # an album can be gone on with, wherever it was
            process.wait()
            print(file=sys.stderr)  # after its progress bar
        raise


@contextlib.contextmanager
def _held_back(number: signal.Signals) -> Iterator[None]:
    """Let a signal that comes meanwhile wait until the end; Windows has no such thing."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def warm_up(gallery: Gallery) -> None:
    """Load what the first visitor needs, so that the first query is as fast as the second."""
    photo = load_photo(next(iter(gallery.photos.values())).path)
    gallery.search("a photo", photo, model=gallery.models[0])
    try:
        gallery.caption(photo)
    except InputError as error:  # an album can do without a captioner
        print(error)


def free_socket(port: int) -> socket.socket:
    """A listening socket at `port`, 0 for any, or at the next one that can be had; that it is another is printed.

    Raises:
        InputError: all are in use, or not allowed.
    """
    last = min(port + PORTS - 1, LAST_PORT)
    refused = ""  # why it is not the first
    for number in range(port, last + 1):
        listening = socket.socket()
        if sys.platform != "win32":  # there, this would let two programs share a port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((ADDRESS, number))
            listening.listen(128)
        except OSError as error:
            listening.close()
            refused = refused or _refusal(error)
        else:
            if refused:
                print(f"Port {port} {refused}; this page takes {number}.")
            return listening
    raise InputError(f"No port from {port} to {last} can be had (port {port} {refused}); choose another with --port.")


def _refusal(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "is in use"
    if isinstance(error, PermissionError):
        return "needs more rights than this program has"
    return f"cannot be used: {error.strerror}"


def page_server(gallery: Gallery, listening: socket.socket, token: str) -> uvicorn.Server:
    """What answers at `listening`, once its `run(sockets=[listening])` is called, to those who bring `token`."""
    site = Guard(build_site(gallery), token, listening.getsockname()[1])
    config = uvicorn.Config(
        site,
        log_level="warning",
        access_log=False,  # addresses hold the token
        server_header=False,
        ws="none",
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=2,
    )
    return uvicorn.Server(config)


def serve(gallery: Gallery, port: int, open_browser: bool) -> None:
    """Serve the page until Ctrl+C.

    Raises:
        InputError: there is no free port.
    """
    with free_socket(port) as listening:
        found, token = listening.getsockname()[1], secrets.token_urlsafe(24)
        address = f"http://{ADDRESS}:{found}/?token={token}"
        print(f"{len(gallery.photos):,} photos of {gallery.title}: {address}\nCtrl+C ends it.", flush=True)
        if open_browser:
            threading.Thread(target=webbrowser.open, args=[address], daemon=True).start()
        with contextlib.suppress(KeyboardInterrupt):  # uvicorn hands it on once all is closed
            page_server(gallery, listening, token).run(sockets=[listening])


def main(argv: list[str] | None = None) -> int:
    """Check the run and serve the page until Ctrl+C; 2 if there is nothing to serve, 130 if Ctrl+C comes before."""
    parser = Options(prog="python -m helpers.search.app", description="Serve the search page on 127.0.0.1.")
    parser.add_argument(
        "--profile", "--name", help="which run to search, or to look with (default: sample, or the album's)"
    )
    parser.add_argument("--outputs", type=Path, help="another outputs folder than the profile's")
    parser.add_argument(
        "--album", type=Path, metavar="FOLDER", help="search this folder of photos instead of the run's"
    )
    parser.add_argument("--home", type=Path, help=f"where the album is kept (default: FOLDER/{HOME})")
    parser.add_argument("--port", type=int, default=8866, help="of the page's address (default: 8866)")
    parser.add_argument("--no-browser", action="store_true", help="open no browser window")
    arguments = parser.parse_args(argv)
    arguments.typed = sys.argv[1:] if argv is None else argv
    return exit_status(lambda: _run(arguments), "begins again" if arguments.album is None else "goes on from here")


def _run(arguments: argparse.Namespace) -> None:
    if not 0 <= arguments.port <= LAST_PORT:
        raise InputError(f"--port is {arguments.port}, and ports go from 0 (any that is free) to {LAST_PORT}.")
    if arguments.home is not None and arguments.album is None:
        raise InputError("--home says where an album is kept; say with --album of which folder of photos it is.")
    gallery: Gallery
    if arguments.album is not None:
        if arguments.outputs is not None and arguments.profile is not None:
            raise InputError("--outputs and --profile both say which run to look with; give one of them.")
        check_home(arguments.album, arguments.home, "helpers.search.app", ["--home"], arguments.typed)
        gallery = open_album(arguments.album, arguments.home, arguments.outputs, arguments.profile)
    else:
        outputs = arguments.outputs or get_profile(arguments.profile or "sample").outputs
        gallery = open_run(outputs.resolve(), arguments.profile)
    warm_up(gallery)
    serve(gallery, arguments.port, not arguments.no_browser)


if __name__ == "__main__":
    sys.exit(main())
