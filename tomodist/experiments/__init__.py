"""The experiments of the paper: forms of an algorithm side by side, on many simulated specimens.

One rule: an experiment is a function of a case, which is a condition and a seed. Cases are
independent, the seeds are the same for every variant, and what is reported is rows
(algorithm, variant, condition, seed, measure, value), from which every table can be made again.

To add one: a module with the function of a case and a function that gives the `Experiment`, and a
file of the same name in ``tomodist/cli/experiments``.
"""

from tomodist.experiments.cases import Case, Row, run_cases
from tomodist.experiments.report import Experiment, Report, run_experiment

__all__ = ["Case", "Experiment", "Report", "Row", "run_cases", "run_experiment"]
