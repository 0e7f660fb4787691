"""Ablations: forms of the algorithms beside each other, of which the package holds the best.

    python -m tests.ablations segmentation --seeds 10 -o segmentation/

They run as experiments of `tomodist.experiments` do. To add one: a module with the function of a
case and a function that gives the `Experiment`, and a command in ``commands.py``.
"""
