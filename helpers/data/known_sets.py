"""What is known of the data sets that the profiles fetch: what a download costs, and what must be there after it."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from helpers.data.left_out import Findings
from helpers.files import InputError
from helpers.profiles import Profile

_SPEED = 50  # Mbit/s, a usual line

_FLICKR = "its photos belong to their authors on Flickr and are for research and teaching"


@dataclass(frozen=True)
class KnownSet:
    """A data set on Kaggle, as its page and its authors describe it."""

    name: str
    gigabytes: float  # to download, about
    licence: str
    photos: int = 0  # 0: it has none, or not always as many
    captions: int = 0


KNOWN = {  # by owner and name
    "adityajn105/flickr8k": KnownSet("Flickr8k", 1.1, _FLICKR, 8_091, 40_455),
    "adityajn105/flickr30k": KnownSet("Flickr30k", 4.4, _FLICKR, 31_783, 158_915),
    "awsaf49/coco-2017-dataset": KnownSet(
        "COCO 2017", 27, f"its captions are CC BY 4.0, and {_FLICKR}", 123_287, 616_767
    ),
    "shtvkumar/karpathy-splits": KnownSet(
        "Karpathy's split files", 0.04, "it has no photos, only who trains and tests"
    ),
    "alessiocorrado99/animals10": KnownSet("Animals-10", 0.6, "its page says GPL 2", 26_179),
}


def known_set(handle: str) -> KnownSet | None:
    """What is known of the data set of a Kaggle handle, whichever its version."""
    return KNOWN.get("/".join(handle.split("/")[:2]))


def expected_photos(profile: Profile) -> int:
    """How many captioned photos a run of `profile` will have, as far as that is known before they are there, else 0."""
    if profile.captions_folder:
        return 0
    sets = [known_set(handle.strip()) for handle in (profile.captions_handle or "").split("+") if handle.strip()]
    photos = sum(known.photos for known in sets if known) if profile.captions_handle else profile.scenes
    return min(photos, profile.limit or photos)


def announce(handle: str, cache: Path, there: int = 0) -> None:
    """Say what the download of `handle` into `cache` will cost, before it begins.

    Args:
        handle: of a Kaggle data set.
        cache: the folder that it goes into.
        there: bytes of its archive that an earlier attempt left, where the download goes on.

    Raises:
        InputError: it will not fit on the disk, packed and unpacked.
    """
    known = known_set(handle)
    if known is None:
        print(
            f"Fetching {handle} from Kaggle; how large it is, its page says: kaggle.com/datasets/{handle}.", flush=True
        )
        return
    minutes = known.gigabytes * 8000 / _SPEED / 60
    print(
        f"Fetching {known.name} from Kaggle ({handle}): about {known.gigabytes:g} GB, which takes "
        f"{max(1, round(minutes)):,} min at {_SPEED} Mbit/s; {known.licence}. Public data sets need no account.",
        flush=True,
    )
    place = next(place for place in (cache, *cache.absolute().parents) if place.exists())
    needed = 2e9 * known.gigabytes - there  # for the archive and what comes out of it
    free = shutil.disk_usage(place).free
    if free < needed:
        size = f"{needed / 1e9:.1f} GB" + (" more" if there else "")
        raise InputError(
            f"{known.name} needs about {size} in {cache} while it is unpacked, and {free / 1e9:.1f} GB are free there; "
            "make room, or set KAGGLEHUB_CACHE to a folder on another disk."
        )


def check_counts(handle: str, photos: int, captions: int, findings: Findings) -> None:
    """Say so if a known data set has not as many photos and captions as it should; some captions are in it twice."""
    known = known_set(handle)
    if known and known.photos and (photos != known.photos or captions < 0.99 * known.captions):
        expected = f"{known.photos:,} photos" + (f" and {known.captions:,} captions" if known.captions else "")
        found = f"{photos:,}" + (f" and {captions:,}" if known.captions else "")
        findings.say(
            f"{known.name} has {expected}, and {found} were read here: the copy is another version, or not whole."
        )
