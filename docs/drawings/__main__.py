"""Makes all drawings anew."""

from docs.drawings.all import DRAWINGS, FOLDER

for name, draw in DRAWINGS.items():
    (FOLDER / f"{name}.svg").write_text(draw().svg(), encoding="utf-8")
