"""Deploy (notebook 05): trained models as OpenVINO graphs in FP32, FP16 and INT8, measured beside PyTorch.

In: a trained model and samples to calibrate with. Out: `*.xml` and `*.bin` beside its weights, and the model on them.
To read: `export` (quantise, save, measure; converting and running are in `helpers/graphs.py`), `models`, `beam_loop` (a
whole beam search as one graph), `clip` (models that others trained), `plots`.
"""
