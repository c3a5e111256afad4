"""Pages in a real browser: servers to open them on, files to drop on them, and how well their text can be read."""

import base64
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from playwright.sync_api import ElementHandle, Page

from helpers.search.app import free_socket, page_server
from helpers.search.web import Gallery

TOKEN = "the-token-of-the-tests"


@contextmanager
def served(gallery: Gallery) -> Iterator[str]:
    """The search page over `gallery`, in a thread of this process; its address, without the token."""
    with free_socket(0) as listening:
        server = page_server(gallery, listening, TOKEN)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


@contextmanager
def started(*command: str, folder: Path, **environment: str) -> Iterator[str]:
    """`python -m command --port=...`, once it answers; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [sys.executable, "-m", *command, f"--port={port}"],
        cwd=folder,
        env=os.environ | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(600):
            assert process.poll() is None, f"{command} ended with {process.returncode}"
            try:
                urllib.request.urlopen(f"{address}/static/nothing", timeout=5).close()
                break
            except urllib.error.HTTPError:  # any answer will do
                break
            except OSError:
                time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait(20)


def let_go(page: Page, name: str, content: bytes, over: str, event: str = "drop") -> None:
    """Let go of a file over the element `over`, as a hand with a mouse would; or "paste" it there."""
    page.locator(over).first.evaluate(
        """(one, [name, content, event]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([Uint8Array.from(atob(content), (one) => one.charCodeAt(0))], name));
            const kind = { bubbles: true, cancelable: true, dataTransfer: transfer, clipboardData: transfer };
            one.dispatchEvent(event === "drop" ? new DragEvent(event, kind) : new ClipboardEvent(event, kind));
        }""",
        [name, base64.b64encode(content).decode(), event],
    )


def contrast(element: ElementHandle) -> float:
    """The contrast of an element's text with what is behind it, 1 to 21 (WCAG 2)."""
    colours = element.evaluate(
        """(one) => {
            const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
            const ink = channels(getComputedStyle(one).color);
            while (one && (channels(getComputedStyle(one).backgroundColor)[3] ?? 1) === 0) one = one.parentElement;
            return [ink, one ? channels(getComputedStyle(one).backgroundColor) : [255, 255, 255]];
        }"""
    )

    def luminance(colour: list[float]) -> float:
        part = np.array(colour[:3]) / 255
        return float(
            np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]
        )

    darker, lighter = sorted(map(luminance, colours))
    return (lighter + 0.05) / (darker + 0.05)
