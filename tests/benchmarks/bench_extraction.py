"""Photos a second through a frozen backbone: the plain loop against compiled graphs."""

from pathlib import Path

from sizes import QUICK

from helpers.speed.benchmarks import in_fresh_process
from helpers.speed.extraction import extraction_speeds


def bench_extraction_vgg16(once, reach, photos: list[Path]) -> None:
    """With random weights of a seed, so that nothing is downloaded: times are the same as with the published ones."""
    paths, plain = (photos[:24], 8) if QUICK else (photos[:256], 48)
    table = once(in_fresh_process, extraction_speeds, "vgg16", paths, plain, 4, 8 if QUICK else 32, 0)
    for kind, times, cosine in (("bf16", 5, 0.999), ("int8", 10, 0.99)):
        if kind in table:
            reach(f"VGG16 {kind}: times the plain loop", table[kind]["ratio"], at_least=times)
            reach(f"VGG16 {kind}: cosine, random weights", table[kind]["cosine"], at_least=cosine)


def bench_extraction_efficientnet_lite0(once, photos: list[Path]) -> None:
    """With its published weights."""
    paths, plain = (photos[:24], 8) if QUICK else (photos[:512], 64)
    once(in_fresh_process, extraction_speeds, "efficientnet_lite0", paths, plain, 4, 8 if QUICK else 32)
