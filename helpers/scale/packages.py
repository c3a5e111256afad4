"""What this wing needs beyond the packages of the course, and the sentence that says how to get it."""

from importlib.util import find_spec

from helpers.files import InputError

NEEDED = ("pyarrow", "ray", "webdataset", "pymilvus", "milvus_lite")  # as they are imported


def require_packages() -> None:
    """See that everything in requirements-scale.txt is installed, before any of it is imported.

    Raises:
        InputError: something is not.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise InputError(
            f"Scaling out needs packages that are not installed ({', '.join(missing)}); get them with "
            "`pip install -r requirements-scale.txt`, about 400 MB."
        )
