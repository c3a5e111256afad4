"""Shared code of the notebooks, in wings that follow them.

Each wing's `__init__.py` says what is in it and in which order to read it.

On the ground floor, for all: `profiles` (every setting: start here), `environment`, `downloads`, `files`, `graphs`,
`plots`, `uncertainty` (how sure a figure is, and sentences that follow from figures).
"""

import sys

# OpenVINO and NNCF report their use to their makers unless a file in the home folder forbids it. A lesson should
# not do that unasked: with their reporting package out of sight, both do without it.
sys.modules.setdefault("openvino_telemetry", None)
