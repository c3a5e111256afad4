"""Photos beyond one machine, from a shell.

python -m helpers.scale embed photos/ embedded/                 # in this process
python -m helpers.scale embed photos/ embedded/ --ray local     # on all cores; --ray host:6379: on a cluster
python -m helpers.scale index embedded/ index.db                # Milvus; a folder: FAISS
python -m helpers.scale search index.db "two dogs in the snow" --label dog
"""

import argparse
import sys
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from helpers.environment import cores, set_threads
from helpers.files import InputError, Options, exit_status
from helpers.graphs import PRECISIONS
from helpers.profiles import get_profile
from helpers.scale.packages import require_packages

if TYPE_CHECKING:
    from helpers.search.album_models import Encoder


def parser() -> argparse.ArgumentParser:
    """The options of the three commands."""
    top = argparse.ArgumentParser(
        prog="python -m helpers.scale", description="Embed, index and search more photos than fit one machine."
    )
    commands = top.add_subparsers(dest="command", required=True, parser_class=Options)
    embed = commands.add_parser("embed", help="make vectors of photos, shard by shard; killed, it goes on")
    embed.add_argument("source", type=Path, help="a folder of photos, of .tar (WebDataset) or of .parquet files")
    embed.add_argument("out", type=Path, help="where the Parquet shards go")
    embed.add_argument("--ray", metavar="WHERE", help='"local", "auto" or an address (default: this process alone)')
    embed.add_argument("--threads", type=int, metavar="N", help="of an embedder (default: all cores; on Ray 4 at most)")
    embed.add_argument("--captioner", default="none", help="lstm, attention, transformer or of the hub (default: none)")
    embed.add_argument("--numbers", default="float16", choices=("float16", "float32"), help="of a vector")
    embed.add_argument("--shard-size", type=int, default=1000, metavar="N", help="photos of a folder in a shard")
    embed.add_argument("--anew", action="store_true", help="make shards of another model or captioner again")
    index = commands.add_parser("index", help="index what was embedded")
    index.add_argument("out", type=Path, help="what `embed` wrote")
    index.add_argument("index", help="a folder (FAISS), a path ending in .db (Milvus Lite) or an address (Milvus)")
    index.add_argument("--kind", choices=("flat", "hnsw", "ivf_pq"), help="of a FAISS index (default: by size)")
    search = commands.add_parser("search", help="find photos by words")
    search.add_argument("index", help="what `index` made")
    search.add_argument("words", help="what should be on the photos")
    search.add_argument("--top", type=int, default=10, metavar="N", help="photos to print (default: 10)")
    search.add_argument("--split", help="only photos of this split")
    search.add_argument("--label", help="only photos of this class")
    search.add_argument("--word", help="only photos with this word in their caption")
    for command in (embed, index, search):
        command.add_argument("--profile", help="whose run to look with (default: sample)")
        command.add_argument("--run", type=Path, metavar="OUTPUTS", help="another outputs folder than the profile's")
        command.add_argument("--model", default="pretrained", help="scratch, pretrained, fusion or of the hub")
        command.add_argument("--precision", default="fp32", choices=PRECISIONS, help="of the graphs")
    return top


def main(argv: list[str] | None = None) -> int:
    """Do what the options ask; 2 if something that was given is wrong."""
    options = parser().parse_args(argv)
    set_threads(cores())
    return exit_status(lambda: _do(options), "goes on from here" if options.command == "embed" else "begins again")


def _do(options: argparse.Namespace) -> None:
    require_packages()
    {"embed": _embed, "index": _index, "search": _search}[options.command](options)


def _run(options: argparse.Namespace) -> Path:
    if options.run is not None and options.profile is not None:
        raise InputError("--run and --profile both say which run to look with; give one of them.")
    return (options.run or get_profile(options.profile or "sample").outputs).resolve()


def _embed(options: argparse.Namespace) -> None:
    from helpers.scale.embedder import Recipe  # these here, since they import what may not be installed
    from helpers.scale.embedding import embed

    for name in ("threads", "shard_size"):
        if (value := getattr(options, name)) is not None and value < 1:
            raise InputError(f"--{name.replace('_', '-')} is {value}, and has to be 1 or more.")
    recipe = Recipe(_run(options), options.model, options.captioner, options.precision, options.numbers)
    places, threads, size = (options.source, options.out), options.threads, options.shard_size
    print(embed(*places, recipe, ray=options.ray, threads=threads, shard_size=size, anew=options.anew))


def _encoder(options: argparse.Namespace) -> "Encoder":
    """The model that finds photos, of the run that the options name."""
    from helpers.search.album_models import NO_CAPTIONS, models_of
    from helpers.search.engine import PhotoSearch

    return models_of(PhotoSearch(_run(options)), options.model, NO_CAPTIONS, options.precision)[0]


def _index(options: argparse.Namespace) -> None:
    from helpers.scale.embedded import Embedded
    from helpers.scale.faiss_index import QUERIES, FaissIndex
    from helpers.scale.indexes import build_index, kind_at

    photos = Embedded(options.out)
    kind = kind_at(options.index, photos, options.kind)
    captions = photos.captions(QUERIES, seed=0) if kind in ("hnsw", "ivf_pq") else []
    queries = None
    if captions:  # who searches asks with words, so recall is measured with words, where there are any
        encoder = _encoder(options)
        if encoder.fingerprint != photos.fingerprint:
            made = f" (they were made with {photos.options})" if photos.options else ""
            raise InputError(
                f"The vectors in {options.out} are of another model ({photos.fingerprint}) than the one in use "
                f"({encoder.fingerprint}); name that one with --model and --precision, and its run with --profile or "
                f"--run{made}, or embed the photos again with --anew."
            )
        queries = encoder.reader(options.precision).embed_texts(captions)
    start = perf_counter()
    index = build_index(photos, options.index, kind, queries)
    print(f"{len(photos):,} photos indexed in {perf_counter() - start:.1f} s.")
    if isinstance(index, FaissIndex):
        asked = f"{len(captions)} captions" if captions else "photos"
        found = "not measured on so few" if index.recall is None else f"{index.recall:.3f}"
        print(f"Kind: {index.kind}; recall of the ten nearest to {asked}, against exact search: {found}.")
        return
    if (more := len(index) - len(photos)) > 0:
        print(f"{more:,} more photos are in {options.index}, from earlier times or other folders.")
    index.close()


def _search(options: argparse.Namespace) -> None:
    from helpers.scale.filters import Filter
    from helpers.scale.indexes import open_index
    from helpers.search.index import query_vector

    where = Filter(options.split, options.label, options.word)
    encoder = _encoder(options)
    index = open_index(options.index, encoder.fingerprint)
    query = query_vector(encoder.reader(options.precision), options.words)
    scores, ids = index.search(query, options.top, where)
    for score, id_, caption in zip(scores[0], ids[0], index.captions(ids[0]), strict=True):
        print(f"{score:.3f} {id_}" + (f"  {caption}" if caption else ""))
    if not ids[0]:
        print("No photo is left by the filter.")


if __name__ == "__main__":
    sys.exit(main())
