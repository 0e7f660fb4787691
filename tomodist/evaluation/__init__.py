"""Results beside the truth.

One rule: a comparison is refused before anything is read in bulk, or it gives all its measures.
"""

from tomodist.evaluation.pairs import Comparison, Kind, Pair, Rules, prepare
from tomodist.evaluation.run import (
    Evaluation,
    Result,
    compare_all,
    evaluate,
    needs_session,
    plans,
)

__all__ = [
    "Comparison",
    "Evaluation",
    "Kind",
    "Pair",
    "Result",
    "Rules",
    "compare_all",
    "evaluate",
    "needs_session",
    "plans",
    "prepare",
]
