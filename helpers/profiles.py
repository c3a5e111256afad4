"""Profiles: one named set of settings for the whole chain, in one readable place.

A notebook's `parameters` cell holds literals; `None` there means "what the profile says". `chosen_profile` joins
the two, so that `run_all.py --set name=value`, papermill and a cell edited by hand all go the same way. Types, ranges
and choices are checked there, before anything runs.

A run of one's own has a name, and remembers its settings in outputs/<name>/run.json: wherever a profile is named, a
run can be.
"""

import re
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import AfterValidator, ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from helpers.backbone_names import BUILT_IN, COLOURS, NETWORKS, SEPARATOR, eyes, on_hub, vector_is_mean
from helpers.environment import located, pasted, portable, project_root
from helpers.files import InputError, read_as, there

Text = Annotated[str, Field(min_length=1, pattern=r"^[^\x00]*$")]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Drawn = Annotated[int, Field(ge=10, le=1_000_000)]  # some for each split
Epochs = Annotated[int, Field(ge=1, le=10_000)]
Batch = Annotated[int, Field(ge=2, le=100_000)]  # batch normalisation and contrast need two
Width = Annotated[int, Field(ge=8, le=8192)]
Side = Annotated[int, Field(ge=32, le=1024)]  # pixels; the CNN halves them five times
Share = Annotated[float, Field(ge=0, lt=1)]
Rate = Annotated[float, Field(gt=0, le=1)]


def _backbone(name: str) -> str:
    parts = eyes(name)
    if parts == [COLOURS] or not all(part in BUILT_IN or re.search(r"[^/\\][/\\][^/\\]", part) for part in parts):
        listed = ", ".join(map(repr, NETWORKS))
        raise PydanticCustomError(
            "backbone",
            f"Input should be {listed}, a vision transformer of the Hugging Face hub, such as "
            f"'openai/clip-vit-base-patch16', or several of these, joined by +, {COLOURS!r} among them if you like",
        )
    sizes = {NETWORKS[part].photo_size for part in parts if part in NETWORKS}
    if len(sizes) > 1 or len(set(parts)) < len(parts):
        raise PydanticCustomError(
            "backbones", "Input should be of different backbones that take photos of one size, such as 'vgg16+resnet50'"
        )
    return SEPARATOR.join(parts)


BackboneName = Annotated[str, AfterValidator(_backbone)]
TokenizerKind = Literal["word", "wordpiece", "bert"]
DeviceName = Literal["auto", "cpu", "cuda", "mps"]


@dataclass(frozen=True, config=ConfigDict(strict=True))
class Profile:
    """Settings of one run. Paths given as relative are relative to the project root.

    Attributes are grouped by the notebook that reads them first; times are for two cores.
    """

    name: Text
    run: Text | None = None  # the name of a run of its own, which is that of its folder; None: the profile's
    # Where things live and how a run behaves.
    data_dir: Text = "data"
    outputs_dir: Text = "outputs"
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None  # None: one thread for each core this process may use
    processes: Annotated[int, Field(ge=1, le=64)] = 1  # that share a training, and the cores or GPUs
    device: DeviceName = "auto"  # to train and to extract on; auto: an NVIDIA GPU if PyTorch sees one, else the CPU

    # 01: which data. A handle is pinned to a version, so that a cached copy needs no network.
    captions_handle: Text | None = None  # Kaggle data set with captions; None: the embedded sample
    split_handle: Text | None = None  # Kaggle data set with the Karpathy split files
    split_file: Text | None = None  # the file of that data set that belongs to these photos
    classes_handle: Text | None = None  # Kaggle data set with one folder of photos a class
    captions_folder: Text | None = None  # own photos with captions, in any layout of docs/layouts.md; several: a+b
    captions_encoding: Text | None = None  # of caption files that are not UTF-8, such as cp1252
    classes_folder: Text | None = None  # own photos: a folder with one folder a class
    limit: Drawn | None = None  # a slice: so many captioned photos, and so many class photos, by chance
    scenes: Drawn = 1600  # the sample only: captioned scenes to draw
    pictures_per_class: Drawn = 80  # the sample only: pictures of single animals to draw a class

    # 02: which frozen networks look at the photos; several, joined by "+", look side by side.
    vector_backbone: BackboneName = "efficientnet_lite0+colours"  # one vector a photo, for the LSTM
    grid_backbone: BackboneName = "efficientnet_lite0+colours"  # a 7x7 grid for attention, a vector for the pairs
    mirrored: bool = False  # look at mirror images, too, and train on both
    finetune: bool = False  # the transformer trains the grid backbone's last layers, too

    # 03: captioners; what all three share, then each one's own.
    caption_tokenizer: TokenizerKind = "wordpiece"
    caption_min_count: Count = 4  # word only: words seen less often in training become <UNK>
    caption_max_length: Annotated[int, Field(ge=4, le=512)] = 26  # tokens, <SOS> and <EOS> included
    caption_batch: Batch = 8  # photos a step; each brings all its captions
    # A second stage, rewarded for CIDEr-D; see helpers/captioning/self_critical.py.
    self_critical_epochs: Annotated[int, Field(ge=0, le=10_000)] = 0
    beam: Annotated[int, Field(ge=1, le=100)] = 5
    length_power: Annotated[float, Field(ge=0, le=10)] = 0.7  # see `beam_search`
    lstm_hidden: Width = 512  # width of the LSTM
    lstm_dropout: Share = 0.2
    lstm_epochs: Epochs = 6
    lstm_learning_rate: Rate = 2e-3  # at its peak, like the two others
    attention_hidden: Width = 256
    attention_dropout: Share = 0.3
    attention_epochs: Epochs = 4
    attention_learning_rate: Rate = 2e-3
    transformer_width: Annotated[Width, Field(multiple_of=8)] = 256  # eight heads
    transformer_layers: Annotated[int, Field(ge=1, le=64)] = 2  # of the decoder
    transformer_dropout: Share = 0.2
    transformer_epochs: Epochs = 4
    transformer_learning_rate: Rate = 1e-3
    consensus_photos: Count = 10  # test photos whose captions are chosen from many

    # 04: the dual encoders.
    encoder_photo_size: Side = 64  # pixels a side of what the 4-block CNN sees
    encoder_tokenizer: TokenizerKind = "wordpiece"
    encoder_epochs: Epochs = 12
    encoder_batch: Batch = 64  # photos a step
    encoder_texts: Annotated[int, Field(ge=1, le=100)] = 1  # of each photo a step
    encoder_muon: bool = False  # for filters and matrices, see helpers/training/optimizer.py
    class_photo_size: Side = 64
    class_epochs: Epochs = 16  # 60 take two minutes with 1,000 photos, half an hour with all of Animals-10
    class_batch: Batch = 64
    descriptions_file: Text | None = None  # own descriptions of classes, see helpers/data/descriptions.py
    fusion_epochs: Epochs = 20
    fusion_batch: Batch = 128  # photos a step, two views of each

    sentence_encoders: Text = "use"  # of fusion and pretrained towers, joined by "+"
    pretrained_epochs: Epochs = 16
    pretrained_batch: Batch = 128  # photos a step, each with five captions
    # The pretrained towers train the grid backbone's last layers, too, for so many epochs more; 0: they stay frozen.
    pretrained_tail_epochs: Annotated[int, Field(ge=0, le=10_000)] = 0
    reranked_photos: Count = 15  # test photos that search with a second look, with their captions

    # 05: OpenVINO.
    calibration_photos: Count = 32  # training photos that show the range of what flows through the graphs
    judged_photos: Count = 40  # validation photos for what takes long in each precision: captions, pretrained towers

    # 06: search.
    search_model: Literal["scratch", "pretrained", "fusion"] = "pretrained"
    compare_with_clip: bool = False

    @property
    def title(self) -> str:
        """The name of the run."""
        return self.run or self.name

    @property
    def trains_tail(self) -> bool:
        """Whether a model trains the grid backbone's last layers, for which notebook 02 keeps what its stem sees."""
        return self.finetune or self.pretrained_tail_epochs > 0

    @property
    def data(self) -> Path:
        """Folder of what is drawn, and of what is unpacked."""
        return project_root() / self.data_dir

    @property
    def sample(self) -> Path:
        """Folder of the drawn sample."""
        made = {name: getattr(self, name) for name in ("scenes", "pictures_per_class", "seed")}
        return of_drawing(self.data / "sample", made, {name: getattr(Profile, name) for name in made})

    @property
    def outputs(self) -> Path:
        """Folder of everything the run writes."""
        return project_root() / self.outputs_dir / self.title

    @property
    def descriptions(self) -> Path | None:
        """The file of own descriptions of classes."""
        return located(self.descriptions_file) if self.descriptions_file else None


# The real thing: 8,091 photos with five captions each, and Animals-10 for the class part.
_FLICKR8K = Profile(
    name="flickr8k",
    captions_handle="adityajn105/flickr8k/versions/1",
    split_handle="shtvkumar/karpathy-splits/versions/1",
    split_file="dataset_flickr8k.json",
    classes_handle="alessiocorrado99/animals10/versions/2",
    vector_backbone="vgg16",
    grid_backbone="resnet50",
    mirrored=True,
    caption_tokenizer="word",
    caption_batch=32,
    self_critical_epochs=6,
    lstm_dropout=0.5,
    lstm_epochs=12,
    lstm_learning_rate=1e-3,
    attention_hidden=512,
    attention_dropout=0.5,
    attention_epochs=9,
    attention_learning_rate=1.2e-3,
    transformer_epochs=14,
    consensus_photos=500,
    encoder_photo_size=96,
    encoder_epochs=30,
    encoder_batch=128,
    encoder_texts=5,
    encoder_muon=True,
    class_photo_size=96,
    class_epochs=60,
    sentence_encoders="use+layers:sentence-transformers/all-MiniLM-L6-v2+words",
    pretrained_epochs=20,
    pretrained_batch=512,
    reranked_photos=500,
    fusion_epochs=25,
    calibration_photos=160,
    judged_photos=200,
)

PROFILES: dict[str, Profile] = {
    # Embedded: drawn on the spot, nothing to download, the whole chain in minutes.
    "sample": Profile(name="sample"),
    "flickr8k": _FLICKR8K,
    # Its bigger sister: 31,783 photos.
    "flickr30k": replace(
        _FLICKR8K,
        name="flickr30k",
        captions_handle="adityajn105/flickr30k/versions/1",
        split_file="dataset_flickr30k.json",
        lstm_epochs=8,
        attention_epochs=7,
        transformer_epochs=10,
        self_critical_epochs=6,
        encoder_epochs=20,
        fusion_epochs=15,
    ),
    # 123,287 photos in two folders; what the two backbones see of them takes 34 GB of disk beside the photos' 20.
    "coco": replace(
        _FLICKR8K,
        name="coco",
        captions_handle="awsaf49/coco-2017-dataset/versions/2",
        mirrored=False,
        split_file="dataset_coco.json",
        lstm_epochs=6,
        attention_epochs=6,
        transformer_epochs=8,
        self_critical_epochs=3,
        encoder_epochs=10,
        sentence_encoders="use+sentence-transformers/all-MiniLM-L6-v2",  # words of all captions take 2.4 GB more
        fusion_epochs=8,
    ),
}

# The three together, at most 162,000 photos: what Flickr30k has of Flickr8k is used once. Scores come by origin, too.
_SETS = [PROFILES[name] for name in ("flickr8k", "flickr30k", "coco")]
PROFILES["together"] = replace(
    PROFILES["coco"],
    name="together",
    captions_handle="+".join(profile.captions_handle for profile in _SETS),
    split_file="+".join(profile.split_file for profile in _SETS),
)

TEXTS = {name for name, kind in get_type_hints(Profile).items() if kind in (str, str | None)}  # even if digits
SETTING_NAMES = tuple(field.name for field in fields(Profile) if field.name not in ("name", "run"))
OWN_DATA = ("captions_folder", "classes_folder")
PATHS = {*OWN_DATA, "descriptions_file", "own_photo", "photos"}  # parameters that name what the user has, anywhere
RUN = "run.json"
# A folder's name on any system: Windows has devices of its own, which no file can be called like, whatever its suffix.
RUN_NAME = re.compile(r"(?!(?i:con|prn|aux|nul|(?:com|lpt)[\d¹²³]) *(?:\.|$))(?:\w[\w. -]{0,62}\w|\w)")
Value = str | int | float | bool | None

_short = reprlib.Repr()  # of values in messages: their beginning and their end
_short.maxstring = _short.maxother = _short.maxlong = 60


@dataclass(frozen=True)
class Run:
    """What run.json remembers: the profile that a run began with, and what was set."""

    profile: str
    settings: dict[str, Value]

    def noted(self) -> dict[str, Any]:
        """As it is written: a run may be copied to another place."""
        here = {name: portable_paths(value) for name, value in self.settings.items() if name in PATHS and value}
        return {"profile": self.profile, "settings": self.settings | here}


def each_path(text: str, turn: Callable[[str], str]) -> str:
    """`turn` of a path, or of each of several that are joined by "+", where nothing is called like the whole."""
    parts = [text] if "+" not in text or there(located(text).exists) else text.split("+")
    return "+".join(turn(part.strip()) for part in parts)


def portable_paths(text: Any) -> str:
    """`portable` of a path, or of each of several."""
    return each_path(str(text), lambda part: portable(Path(part)))


def like_a_profile(name: str) -> str | None:
    """The profile whose name differs from `name` in its capitals alone: on Windows and macOS, both are one folder.

    >>> like_a_profile("COCO"), like_a_profile("coco")
    ('coco', None)
    """
    return name.casefold() if name not in PROFILES and name.casefold() in PROFILES else None


def find_run(name: Any, outputs_dir: Any = None) -> Run | None:
    """What the run called `name` remembers; None: there is no such run."""
    folder = outputs_dir if isinstance(outputs_dir, str) else Profile.outputs_dir
    if not (isinstance(name, str) and RUN_NAME.fullmatch(name)):
        return None
    path = project_root() / folder / name / RUN
    if not there(path.is_file):
        return None
    if like_a_profile(name) and name not in {folder.name for folder in path.parents[1].iterdir()}:  # as spelled there
        return None
    run = read_as(Run, path, "it")
    if run.profile not in PROFILES:
        raise InputError(f"{path} names the profile {run.profile!r}; correct it to one of: {', '.join(PROFILES)}.")
    here = {
        name: each_path(str(value), lambda part: str(located(part)))
        for name, value in run.settings.items()
        if name in PATHS and value
    }
    return Run(run.profile, run.settings | here)


def way_to_the_end(outputs: Path, profile: str | None = None) -> str:
    """What brings the run in `outputs`, and no other, to its end, for a sentence; `profile` was named with it."""
    usual = get_profile("sample").outputs.resolve()
    if outputs == usual:
        return "run `make run` first"
    name, run = outputs.name, find_run(outputs.name, str(outputs.parent))
    settings = {} if outputs.parent == usual.parent else {"outputs_dir": str(outputs.parent)}
    if name in PROFILES:
        words = ["--profile", name]
        settings |= run.settings if run else {}  # which a profile's own run does not go on with by itself
    elif run:
        words = ["--name", name]
    elif profile and RUN_NAME.fullmatch(name):
        words = ["--name", name, "--profile", get_profile(profile).name]
    else:
        return "name the outputs folder of a finished run with --outputs"
    words += [word for setting, value in settings.items() for word in ("--set", f"{setting}={value}")]
    return f"run `{pasted(['python', 'run_all.py', *words])}` first"


def of_drawing(place: Path, made: Mapping[str, int], usual: Mapping[str, int]) -> Path:
    """The folder of a drawing: `place`, or, where it is made otherwise than usual, one beside it that says how.

    So no run draws over the pictures of another one.

    >>> of_drawing(Path("sample"), {"scenes": 20, "seed": 1}, {"scenes": 1600, "seed": 1}).name
    'sample_scenes_20'
    """
    return place.with_name("_".join([place.name, *(f"{name}_{n}" for name, n in made.items() if n != usual[name])]))


def of_profile(given: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `given` that a profile knows; the others are parameters of notebooks alone."""
    return {setting: value for setting, value in given.items() if setting in ("backbone", *SETTING_NAMES)}


def with_changes(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Remembered settings and changes of them; None takes one away, and a backbone for all replaces those of each."""
    each = {"vector_backbone", "grid_backbone"} if "backbone" in changes else set()
    merged = {name: value for name, value in settings.items() if name not in each} | dict(changes)
    return {name: value for name, value in merged.items() if value is not None}


def chosen_profile(names: Mapping[str, Any]) -> Profile:
    """The profile that a notebook's parameters ask for: `chosen_profile(globals())`, right after their cell.

    Those that are settings and not None take their places in the profile named by `profile`.

    Raises:
        InputError: as for `get_profile`; or what the user has, and the notebook reads, is not there.
    """
    given = {name: names[name] for name in ("backbone", *SETTING_NAMES) if name in names}
    profile = get_profile(names["profile"], **given)
    check_paths({name: getattr(profile, name, names[name]) for name in PATHS & names.keys()})
    return profile


def check_paths(given: Mapping[str, Any]) -> None:
    """See that what the user has is there, before a stage misses it after an hour.

    Raises:
        InputError: it is not.
    """

    def check(path: str) -> str:
        if not there(located(path).exists):
            raise InputError(f"{located(path)} does not exist; correct the setting {name}.")
        return path

    for name in sorted(PATHS & given.keys()):
        if isinstance(given[name], str) and given[name]:
            each_path(given[name], check)


def get_profile(name: str, **changes: Any) -> Profile:
    """The profile called `name`, or that of the run of this name, with every change that is not None put in its place.

    `backbone` stands for `vector_backbone` and `grid_backbone` together.

    Raises:
        InputError: there is no such profile, run or setting, or a setting is of another type or out of its range.

    >>> get_profile("sample", seed=7, beam=None).seed
    7
    """
    changes = {setting: value for setting, value in changes.items() if value is not None}
    if not isinstance(name, str) or name not in PROFILES:
        run = find_run(name, changes.get("outputs_dir"))
        if run is None:
            names = ", ".join(PROFILES)
            raise InputError(f"There is no profile {name!r}; choose one of: {names}; and no run has this name.")
        return replace(get_profile(run.profile, **with_changes(of_profile(run.settings), changes)), run=name)
    backbone = changes.pop("backbone", None)
    if backbone is not None:
        changes = {"vector_backbone": backbone, "grid_backbone": backbone} | changes
    for setting in changes:
        if setting not in SETTING_NAMES:
            close = get_close_matches(setting, SETTING_NAMES, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise InputError(f"There is no setting {setting!r} (helpers/profiles.py lists them all).{hint}")
    try:
        profile = replace(PROFILES[name], **changes)
        if profile.finetune and any(map(on_hub, eyes(profile.grid_backbone))):
            raise InputError(
                f"finetune=True trains the last layers of {', '.join(NETWORKS)}, and not of "
                f"{profile.grid_backbone}; take one of these as grid_backbone, or finetune=False."
            )
        if profile.pretrained_tail_epochs and not vector_is_mean(profile.grid_backbone):
            raise InputError(
                f"pretrained_tail_epochs={profile.pretrained_tail_epochs} trains the last layers of "
                f"{', '.join(filter(vector_is_mean, NETWORKS))}, whose vector is the mean of their grid, and not of "
                f"{profile.grid_backbone}; take one of these as grid_backbone, or pretrained_tail_epochs=0."
            )
        return profile
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        setting, reason = problem["loc"][0], problem["msg"].replace("Input should", "it should").replace("String", "it")
        if backbone is not None and changes[setting] is backbone:
            setting = "backbone"
        raise InputError(
            f"The setting {setting} cannot be {_short.repr(problem['input'])}: {reason} (helpers/profiles.py)."
        ) from None
