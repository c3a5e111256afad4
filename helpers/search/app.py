"""`make app`: the search page at an address of this machine only, over a finished run or an album.

    python -m helpers.search.app                          # outputs/sample at http://127.0.0.1:8866
    python -m helpers.search.app --profile flickr8k --port 9000
    python -m helpers.search.app --album ~/Pictures       # a folder of one's own, looked at first

One process serves all visitors; each brings the token of the address that is printed.
"""

import argparse
import contextlib
import secrets
import socket
import subprocess
import sys
import threading
import webbrowser
from pathlib import Path

import uvicorn

from helpers.data.images import load_photo
from helpers.environment import set_threads
from helpers.files import InputError
from helpers.profiles import PROFILES, get_profile
from helpers.search.album import HOME, Album, run_of
from helpers.search.engine import CAPTIONER, PhotoSearch
from helpers.search.guard import Guard
from helpers.search.web import Gallery, build_site

ADDRESS = "127.0.0.1"
PORTS = 20  # that are tried, if others are in use
CONNECTIONS = 500  # at once; a browser opens six
# One query is too small to share: on two cores, one of them busy, a second thread costs more than it saves.
THREADS = 1


def open_run(outputs: Path, profile: str) -> PhotoSearch:
    """The run in `outputs`, once it is sure that every question can be answered.

    Raises:
        InputError: the chain has not run, or not to its end.
    """
    option = "--profile" if profile in PROFILES else "--name"
    command = "make run" if profile == "sample" else f"python run_all.py {option} {profile}"
    if not (outputs / "dataset" / "manifest.json").exists():
        raise InputError(f"There is nothing to search in {outputs} yet: run `{command}` first.")
    set_threads(THREADS)
    try:
        engine = PhotoSearch(outputs)
        for model in engine.models:
            engine.index(model)
    except InputError as error:
        raise InputError(f"The run in {outputs} is not finished: run `{command}` first. ({error})") from None
    if not (outputs / CAPTIONER / "encode.xml").exists():
        raise InputError(f"The run in {outputs} is not finished (no captioner on OpenVINO): run `{command}` first.")
    return engine


def open_album(folder: Path, home: Path | None, outputs: Path | None, profile: str | None) -> Album:
    """The album of `folder`, brought up to date; what is None is as `album.run_of` has it.

    Raises:
        InputError: there is no photo that can be used, or something of the run is missing.
    """
    options = {"--album": home, "--run": outputs, "--profile": profile}
    given = [f"{name}={value}" for name, value in options.items() if value is not None]
    # In a process of its own: to look at photos takes a gigabyte, which the page then has no use for.
    if subprocess.run([sys.executable, "-m", "helpers.search.album", str(folder), *given]).returncode:
        raise InputError(f"The page over {folder} was not opened.")
    set_threads(THREADS)
    return Album(folder, run_of(folder, home, outputs, profile), home)


def warm_up(gallery: Gallery) -> None:
    """Load what the first visitor needs, so that the first query is as fast as the second."""
    photo = load_photo(next(iter(gallery.photos.values())).path)
    gallery.search("a photo", photo, model=gallery.models[0])
    try:
        gallery.caption(photo)
    except InputError as error:  # an album can do without a captioner
        print(error)


def free_socket(port: int) -> socket.socket:
    """A listening socket at `port`, or at the next one that nobody has.

    Raises:
        InputError: all are in use, or not allowed.
    """
    for number in range(port, port + PORTS):
        listening = socket.socket()
        if sys.platform != "win32":  # there, this would let two programs share a port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((ADDRESS, number))
            listening.listen(128)
        except (OSError, OverflowError):
            listening.close()
        else:
            return listening
    raise InputError(f"No port from {port} to {port + PORTS - 1} is free; choose another with --port.")


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
        if found != port:
            print(f"Port {port} is in use; this page takes {found}.")
        print(f"{len(gallery.photos):,} photos of {gallery.title}: {address}\nCtrl+C ends it.", flush=True)
        if open_browser:
            threading.Thread(target=webbrowser.open, args=[address], daemon=True).start()
        with contextlib.suppress(KeyboardInterrupt):  # uvicorn hands it on once all is closed
            page_server(gallery, listening, token).run(sockets=[listening])


def main(argv: list[str] | None = None) -> int:
    """Check the run and serve the page until Ctrl+C; 2 if there is nothing to serve."""
    parser = argparse.ArgumentParser(description="Serve the search page on 127.0.0.1.")
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
    gallery: Gallery
    try:
        if arguments.album:
            gallery = open_album(arguments.album, arguments.home, arguments.outputs, arguments.profile)
        else:
            profile = arguments.profile or "sample"
            gallery = open_run((arguments.outputs or get_profile(profile).outputs).resolve(), profile)
        warm_up(gallery)
        serve(gallery, arguments.port, not arguments.no_browser)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
