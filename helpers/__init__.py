"""Shared code of the notebooks: one flat module per concept. Start with `profiles.py`."""

import sys

# OpenVINO and NNCF report their use to their makers unless a file in the home folder forbids it. A lesson should
# not do that unasked: with their reporting package out of sight, both do without it.
sys.modules.setdefault("openvino_telemetry", None)
