"""Adaptors: the few parameters that are trained. LoRA and soft tokens, their EMA, and their files."""

from fairlit.adaptors.base import Adaptor, Components, PipelineComponents
from fairlit.adaptors.ema import AdaptorEMA
from fairlit.adaptors.files import LORA_FILE, TOKENS_FILE, AdaptorMetadata, read_metadata
from fairlit.adaptors.lora import Lora
from fairlit.adaptors.pipelines import load_adaptor, save_adaptor
from fairlit.adaptors.soft_tokens import SoftTokens
from fairlit.adaptors.verify import fresh_pipeline, verify_saved

__all__ = [
    "LORA_FILE",
    "TOKENS_FILE",
    "Adaptor",
    "AdaptorEMA",
    "AdaptorMetadata",
    "Components",
    "Lora",
    "PipelineComponents",
    "SoftTokens",
    "fresh_pipeline",
    "load_adaptor",
    "read_metadata",
    "save_adaptor",
    "verify_saved",
]
