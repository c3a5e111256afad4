"""Your own album: a finished run, used on a folder of photos of one's own.

    album = Album(Path("~/Pictures").expanduser(), Path("outputs/sample"))
    print(album.update())                                    # 4,812 photos: 12 new, 1 moved; 3 left out
    album.search("two dogs in the snow", without="people", k=3)

Only new and changed photos are looked at; what is known of the others is kept, by what they hold (`album_store.py`).
The same from a shell, where words, a photo or both ask:

    python -m helpers.search.album ~/Pictures --find "two dogs in the snow" --top 3
    python -m helpers.search.album ~/Pictures --caption captions.csv
"""

import argparse
import csv
import hashlib
import io
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from os.path import lexists
from pathlib import Path

import numpy as np
from PIL import Image

from helpers.data.images import load_photo
from helpers.data.manifest import Photo
from helpers.data.readers.place import TEXTS, Place
from helpers.environment import cores, located, pasted, portable, set_threads
from helpers.files import InputError, Options, atomic_path, exit_status, there
from helpers.profiles import get_profile, way_to_the_end
from helpers.search.album_models import NO_CAPTIONS, models_of
from helpers.search.album_store import CAPTION_FILES, AlbumStore, Look
from helpers.search.album_update import Tally, Update
from helpers.search.engine import Hit, PhotoSearch
from helpers.search.index import SearchIndex, query_vector

HOME = ".album"  # beside the photos; hidden, so that no walk over photos finds it


class OtherModels(InputError):
    """An album was made by other models than those in use."""


class Album:
    """Photos in `folder` and the folders in it, searched and captioned with the models of a finished run.

    Where a model is not named, it is the one that the album was made with; of a new album, the run's pretrained towers,
    and the captioner that was best on its validation photos.

    Args:
        folder: of photos.
        run: a finished run, or its outputs folder.
        home: where the album is kept; None: in `folder`, hidden.
        model: what finds photos, such as one of `engine.MODELS`.
        captioner: what says what is on them, such as "transformer"; NO_CAPTIONS: nothing does.
        precision: of the graphs that look at photos.
        anew: forget what models made of the photos, once `update` has found some; corrections stay.

    Raises:
        OtherModels: they made the album that is kept there.
        InputError: the run is not finished, or the album cannot be kept at `home`.
    """

    def __init__(
        self,
        folder: Path,
        run: PhotoSearch | Path,
        home: Path | None = None,
        *,
        model: str | None = None,
        captioner: str | None = None,
        precision: str | None = None,
        anew: bool = False,
    ) -> None:
        self.folder = folder.resolve()
        if not there(self.folder.is_dir):
            raise InputError(f"{folder} is not a folder of photos; check the path.")
        self.home = (home or self.folder / HOME).resolve()
        self.run = run if isinstance(run, PhotoSearch) else PhotoSearch(run)
        self._store = AlbumStore(self.home)
        self._anew = anew  # until it has been forgotten
        made = {} if anew else self._store.settings
        self.precision = precision or made.get("precision", "fp32")
        self.encoder, self.captioner = models_of(
            self.run,
            model or made.get("model", "pretrained"),
            captioner or made.get("captioner") or self.run.captioners[0],
            self.precision,
        )
        self._check_models(made)
        self._load()

    def _check_models(self, made: Mapping[str, str]) -> None:
        """Vectors of two models cannot be compared, and captions of two in one list would mislead."""
        for kind, one in (("encoder", self.encoder), ("describer", self.captioner)):
            if one is not None and made.get(kind, one.fingerprint) != one.fingerprint:
                now = f"{one.name}, {one.fingerprint}"
                again = self._command(self.captioner.name if self.captioner else NO_CAPTIONS, "--anew")
                raise OtherModels(
                    f"The album in {self.home} was made by another model ({made[kind]}) than the one in use ({now}); "
                    f"make it anew with `{again}`."
                )

    def _command(self, captioner: str, *flags: str) -> str:
        """What opens this very album in a shell, with its models and this captioner, to be pasted."""
        words = [str(self.folder), *flags, *([] if self.home == self.folder / HOME else ["--album", str(self.home)])]
        words += ["--run", str(self.run.outputs.resolve()), "--model", self.encoder.name, "--captioner", captioner]
        words += [] if self.precision == "fp32" else ["--precision", self.precision]
        return pasted(["python", "-m", "helpers.search.album", *words])

    def _load(self) -> None:
        """Photos and vectors as they are kept."""
        self._digests: dict[str, str] = {}
        self._thumbnails: dict[str, np.ndarray] = {}  # by the digest
        self._corrections: dict[str, str] = {}
        self._group: dict[str, str] = {}  # of copies, by the path of a photo
        self._copies: dict[str, list[str]] = {}  # the paths in a group
        photos, index, part = {}, None, []
        for path, look, correction in () if self._anew else self._store.looks():
            self._digests[path] = look.digest
            self._thumbnails[look.digest] = look.thumbnail
            if correction is not None:
                self._corrections[path] = correction
            caption = look.caption if correction is None else correction
            photos[path] = Photo(path, self.folder / path, () if caption is None else (caption,), "album")
            index = index or SearchIndex(len(look.vector), self.encoder.fingerprint)
            self._group[path] = look.copy_of
            self._copies.setdefault(look.copy_of, []).append(path)
            part.append((path, look))
            if len(part) == 4096:
                _add(index, part)
                part = []
        if part:
            _add(index, part)
        self.photos: dict[str, Photo] = photos
        self.index = index

    # --- What there is ---

    @property
    def title(self) -> str:
        """The name of its folder."""
        return self.folder.name

    @property
    def models(self) -> list[str]:
        """The one model that it is made with."""
        return [self.encoder.name]

    def precisions(self, model: str) -> list[str]:
        """The precisions in which `model` reads queries, the album's own first."""
        return sorted(self.encoder.precisions, key=lambda one: one != self.precision)

    def id_of(self, path: Path) -> str | None:
        """Which of its photos is the file at `path`, in whatever way that is written; None: none is."""
        place = path.parent.resolve() / path.name
        known = ((one.id, one.path) for one in self.photos.values() if one.path.name == place.name)
        return next((id_ for id_, path in known if path.parent.resolve() / path.name == place), None)

    def take_corrections(self, home: Path) -> int:
        """Keep the corrections of the album in `home`, of photos that this one has and nobody has corrected here.

        Returns:
            How many there were.
        """
        taken = self._store.take_corrections(home)
        if taken:
            self._load()
        return taken

    def corrected(self, photo_id: str) -> bool:
        """Whether the photo's caption is a person's."""
        return photo_id in self._corrections

    # --- Bringing it up to date ---

    def update(self) -> Tally:
        """Look at new and changed photos, and forget those that are gone. Interrupted, it goes on the next time.

        Raises:
            InputError: there is no photo that can be used, or another process has the album.
        """
        update = Update(self.folder, self._store, self.encoder, self.captioner)
        with self._store.only_one():
            update.find()
            self._store.set(self._models(), self._anew)
            self._anew = False
            if update.run():
                self._load()
        if not self.photos:
            raise InputError(update.nothing())
        update.tally.taken = len(self.photos)
        return update.tally

    def _models(self) -> dict[str, str]:
        """What the album is made with, as it is kept."""
        models = {"run": portable(self.run.outputs.resolve()), "precision": self.precision}
        models |= {"model": self.encoder.name, "encoder": self.encoder.fingerprint, "captioner": NO_CAPTIONS}
        if self.captioner:
            models |= {"captioner": self.captioner.name, "describer": self.captioner.fingerprint}
        return models

    # --- What it answers ---

    def search(
        self,
        text: str | None = None,
        photo: Image.Image | None = None,
        *,
        without: str | None = None,
        model: str | None = None,
        precision: str | None = None,
        k: int = 5,
        text_weight: float | None = None,
        leave_out: str | None = None,
    ) -> list[Hit]:
        """The `k` photos that fit a text, a photo or both best, the best first; copies of a photo stand behind it.

        Arguments and errors are those of `PhotoSearch.search`; `model` can only be the album's own. `leave_out` is the
        id of a photo that shall not be among them, since it asks.
        """
        self._check_model(model)
        reader = self.encoder.reader(precision or self.precision)
        query = query_vector(reader, text, photo, text_weight)
        unwanted = None if without is None else query_vector(reader, without)
        return self._hits(query, k, fair=photo is None, without=unwanted, leave_out=leave_out)

    def like(self, photo_id: str, k: int = 5, model: str | None = None) -> list[Hit]:
        """The `k` nearest neighbours of one of its photos, the nearest first; the photo itself is left out.

        Raises:
            InputError: there is no such photo, or `model` is another than the album's.
        """
        self._check_model(model)
        return self._hits(self._filled.vectors([photo_id])[0], k, leave_out=photo_id)

    def most_hits(self, like: str | None = None) -> int:
        """How many hits there are at most, where one of its photos asks or none does: copies of a photo are one."""
        return len(self._copies) - (like is not None and len(self._copies[self._group[like]]) == 1)

    def _check_model(self, model: str | None) -> None:
        if model not in (None, self.encoder.name):
            raise InputError(
                f"This album is made with the model {self.encoder.name!r}, and {model!r} cannot search it."
            )

    @property
    def _filled(self) -> SearchIndex:
        if self.index is None:
            raise InputError(f"The album in {self.home} is empty; bring it up to date first.")
        return self.index

    def _hits(
        self,
        query: np.ndarray,
        k: int,
        fair: bool = False,
        without: np.ndarray | None = None,
        leave_out: str | None = None,
    ) -> list[Hit]:
        index = self._filled
        hits: list[Hit] = []
        shown, count = {leave_out}, max(k, 2 * k)  # below 1, as it was asked for: the index refuses it
        while True:
            scores, ids = index.search(query, count, fair, without)
            for score, id_ in zip(scores[0], ids[0], strict=True):
                if id_ in shown:
                    continue
                twins = [copy for copy in self._copies[self._group[id_]] if copy not in (id_, leave_out)]
                hits.append(Hit(self.photos[id_], float(score), tuple(self.photos[twin] for twin in twins)))
                shown |= {id_, *twins}
                if len(hits) == k:
                    return hits
            if count >= len(index):
                return hits
            hits, shown, count = [], {leave_out}, 4 * count

    def caption(self, photo: Image.Image) -> str:
        """What the album's captioner says of any photo.

        Raises:
            InputError: the album has no captioner.
        """
        if self.captioner is None:
            raise InputError(self._without_captioner())
        return self.captioner.caption_photos(self.captioner.square(load_photo(photo))[None])[0]

    def _without_captioner(self) -> str:
        return f"This album has no captioner; `{self._command(self.run.captioners[0])}` gives it one."

    def correct(self, photo_id: str, caption: str) -> None:
        """Put a person's caption in the place of the photo's; it is kept with the album, for all files of its content.

        Raises:
            InputError: there is no such photo, its file holds another one by now, or the caption is blank.
        """
        caption = " ".join(caption.split())
        if photo_id not in self.photos:
            raise InputError(f"There is no photo {photo_id!r} in the album.")
        if not caption:
            raise InputError("A caption needs at least one word.")
        digest = self._digests[photo_id]
        thumbnail = self._thumbnails[digest]
        if Update(self.folder, self._store, self.encoder, self.captioner).shows_another(photo_id, digest, thumbnail):
            raise InputError(
                f"{self.photos[photo_id].path} holds another photo now than when the album looked at it; end the "
                "search page and open it again, which brings the album up to date."
            )
        self._store.correct(photo_id, digest, thumbnail, caption)
        for copy in [one for one, other in self._digests.items() if other == digest]:
            self.photos[copy] = replace(self.photos[copy], captions=(caption,))
            self._corrections[copy] = caption

    # --- What it writes ---

    def check_captions_file(self, path: Path) -> None:
        """Whether captions may be written to `path`.

        Raises:
            InputError: there is a file that this album did not write, or that was changed since.
        """
        if lexists(path) and not (path.is_file() and self._store.wrote(path)):
            raise InputError(
                f"{path} is there already, and not as this album wrote it; name another file for the captions, or move "
                "that one away."
            )

    def write_captions(self, path: Path) -> int:
        """One caption a photo: CSV (`image,caption`) or JSON Lines, by the suffix of `path`; how many there are.

        Raises:
            InputError: the album has no captioner and no caption, or `check_captions_file` has something to say.
        """
        self._check_captions()
        self.check_captions_file(path)
        text = io.StringIO(newline="")
        rows = [(photo.id, photo.captions[0]) for photo in self.photos.values() if photo.captions]
        if path.suffix.lower() == ".csv":
            csv.writer(text).writerows([("image", "caption"), *rows])
        else:
            text.writelines(
                json.dumps({"image": id_, "caption": said}, ensure_ascii=False) + "\n" for id_, said in rows
            )
        with atomic_path(path) as temporary:
            temporary.write_text(text.getvalue(), encoding="utf-8", newline="")
        self._store.note_written(path)
        return len(rows)

    def write_sidecars(self) -> "Sidecars":
        """A .txt with the caption beside each photo that has no text yet, be it .txt or another of `TEXTS`.

        Raises:
            InputError: the album has no captioner, and no caption.
        """
        self._check_captions()
        found = Sidecars()
        told = {photo for photos in Place(self.folder).beside.values() for photo in photos}
        seen: set[Path] = set()
        for photo in self.photos.values():
            sidecar = photo.path.with_suffix(".txt")
            if sidecar in seen:
                found.shared += 1
            elif photo.path in told or any(lexists(sidecar.with_suffix(text)) for text in TEXTS):
                found.there += 1
            elif photo.captions:
                try:
                    with atomic_path(sidecar) as temporary:
                        temporary.write_text(photo.captions[0] + "\n", encoding="utf-8")
                except InputError as error:
                    found.failed.append(str(error))
                else:
                    found.written += 1
            else:
                continue
            seen.add(sidecar)
        return found

    def _check_captions(self) -> None:
        """Without a captioner there can still be captions: of an earlier one, or by a person."""
        if self.captioner is None and not any(photo.captions for photo in self.photos.values()):
            raise InputError(self._without_captioner())


@dataclass
class Sidecars:
    """What `Album.write_sidecars` did.

    Attributes:
        written, there: how many it wrote, and how many were there.
        shared: how many photos have none of their own since an earlier one is called the same but for the ending, as
            a.jpg and a.png.
        failed: why some could not be written.
    """

    written: int = 0
    there: int = 0
    shared: int = 0
    failed: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{self.written:,} captions written beside their photos; {self.there:,} files were there already."]
        if self.shared:
            lines.append(
                f"{self.shared:,} photos got none: they have the name of another photo but for its ending, as a.png of "
                "a.jpg, and the .txt of that name is the other's."
            )
        if self.failed:
            lines.append(f"{len(self.failed):,} captions could not be written. The first: {self.failed[0]}")
        return "\n".join(lines)


def _add(index: SearchIndex, part: Sequence[tuple[str, Look]]) -> None:
    paths, looks = zip(*part, strict=True)
    index.add(paths, np.stack([look.vector for look in looks]), np.array([look.crowding for look in looks]))


# --- The command ------------------------------------------------------------------------------------------------


def main(argv: list[str] | None = None) -> int:
    """Bring an album up to date and do what the options ask; 2 if something that was given is wrong."""
    parser = Options(
        prog="python -m helpers.search.album", description="Search and caption a folder of photos of your own."
    )
    parser.add_argument("folder", type=Path, help="photos, also in folders in it")
    parser.add_argument("--find", metavar="WORDS", help="print the photos that fit words best")
    parser.add_argument("--like", type=Path, metavar="PHOTO", help="print the photos most like one; with --find, both")
    parser.add_argument("--without", metavar="WORDS", help="what should not be on the photos that are found")
    parser.add_argument(
        "--top", type=int, default=10, metavar="N", help="photos to print, and copies of each (default: 10)"
    )
    parser.add_argument("--paths-only", action="store_true", help="print no scores")
    parser.add_argument("--caption", type=Path, metavar="FILE", help="write one caption a photo, .csv or .jsonl")
    parser.add_argument("--sidecar", action="store_true", help="write a .txt beside each photo that has no text")
    parser.add_argument("--left-out", action="store_true", help="list the files that could not be taken, and why")
    parser.add_argument(
        "--album", "--home", type=Path, metavar="HOME", help=f"where to keep the album (default: FOLDER/{HOME})"
    )
    parser.add_argument("--profile", "--name", help="which run to look with (default: the album's, or sample)")
    parser.add_argument(
        "--run", "--outputs", type=Path, metavar="OUTPUTS", help="another outputs folder than the profile's"
    )
    parser.add_argument("--model", help="scratch, pretrained, fusion, or one of the Hugging Face hub")
    parser.add_argument("--captioner", help="lstm, attention, transformer, none, or one of the Hugging Face hub")
    parser.add_argument("--precision", help="fp32, fp16 or int8 (default: the album's, or fp32)")
    parser.add_argument("--anew", action="store_true", help="look at all photos again; corrections stay")
    options = parser.parse_args(argv)
    options.typed = sys.argv[1:] if argv is None else argv
    set_threads(cores())
    again = "goes on from here"
    if options.anew:  # before that, nothing has been forgotten
        again = "without --anew goes on from here, if this one had begun to look at photos"
    return exit_status(lambda: _run(options), again)


def _run(options: argparse.Namespace) -> None:
    _check(options)
    album = Album(
        options.folder,
        run_of(options.folder, options.album, options.run, options.profile),
        options.album,
        model=options.model,
        captioner=options.captioner,
        precision=options.precision,
        anew=options.anew,
    )
    if options.caption:
        album.check_captions_file(options.caption)
    tally = album.update()
    print(tally, file=sys.stderr)
    if options.left_out:
        print("\n".join(f"{path}: {why}" for path, why in tally.left_out.items()))
    if options.caption:
        print(f"{album.write_captions(options.caption):,} captions written to {options.caption}.", file=sys.stderr)
    sidecars = album.write_sidecars() if options.sidecar else Sidecars()
    if options.sidecar:
        print(sidecars, file=sys.stderr)
    if options.find is not None or options.like is not None:
        photo, own = None, None
        if options.like is not None:
            photo, own = load_photo(options.like), album.id_of(options.like)
        hits = album.search(options.find, photo, without=options.without, k=options.top, leave_out=own)
        if not hits:
            print("There is no other photo in the album.", file=sys.stderr)
        for hit in hits:
            for before, photo in ((f"{hit.score:.3f}", hit.photo), *(("alike", twin) for twin in hit.twins)):
                print(photo.path if options.paths_only else f"{before} {photo.path}")
    if sidecars.failed:
        raise InputError("Not all captions could be written beside their photos.")


def _check(options: argparse.Namespace) -> None:
    """What can be known to be wrong before a model is loaded.

    Raises:
        InputError: it is.
    """
    if options.run is not None and options.profile is not None:
        raise InputError("--run and --profile both say which run to look with; give one of them.")
    if options.caption is not None:
        if options.caption.suffix.lower() not in CAPTION_FILES:
            raise InputError(f"Captions are written as .csv or .jsonl, and {options.caption} is neither.")
        if not there(options.caption.resolve().parent.is_dir):
            raise InputError(f"{options.caption.parent} is not a folder; captions are written into one that is there.")
    if options.without is not None and options.find is None and options.like is None:
        raise InputError("--without leaves out of what is found; say with --find or --like what to look for.")
    if options.top < 1:
        raise InputError(f"--top is {options.top}, but at least 1 photo must be asked for.")
    if options.like is not None:
        if not there(options.like.exists) and there((options.folder / options.like).is_file):
            options.like = options.folder / options.like
        load_photo(options.like, 1)
    check_home(options.folder, options.album, "helpers.search.album", ("--album", "--home"), options.typed)


def check_home(folder: Path, home: Path | None, module: str, names: Sequence[str], typed: Sequence[str]) -> None:
    """See that the album of `folder` can be kept, before anything begins.

    Args:
        folder: of photos.
        home: where the album is kept; None: in `folder`, hidden.
        module: whose command this is.
        names: of its option for another home.
        typed: what was given to it.

    Raises:
        InputError: it cannot; the message has the whole command that goes on.
    """
    kept = (home or folder / HOME).absolute()
    place = next(place for place in (kept, *kept.parents) if there(place.exists))
    if there(folder.is_dir) and not (place.is_dir() and os.access(place, os.W_OK)):
        kept_words: list[str] = []
        for word in typed:
            if kept_words[-1:] and kept_words[-1] in names:  # with its value
                kept_words.pop()
            elif not word.startswith(tuple(f"{name}=" for name in names)):
                kept_words.append(word)
        whole = folder.resolve()
        digest = hashlib.sha256(os.fsencode(whole)).hexdigest()[:8]  # two folders may have one name
        other = Path.home() / "albums" / f"{whole.name[:40]}-{digest}"
        raise InputError(
            f"The album cannot be kept in {kept}, where nothing can be written; "
            f"`{pasted(['python', '-m', module, names[0], str(other), *kept_words])}` keeps it elsewhere."
        )


def run_of(folder: Path, home: Path | None, outputs: Path | None, profile: str | None) -> PhotoSearch:
    """The run that is named, else the one that the album of `folder` was made with, else that of the sample.

    Raises:
        InputError: there is none.
    """
    if outputs is None and profile is None:
        made = AlbumStore.made_with(home or folder / HOME)
        if "run" in made:
            outputs = located(made["run"])
            if not _begun(outputs):
                raise InputError(
                    f"The album of {folder} was made with the run in {outputs}, and none is there any more; say with "
                    "--run (of the search page: --outputs) where it is now."
                )
            return PhotoSearch(outputs)
    outputs = (outputs or get_profile(profile or "sample").outputs).resolve()
    check_begun(outputs, profile)
    return PhotoSearch(outputs)


def check_begun(outputs: Path, profile: str | None) -> None:
    """Whether there is a run in `outputs`, which may have been named by its `profile`.

    Raises:
        InputError: there is none.
    """
    if not _begun(outputs):
        raise InputError(f"There is nothing to search in {outputs} yet: {way_to_the_end(outputs, profile)}.")


def _begun(outputs: Path) -> bool:
    return there((outputs / "dataset" / "manifest.json").exists)


if __name__ == "__main__":
    sys.exit(main())
