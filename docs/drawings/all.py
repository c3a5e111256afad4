"""Which drawings there are, and where they go."""

from collections.abc import Callable
from pathlib import Path

from docs.drawings.captioners import attention_step, beam_search, encoder_decoder, transformer_block
from docs.drawings.course import course
from docs.drawings.encoders import fusion, two_towers
from docs.drawings.sheet import Sheet
from docs.drawings.speed import ivf_and_hnsw, quantisation

FOLDER = Path(__file__).parents[2] / "notebooks" / "images"
DRAWINGS: dict[str, Callable[[], Sheet]] = {
    draw.__name__: draw
    for draw in (course, encoder_decoder, beam_search, attention_step, transformer_block, two_towers, fusion,
                 quantisation, ivf_and_hnsw)
}  # fmt: skip
