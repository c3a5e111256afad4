"""Training: from the loop of many scripts to the one of this course, one cure after the other."""

from pathlib import Path

import pytest
from sizes import QUICK

from helpers.speed.benchmarks import in_fresh_process
from helpers.speed.captioning import trained_words_ladder
from helpers.speed.encoders import trained_photos_ladder

STEPS = 2 if QUICK else 12


@pytest.mark.parametrize("kind", ["lstm", "attention", "transformer"])
def bench_training_captioner(once, reach, outputs: Path, kind: str) -> None:
    ladder = once(in_fresh_process, trained_words_ladder, outputs, kind, STEPS)
    first, *_, last = ladder.values()
    if kind == "lstm":
        reach("training, LSTM captioner: words a second, times the slow loop", last / first, at_least=50)


@pytest.mark.parametrize("words", [False, True], ids=["photo_tower", "both_towers"])
def bench_training_encoder(once, reach, outputs: Path, words: bool) -> None:
    ladder = once(in_fresh_process, trained_photos_ladder, outputs, STEPS, words)
    first, *_, last = ladder.values()
    if not words:
        reach("training, photo tower: photos a second, times the slow loop", last / first, at_least=4)
