#!/usr/bin/env bash
# diffusers 0.42.1: one call of StableDiffusionXLImg2ImgPipeline or StableDiffusionXLInpaintPipeline turns a float32
# autoencoder (`force_upcast`) beside a float16 U-Net into float16, for good.
#
# People keep SDXL's autoencoder in float32 because it overflows in float16, and share it between pipelines. One expects a
# call to leave the parts as they were. Afterwards every pipeline that shares the autoencoder has it in float16, and its
# weights are rounded: `vae.float()` does not bring them back.
#
# Seen 2026-11-29, Python 3.11.7, output:
#   StableDiffusionXLImg2ImgPipeline: before torch.float32, after torch.float16, weights as before: False
#   StableDiffusionXLInpaintPipeline: before torch.float32, after torch.float16, weights as before: False
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'diffusers==0.42.1' 'torch==2.15.0' 'transformers==5.23.0'
cd "$folder"
cat > run.py <<'PY'
import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    UNet2DConditionModel,
)

torch.manual_seed(0)
unet = UNet2DConditionModel(
    sample_size=8,
    block_out_channels=(8, 16),
    norm_num_groups=4,
    layers_per_block=1,
    down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
    up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    cross_attention_dim=16,
    attention_head_dim=2,
    addition_embed_type="text_time",
    addition_time_embed_dim=8,
    projection_class_embeddings_input_dim=6 * 8 + 16,
).half()
texts = dict.fromkeys(("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"))
prompt = {
    f"{sign}{name}": torch.zeros(1, *shape).half()
    for sign in ("", "negative_")
    for name, shape in (("prompt_embeds", (4, 16)), ("pooled_prompt_embeds", (16,)))
}
picture = {"image": torch.rand(1, 3, 8, 8), "strength": 0.9, "num_inference_steps": 4, "output_type": "pt"}
mask = {"mask_image": torch.ones(1, 1, 8, 8), "height": 8, "width": 8}
for kind, more in ((StableDiffusionXLImg2ImgPipeline, {}), (StableDiffusionXLInpaintPipeline, mask)):
    vae = AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, force_upcast=True)
    before, weights = vae.dtype, {name: tensor.clone() for name, tensor in vae.state_dict().items()}
    pipeline = kind(vae=vae, unet=unet, scheduler=EulerDiscreteScheduler(), add_watermarker=False, **texts)
    pipeline.set_progress_bar_config(disable=True)
    pipeline(**prompt, **picture, **more)
    after = vae.dtype
    same = all(torch.equal(tensor.float(), weights[name]) for name, tensor in vae.state_dict().items())
    print(f"{kind.__name__}: before {before}, after {after}, weights as before: {same}")
PY
found=$("$folder/venv/bin/python" run.py 2>/dev/null)
printf '%s\n' "$found"
expected='StableDiffusionXLImg2ImgPipeline: before torch.float32, after torch.float16, weights as before: False
StableDiffusionXLInpaintPipeline: before torch.float32, after torch.float16, weights as before: False'
[ "$found" = "$expected" ] || { echo "this has changed" >&2; exit 1; }
