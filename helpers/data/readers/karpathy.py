"""Karpathy's split files `dataset_*.json`: which photo trains, validates or tests (Karpathy and Fei-Fei 2015)."""

from pathlib import Path

from helpers.files import InputError, read_json


def read_karpathy_split(path: Path) -> dict[str, str]:
    """Split of each photo by file name; "restval", COCO's second training part, counts as "train".

    Raises:
        InputError: the file is not a split file.
    """
    images = read_json(path, made_by="notebook 01_download").get("images")
    if not images or not all("split" in image for image in images):
        raise InputError(f"{path} is not a split file in Karpathy's format; delete it so that it is downloaded again.")
    return {
        # COCO 2017 names its photos by number alone: 000000391895.jpg.
        f"{image['cocoid']:012d}.jpg" if "cocoid" in image else image["filename"]: {"restval": "train"}.get(
            image["split"], image["split"]
        )
        for image in images
    }
