"""One run on one page: report.html, pictures first.

The page is a single file that opens without a network: pictures are embedded, as WebP, a tenth of the size of PNG;
the style is inline; there is no JavaScript. A picture's title is the `Title` in its PNG metadata
(`savefig(..., metadata={"Title": ...})`), else its file name made readable.
"""

import base64
import io
import platform
import subprocess
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from helpers.chain.freshness import STATE, Stage, load_records
from helpers.chain.runs import shown
from helpers.environment import cores, memory
from helpers.files import InputError, atomic_path, below, read_json, written_files
from helpers.profiles import PROFILES, RUN, Profile, find_run

REPORT = "report.html"
NOT_ENDED = "This run has not ended."  # what the page says until the last stage is done
PACKAGES = ("torch", "torchvision", "numpy", "transformers", "openvino", "nncf", "faiss-cpu", "scikit-learn")
PICTURE = (1400, 4000)  # pixels of a picture at most, wide and high
HERO = (1200, 900)  # the same at the top of the page: as large as it is shown there
WIDE = 1000  # pixels; a picture that is wider, such as photos with captions, has a row of the page for itself
# What shows best what a run can do; the first three that are there stand at the top.
HEROES = (
    "search/words.png",
    "captioners/attention/attention_best.png",
    "fusion/map.png",
    "captioners/transformer/side_by_side.png",
    "pretrained_encoder/hubs.png",
    "dual_encoder/map.png",
    "captioners/lstm/good_and_bad.png",
    "features/neighbours.png",
    "dataset/photos.png",
)


@dataclass
class StageResult:
    """How a stage fared, for the table at the end of a run and for the report."""

    name: str  # 03a_caption_lstm
    folder: str  # its folder in outputs/<profile>
    status: str  # ran, up to date, failed, not run, not chosen; before the end: running, waiting; after it: interrupted
    seconds: float | None = None
    memory: int | None = None  # peak resident bytes of the kernel and its children
    headline: dict[str, Any] = field(default_factory=dict)
    finished: str = ""
    problem: str = ""  # what the user was told about a failure


@dataclass
class Picture:
    path: Path
    anchor: str  # its place in the page
    title: str
    data: str  # data URI
    wide: bool


def duration(seconds: float) -> str:
    """1:23, or 1:02:03 from an hour on.

    >>> duration(83), duration(3723)
    ('1:23', '1:02:03')
    """
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def gigabytes(size: int) -> str:
    """
    >>> gigabytes(1_230_000_000)
    '1.23 GB'
    """
    return f"{size / 1e9:.2f} GB"


def number(value: Any) -> str:
    """A metric as people read it: four significant digits, thousands apart.

    A list is a score with its interval: value, low, high. None is what cannot be known, such as one photo's interval.

    >>> number(0.123456), number(8091), number(True), number("int8"), number(40455.5), number([59.6, 56.2, 63.0])
    ('0.1235', '8,091', 'yes', 'int8', '40,460', '59.6 [56.2, 63]')
    >>> number([59.6, None, None]), number(None)
    ('59.6 [unknown]', 'unknown')
    """
    if value is None:
        return "unknown"
    if isinstance(value, list):
        score, low, high = map(number, value)
        return f"{score} [unknown]" if None in value[1:] else f"{score} [{low}, {high}]"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{float(f'{value:.4g}'):,.10g}"
    return str(value)


def results_table(results: list[StageResult]) -> str:
    """The end of a run in plain text: one line a stage."""
    rows = [("stage", "status", "time", "memory", "results")]
    for result in results:
        spent = duration(result.seconds) if result.seconds is not None else ""
        headline = ", ".join(f"{name} {number(value)}" for name, value in result.headline.items())
        rows.append((result.name, result.status, spent, gigabytes(result.memory) if result.memory else "", headline))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, tuple("-" * width for width in widths))
    return "\n".join("  ".join(f"{c:{w}}" for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def runs_table(outputs_dir: Path, stages: Sequence[Stage]) -> str:
    """The runs in `outputs_dir`, a line each: name, profile, settings, how far, when, how large; empty without any."""
    rows = [("run", "profile", "done", "when", "size", "settings")]
    for path in sorted(outputs_dir.glob(f"*/{RUN}")):
        folder = path.parent
        run = find_run(folder.name, str(outputs_dir))
        if run is None:
            continue
        records = load_records(folder / STATE)
        done = sum(stage.short in records for stage in stages)
        when = max((record["finished"] for record in records.values()), default="")
        size = 0
        for file in below(folder):
            with suppress(OSError):  # a run that is at work has taken it away meanwhile
                size += file.stat().st_size
        settings = ", ".join(f"{setting}={shown(setting, value)}" for setting, value in run.settings.items())
        rows.append((folder.name, run.profile, f"{done} of {len(stages)} stages", when, gigabytes(size), settings))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines) if len(rows) > 1 else ""


def stage_notices(folder: Path) -> list[str]:
    """What the stage of this folder has to say to everybody: the `notices` of its metrics.json."""
    try:
        return list(map(str, read_json(folder / "metrics.json").get("notices", ())))
    except InputError:  # it has not run, or its file was torn
        return []


def title_of(name: str) -> str:
    """
    >>> title_of("03a_caption_lstm"), title_of("training_history")
    ('Caption LSTM', 'Training history')
    """
    words = [word for word in name.split("_") if word]
    if len(words) > 1 and words[0][:2].isdigit():
        words = words[1:]
    text = " ".join({"lstm": "LSTM", "openvino": "OpenVINO", "bleu": "BLEU"}.get(word, word) for word in words)
    return text[:1].upper() + text[1:]


@lru_cache(maxsize=1000)  # the report is written after each stage, and a stage adds some twenty pictures
def encode_picture(path: Path, written: int, largest: tuple[int, int]) -> tuple[str, str, bool]:
    """Title, data URI, and whether it is wide, of a PNG that was written then (st_mtime_ns)."""
    from PIL import Image

    with Image.open(path) as image:
        title = image.info.get("Title") or title_of(path.stem)
        pixels = image.convert("RGB")
    wide = pixels.width > WIDE
    pixels.thumbnail(largest, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    pixels.save(buffer, "WEBP", quality=85, method=2)  # a thirtieth larger than by default, in two thirds of the time
    return title, f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}", wide


def load_picture(path: Path, anchor: str, largest: tuple[int, int] = PICTURE) -> Picture:
    """A PNG as the page shows it: no larger than `largest`, and so compressed that text in it stays sharp."""
    title, data, wide = encode_picture(path, path.stat().st_mtime_ns, largest)
    return Picture(path, anchor, title, data, wide)


def load_pictures(paths: list[Path], prefix: str) -> list[Picture]:
    """`load_picture` of each of `paths`, on all cores, with the anchors `prefix`-0, `prefix`-1, ..."""
    with ThreadPoolExecutor(cores()) as pool:
        return list(pool.map(load_picture, paths, [f"{prefix}-{index}" for index in range(len(paths))]))


def best_pictures(pictures: Iterable[Picture], outputs: Path) -> list[Picture]:
    """For the top of the page: the first three of `HEROES` that the run has."""
    by_place = {picture.path.relative_to(outputs).as_posix(): picture for picture in pictures}
    return [by_place[place] for place in HEROES if place in by_place][:3]


def flatten(content: Any, prefix: str = "") -> dict[str, Any]:
    """Scalars of nested dicts, under names joined by dots; lists (histories, per-class rows) are left out.

    >>> flatten({"test": {"BLEU-4": 0.5, "rows": [1, 2]}, "beam": 5})
    {'test.BLEU-4': 0.5, 'beam': 5}
    """
    if isinstance(content, dict):
        parts = [flatten(part, f"{prefix}.{name}" if prefix else name) for name, part in content.items()]
        return {name: value for part in parts for name, value in part.items()}
    return {} if isinstance(content, list) or content is None else {prefix: content}


def stage_metrics(folder: Path) -> dict[str, Any]:
    """All scalars of the metrics.json files in and below the stage's folder."""
    metrics: dict[str, Any] = {}
    for path in sorted(written_files(folder, "metrics.json"), key=lambda path: (len(path.parts), path)):
        try:
            content = read_json(path)
        except InputError:  # torn by a crash: the report of a failed run is still worth having
            continue
        prefix = ".".join(path.parent.relative_to(folder).parts)
        metrics |= flatten({name: part for name, part in content.items() if name not in ("headline", "inputs")}, prefix)
    return metrics


def processor() -> str:
    """Name of the processor, cores and memory that this process may use."""
    name = platform.processor()
    if platform.system() == "Linux":
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    elif platform.system() == "Darwin":
        asked = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True)
        name = asked.stdout.strip() or name
    return f"{name or platform.machine()}, {cores()} cores, {memory().total / 1e9:.0f} GB memory"


def versions() -> dict[str, str]:
    found = {"Python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def report_is_final(outputs: Path) -> bool:
    """Whether the page there is the one that its run ended with: no stage is under way in it, none has succeeded since.

    It is another one after a full disk, or a kill, at the end of a run.
    """
    page, state = outputs / REPORT, outputs / STATE
    if not page.exists() or (state.exists() and page.stat().st_mtime_ns < state.stat().st_mtime_ns):
        return False
    return NOT_ENDED.encode() not in page.read_bytes()


def write_report(profile: Profile, stages: list[StageResult]) -> Path:
    """Write outputs/<profile>/report.html from what the stages left in their folders; returns its path.

    Of a stage that is running, it shows the pictures that it has made since it began, and nothing older.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from helpers.chain.pages import render_notebook

    outputs = profile.outputs
    chapters: list[dict[str, Any]] = []
    for stage in stages:
        folder = outputs / stage.folder
        short = stage.name.split("_")[0]
        files = written_files(folder, "*.png")
        files.sort(key=lambda path: path.stat().st_mtime_ns)  # in the order of the notebook
        running = stage.status == "running"
        if running:
            began = time.time() - (stage.seconds or 0)
            files = [path for path in files if path.stat().st_mtime >= began]
        copy = outputs / "notebooks" / f"{stage.name}.ipynb"
        page = render_notebook(copy) if copy.exists() and not running else None
        chapters.append(
            {
                "stage": stage,
                "short": short,
                "title": title_of(stage.name),
                "pictures": load_pictures(files, f"picture-{short}"),
                "metrics": {} if running else stage_metrics(folder),
                "notices": [] if running else stage_notices(folder),
                "notebook": copy if page else None,
                "page": page,
            }
        )
    best = best_pictures((picture for chapter in chapters for picture in chapter["pictures"]), outputs)
    usual = asdict(PROFILES[profile.name]) if profile.name in PROFILES else {}
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"duration": duration, "gigabytes": gigabytes, "number": number}
    html = environment.get_template("report.html.j2").render(
        profile=profile.name,
        run=profile.title,
        chapters=chapters,
        heroes=[load_picture(picture.path, picture.anchor, HERO) for picture in best],
        settings=[(name, value, usual.get(name) != value) for name, value in asdict(profile).items() if name != "name"],
        not_ended=NOT_ENDED,
        versions=versions(),
        processor=processor(),
        made=time.strftime("%d %B %Y, %H:%M"),
        under_way=[chapter for chapter in chapters if chapter["stage"].status == "running"],
        waiting=[chapter for chapter in chapters if chapter["stage"].status == "waiting"],
        seconds=sum(stage.seconds or 0 for stage in stages),
        memory=max((stage.memory or 0 for stage in stages), default=0),
    )
    report = outputs / REPORT
    with atomic_path(report) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return report
