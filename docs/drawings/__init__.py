"""The drawings of the course: `python -m docs.drawings` makes notebooks/images/*.svg anew.

Read `sheet` first, what all of them are drawn with; then `captioners`, `encoders`, `speed` and `course`, the drawings
themselves. Numbers in a drawing are computed where it is drawn, by the formulas that it explains.
"""
