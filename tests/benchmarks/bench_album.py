"""Photos a second into an album, beside the plain loop; how long an update of an unchanged album takes; memory."""

from pathlib import Path

from sizes import QUICK

from helpers.speed.album import album_speeds


def bench_album(once, reach, outputs: Path, photos: list[Path]) -> None:
    """Over the drawn photos, or up to 5,000 of those that BENCH_PHOTOS names."""
    table = once(album_speeds, outputs, photos[:64] if QUICK else photos[:5000], 16 if QUICK else 150)
    for kind, times in (("index_fp32", 5), ("index_int8", 7), ("captions_fp32", 5)):
        reach(f"album, {kind}: times the plain loop", table[kind]["ratio"], at_least=times)
    lost = table["index_fp32"]["recall_at_10"] - table["index_int8"]["recall_at_10"]
    reach("album, INT8: points of recall@10 lost", lost, at_most=1)
    reach("album, unchanged: seconds, models and all", table["unchanged"]["seconds"], at_most=3)
    reach(
        "album: peak memory, MB", max(table[kind]["peak_megabytes"] for kind in table if kind[0] != "p"), at_most=1500
    )
