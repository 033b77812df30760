"""What generated images are measured by: torchmetrics Metrics over the functions of `fairlit.functional`."""

from fairlit.io.jsonable import to_jsonable
from fairlit.metrics.attribute_distribution import AttributeDistribution
from fairlit.metrics.semantics import SemanticSimilarity

__all__ = ["AttributeDistribution", "SemanticSimilarity", "to_jsonable"]
