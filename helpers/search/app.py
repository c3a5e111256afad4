"""`make app`: the search page at an address of this machine only, through Voilà, which shows a notebook as a page.

    python -m helpers.search.app                          # outputs/sample at http://127.0.0.1:8866
    python -m helpers.search.app --profile flickr8k --port 9000

Each visit starts a process of its own behind notebooks/app.ipynb, which ends when the page is closed.
"""

import argparse
import os
import sys
from pathlib import Path

from helpers.environment import project_root
from helpers.files import InputError
from helpers.profiles import get_profile
from helpers.search.engine import CAPTIONER, PhotoSearch

OUTPUTS_VARIABLE = "PHOTO_SEARCH_OUTPUTS"  # tells the notebook which run to search; nothing else reaches it
NOTEBOOK = project_root() / "notebooks" / "app.ipynb"
STYLE = Path(__file__).with_suffix(".css")
LARGEST_UPLOAD = 64 * 2**20  # bytes; of Tornado's own 10 MB, a large photo closes the connection


def run_to_search() -> Path:
    """The outputs folder that the page searches: what the launcher says, else that of the sample."""
    return Path(os.environ.get(OUTPUTS_VARIABLE) or get_profile("sample").outputs)


def check(outputs: Path, profile: str) -> None:
    """Stop before a page opens that could answer nothing.

    Raises:
        InputError: the chain has not run, or not to its end.
    """
    command = "make run" if profile == "sample" else f"python run_all.py --profile {profile}"
    if not (outputs / "dataset" / "manifest.json").exists():
        raise InputError(f"There is nothing to search in {outputs} yet: run `{command}` first.")
    try:
        engine = PhotoSearch(outputs)
        for model in engine.models:
            engine.index(model)
    except InputError as error:
        raise InputError(f"The run in {outputs} is not finished: run `{command}` first. ({error})") from None
    if not (outputs / CAPTIONER / "encode.xml").exists():
        raise InputError(f"The run in {outputs} is not finished (no captioner on OpenVINO): run `{command}` first.")


def main(argv: list[str] | None = None) -> int:
    """Check the run and serve the page until Ctrl+C; 2 if there is nothing to serve."""
    parser = argparse.ArgumentParser(description="Serve the search page on 127.0.0.1.")
    parser.add_argument("--profile", default="sample", help="whose run to search (default: sample)")
    parser.add_argument("--outputs", type=Path, help="another outputs folder than the profile's")
    parser.add_argument("--port", type=int, default=8866, help="of the page's address (default: 8866)")
    parser.add_argument("--no-browser", action="store_true", help="open no browser window")
    arguments = parser.parse_args(argv)
    try:
        outputs = (arguments.outputs or get_profile(arguments.profile).outputs).resolve()
        check(outputs, arguments.profile)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    os.environ[OUTPUTS_VARIABLE] = str(outputs)
    serve(arguments.port, not arguments.no_browser)
    return 0


def serve(port: int, open_browser: bool) -> None:
    """Run Voilà on the notebook until it is interrupted."""
    from traitlets.config import Config
    from voila.app import Voila

    config = Config()
    config.Voila.ip = "127.0.0.1"
    config.Voila.port = port
    config.Voila.port_retries = 20  # the next free one, if somebody has it
    config.Voila.open_browser = open_browser
    # The page takes nothing from other addresses, and tells them nothing.
    policy = (
        "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; connect-src 'self' ws:; frame-ancestors 'self'"
    )
    config.Voila.tornado_settings = {
        "websocket_max_message_size": LARGEST_UPLOAD,
        "headers": {"Content-Security-Policy": policy},
    }
    config.VoilaConfiguration.show_tracebacks = False
    config.MappingKernelManager.cull_idle_timeout = 3600  # of pages that were closed without a word
    Voila.launch_instance(argv=[str(NOTEBOOK)], config=config)


if __name__ == "__main__":
    sys.exit(main())
