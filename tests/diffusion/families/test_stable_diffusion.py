from __future__ import annotations

import torch
from diffusers import StableDiffusionPipeline

from fairlit.diffusion.families.stable_diffusion import StableDiffusion

FAMILY = StableDiffusion()


def test_texts_are_cut_padded_and_read_as_the_stock_pipeline_does(tiny_pipeline: StableDiffusionPipeline) -> None:
    texts = ["a nurse", "a doctor " * 60]
    ids = FAMILY.tokenize(tiny_pipeline, texts, "max_length")
    limit = tiny_pipeline.tokenizer.model_max_length
    assert {name: tuple(found.shape) for name, found in ids.items()} == {"text_encoder": (2, limit)}
    expected, _ = tiny_pipeline.encode_prompt(texts, "cpu", 1, False)
    torch.testing.assert_close(FAMILY.embed(tiny_pipeline, texts, ids), {"prompt_embeds": expected})
    short = FAMILY.tokenize(tiny_pipeline, texts[:1], "longest")["text_encoder"]
    assert short.tolist() == [tiny_pipeline.tokenizer(texts[0]).input_ids]


def test_the_autoencoder_computes_in_its_own_precision(tiny_pipeline: StableDiffusionPipeline) -> None:
    latents = torch.randn(1, 4, 16, 16, dtype=torch.float64)
    images = FAMILY.decode(tiny_pipeline, latents)
    assert images.dtype == torch.float64
    assert images.shape[-1] == 16 * FAMILY.vae_scale(tiny_pipeline)
    scaled = latents.float() / tiny_pipeline.vae.config.scaling_factor
    torch.testing.assert_close(images.float(), tiny_pipeline.vae.decode(scaled).sample / 2 + 0.5)
