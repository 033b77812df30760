"""fairlit: finetune text-to-image diffusion models so that the people they draw follow a target distribution."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fairlit.lazy import lazy_exports

if TYPE_CHECKING:
    from fairlit import functional as functional
    from fairlit.adaptors.pipelines import load_adaptor as load_adaptor
    from fairlit.adaptors.pipelines import save_adaptor as save_adaptor
    from fairlit.functional.alignment.target_distribution import TargetDistribution as TargetDistribution
    from fairlit.version import __version__ as __version__

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "TargetDistribution": "fairlit.functional.alignment.target_distribution",
        "__version__": "fairlit.version",
        "functional": "fairlit.functional",
        "load_adaptor": "fairlit.adaptors.pipelines",
        "save_adaptor": "fairlit.adaptors.pipelines",
    },
)
