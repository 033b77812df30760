"""Results as typed, versioned records that need neither torch nor a model to be read.

`AuditResults.read("audits/mine")`, `ComparisonResults.read(...)` and `RunSummary.read(...)` read what audits,
comparisons and tests write, those of earlier versions included; `to_frame()` gives their figures as a table of pandas.
"""

from fairlit.results.audit import AuditResults, ReferenceImages, Verdict
from fairlit.results.comparison import (
    BlockDifference,
    ComparisonResults,
    Difference,
    EditCounts,
    MethodResults,
    Standing,
)
from fairlit.results.distances import PromptDistance, SecondClassifierFigures
from fairlit.results.figures import (
    AttributeFigures,
    CompositionFigures,
    CorrectedFigures,
    DistributionFigures,
    GroupFigures,
    PromptAttributeFigures,
    PromptFigures,
    Similarities,
    SimilarityFigures,
)
from fairlit.results.judging import EncodersRecord, FolderRecord, JudgeRecord, NotCounted, Origin
from fairlit.results.record import Estimate
from fairlit.results.run import RunSummary, ValidationResults, VariantFigures

__all__ = [
    "AttributeFigures",
    "AuditResults",
    "BlockDifference",
    "ComparisonResults",
    "CompositionFigures",
    "CorrectedFigures",
    "Difference",
    "DistributionFigures",
    "EditCounts",
    "EncodersRecord",
    "Estimate",
    "FolderRecord",
    "GroupFigures",
    "JudgeRecord",
    "MethodResults",
    "NotCounted",
    "Origin",
    "PromptAttributeFigures",
    "PromptDistance",
    "PromptFigures",
    "ReferenceImages",
    "RunSummary",
    "SecondClassifierFigures",
    "Similarities",
    "SimilarityFigures",
    "Standing",
    "ValidationResults",
    "VariantFigures",
    "Verdict",
]
