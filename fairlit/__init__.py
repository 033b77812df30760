"""fairlit: finetune text-to-image diffusion models so that the people they draw follow a target distribution."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fairlit.lazy import lazy_exports

if TYPE_CHECKING:
    from fairlit import functional as functional
    from fairlit import results as results
    from fairlit.adaptors.export_config import ExportConfig as ExportConfig
    from fairlit.adaptors.exporting import export as export
    from fairlit.adaptors.pipelines import load_adaptor as load_adaptor
    from fairlit.adaptors.pipelines import save_adaptor as save_adaptor
    from fairlit.auditing.audit import audit as audit
    from fairlit.auditing.config import AuditConfig as AuditConfig
    from fairlit.comparison.compare import compare as compare
    from fairlit.comparison.config import CompareConfig as CompareConfig
    from fairlit.editing.config import EditConfig as EditConfig
    from fairlit.editing.edit import edit as edit
    from fairlit.faces.detection import FaceDetection as FaceDetection
    from fairlit.functional.alignment.target_distribution import TargetDistribution as TargetDistribution
    from fairlit.generation.config import GenerateConfig as GenerateConfig
    from fairlit.generation.generate import generate as generate
    from fairlit.version import __version__ as __version__

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "AuditConfig": "fairlit.auditing.config",
        "CompareConfig": "fairlit.comparison.config",
        "FaceDetection": "fairlit.faces.detection",
        "EditConfig": "fairlit.editing.config",
        "ExportConfig": "fairlit.adaptors.export_config",
        "GenerateConfig": "fairlit.generation.config",
        "TargetDistribution": "fairlit.functional.alignment.target_distribution",
        "__version__": "fairlit.version",
        "audit": "fairlit.auditing.audit",
        "compare": "fairlit.comparison.compare",
        "edit": "fairlit.editing.edit",
        "export": "fairlit.adaptors.exporting",
        "functional": "fairlit.functional",
        "generate": "fairlit.generation.generate",
        "results": "fairlit.results",
        "load_adaptor": "fairlit.adaptors.pipelines",
        "save_adaptor": "fairlit.adaptors.pipelines",
    },
)
