"""What a GPU brings, in about five minutes: `make gpu`, on a machine that has one.

The tests of this folder first. Then captioners of Flickr8k's size learn from made-up features, on the processor and on
the GPU of this machine; the words a second are those of `train_captioner`'s own step, batches included. Then the
lessons on the sample run up to the last training.
"""

import subprocess
import sys
from functools import partial

import numpy as np
import torch

from helpers.captioning.captioner import LOOKS_AT, MODELS, new_captioner
from helpers.captioning.training import CaptionData, CaptionTraining
from helpers.data.text import build_tokenizer
from helpers.devices import choose_device, in_words
from helpers.environment import project_root
from helpers.graphs import processor
from helpers.profiles import PROFILES
from helpers.speed.captioning import words_per_second

PHOTOS, CAPTIONS, LENGTH, WORDS = 1000, 5, 14, 2500
PROFILE = PROFILES["flickr8k"]
SIZES = {
    "lstm": {"hidden": PROFILE.lstm_hidden},
    "attention": {"hidden": PROFILE.attention_hidden},
    "transformer": {"width": PROFILE.transformer_width, "decoder_layers": PROFILE.transformer_layers},
}


def made_up(kind: str) -> CaptionData:
    """Captions of random words for photos that look like nothing."""
    rng = np.random.default_rng(0)
    shape = (PHOTOS, 4096) if LOOKS_AT[kind] == "vectors" else (PHOTOS, 49, 2048)
    views = rng.standard_normal(shape, np.float32).astype(np.float16)
    tokens = rng.integers(4, WORDS, (PHOTOS, CAPTIONS, LENGTH))
    return CaptionData([str(row) for row in range(PHOTOS)], [views], np.arange(PHOTOS), tokens, [])


def speed(kind: str, device: str, steps: int) -> float:
    """Words a second that a captioner of this kind learns from."""
    choose_device(device)
    data, names = made_up(kind), " ".join(f"w{number}" for number in range(WORDS))
    tokenizer = build_tokenizer("word", [names])
    width = data.views[0].shape[-1]
    build = partial(new_captioner, kind, tokenizer, width, "none", PROFILE.caption_max_length, **SIZES[kind])
    settings = CaptionTraining(epochs=1, batch=PROFILE.caption_batch)
    return words_per_second(lambda: build().model, data, settings, LENGTH, steps)["whole_captions"]


def main() -> int:
    """Returns the exit status: 0, also where there is no GPU to measure."""
    if not torch.cuda.is_available():
        print('PyTorch sees no NVIDIA GPU here, so nothing is measured (README, "And a GPU?").')
        return 0
    tested = subprocess.run([sys.executable, "-m", "pytest", "tests/gpu"], cwd=project_root(), check=False)
    print(f"\nwords a second: {processor()}, {torch.get_num_threads()} threads; ", end="")
    print(f"{in_words(choose_device('cuda'))}; PyTorch {torch.__version__}")
    for kind in MODELS:
        figures = [speed(kind, device, steps) for device, steps in (("cpu", 8), ("cuda", 50))]
        print(f"{kind:>12}: {figures[0]:8,.0f} and {figures[1]:8,.0f}, {figures[1] / figures[0]:.1f} times", flush=True)
    chain = [sys.executable, "run_all.py", "--name", "gpu", "--to", "04c", "--set", "device=cuda", "--force"]
    ran = subprocess.run(chain, cwd=project_root(), check=False)
    return tested.returncode or ran.returncode


if __name__ == "__main__":
    sys.exit(main())
