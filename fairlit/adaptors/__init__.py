"""Adaptors: the few parameters that are trained. LoRA and soft tokens, their EMA, and their files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fairlit.lazy import lazy_exports

if TYPE_CHECKING:
    from fairlit.adaptors.base import (
        Adaptor as Adaptor,
    )
    from fairlit.adaptors.base import (
        Components as Components,
    )
    from fairlit.adaptors.base import (
        PipelineComponents as PipelineComponents,
    )
    from fairlit.adaptors.ema import AdaptorEMA as AdaptorEMA
    from fairlit.adaptors.files import (
        LORA_FILE as LORA_FILE,
    )
    from fairlit.adaptors.files import (
        TOKENS_FILE as TOKENS_FILE,
    )
    from fairlit.adaptors.files import (
        AdaptorMetadata as AdaptorMetadata,
    )
    from fairlit.adaptors.files import (
        read_metadata as read_metadata,
    )
    from fairlit.adaptors.lora import Lora as Lora
    from fairlit.adaptors.pipelines import load_adaptor as load_adaptor
    from fairlit.adaptors.pipelines import save_adaptor as save_adaptor
    from fairlit.adaptors.soft_tokens import SoftTokens as SoftTokens
    from fairlit.adaptors.verify import fresh_pipeline as fresh_pipeline
    from fairlit.adaptors.verify import verify_saved as verify_saved

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "Adaptor": "fairlit.adaptors.base",
        "AdaptorEMA": "fairlit.adaptors.ema",
        "AdaptorMetadata": "fairlit.adaptors.files",
        "Components": "fairlit.adaptors.base",
        "LORA_FILE": "fairlit.adaptors.files",
        "Lora": "fairlit.adaptors.lora",
        "PipelineComponents": "fairlit.adaptors.base",
        "SoftTokens": "fairlit.adaptors.soft_tokens",
        "TOKENS_FILE": "fairlit.adaptors.files",
        "fresh_pipeline": "fairlit.adaptors.verify",
        "load_adaptor": "fairlit.adaptors.pipelines",
        "read_metadata": "fairlit.adaptors.files",
        "save_adaptor": "fairlit.adaptors.pipelines",
        "verify_saved": "fairlit.adaptors.verify",
    },
)
