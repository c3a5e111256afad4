"""Training: what all trainings share, whatever they train.

In: parameters, settings, a folder. Out: an optimizer and its rate, dropout, and checkpoints to go on from after a kill.
To read: `optimizer`, `dropout`, `checkpoints`, `loop` (of towers and fusion: epochs, the best one kept), `processes`.
"""
