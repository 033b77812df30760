"""What generated images are measured by: torchmetrics Metrics over the functions of `fairlit.functional`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fairlit.lazy import lazy_exports

if TYPE_CHECKING:
    from fairlit.io.jsonable import to_jsonable as to_jsonable
    from fairlit.metrics.attribute_distribution import AttributeDistribution as AttributeDistribution
    from fairlit.metrics.semantics import SemanticSimilarity as SemanticSimilarity

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "AttributeDistribution": "fairlit.metrics.attribute_distribution",
        "SemanticSimilarity": "fairlit.metrics.semantics",
        "to_jsonable": "fairlit.io.jsonable",
    },
)
