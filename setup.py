"""Packs `helpers` for other code, under the name of the project: `import image_captioning_and_search`.

`helpers` is what many a folder is called, and two packages of one name cannot be installed side by side. In the wheel
every import within the package says the project's own name, so that there is one copy of each module, and a folder
`helpers` of the user's is left in peace. A checkout needs no installing: there it is `helpers`.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

NAME = "image_captioning_and_search"
IMPORT = re.compile(r"(?m)^(\s*(?:from|import) )helpers\b")
MODULE = re.compile(r'"helpers(?=(?:\.\w+)+")')  # of a process that is started with -m


class Renamed(build_py):
    """Copies modules with their imports renamed."""

    def build_module(self, module: str, module_file: str, package: str) -> tuple[str, bool]:
        made, copied = super().build_module(module, module_file, package)
        source = Path(made).read_text(encoding="utf-8")
        Path(made).write_text(MODULE.sub(f'"{NAME}', IMPORT.sub(rf"\1{NAME}", source)), encoding="utf-8")
        return made, copied


def requirements() -> list[str]:
    """What requirements.txt pins for the modules themselves, in those versions or newer ones."""
    pinned = Path("requirements.txt").read_text(encoding="utf-8")
    names = re.findall(r"(?m)^([\w.\-]+)==(\S+)", pinned)
    return [f"{name}>={version}" for name, version in names if name != "jupyter"]


setup(
    packages=[NAME, *(f"{NAME}.{wing}" for wing in find_packages("helpers"))],
    package_dir={NAME: "helpers"},
    package_data={"": ["*.json", "*.j2", "*.css", "*.js", "static/*", "templates/*"]},
    install_requires=requirements(),
    cmdclass={"build_py": Renamed},
)
