"""LoRA files of every layout: the same update as the trained model's, or a reason why not."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file, save_file
from torch import Tensor

from fairlit.adaptors import load_adaptor, save_adaptor
from fairlit.adaptors.contents import read_adaptor
from fairlit.adaptors.files import LORA_CONFIG_KEY
from fairlit.adaptors.formats import diffusers, peft
from fairlit.adaptors.formats.low_rank import LowRank, LowRankUpdates, Origin, canonical_name
from fairlit.adaptors.formats.reading import read_lora
from fairlit.adaptors.pipelines import adaptable_layers
from fairlit.errors import CheckpointError

Open = Callable[[], StableDiffusionPipeline]
Q = "text_encoder.text_model.encoder.layers.0.self_attn.q_proj"
FC1 = "text_encoder.text_model.encoder.layers.1.mlp.fc1"
TO_K = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
TO_OUT = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0"
UNET_Q = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def factors(rank: int = 3, width: int = 32, out: int = 32) -> tuple[Tensor, Tensor]:
    return torch.randn(rank, width), torch.randn(out, rank)


def trained_deltas(pipeline: StableDiffusionPipeline, adapter: str = "default") -> dict[str, Tensor]:
    """What peft adds to the weights of the trained model."""
    return {
        canonical_name(f"{component}.{name.removeprefix('base_model.model.')}"): layer.get_delta_weight(
            adapter
        ).detach()
        for component in ("text_encoder", "unet")
        for name, layer in getattr(pipeline, component).named_modules()
        if isinstance(layer, LoraLayer)
    }


def assert_same(updates: LowRankUpdates, deltas: dict[str, Tensor]) -> None:
    assert updates.keys() == deltas.keys()
    for layer, update in updates.items():
        assert torch.allclose(update.delta(), deltas[layer], atol=1e-5), layer


def stabilised(**settings: Any) -> LoraConfig:
    return LoraConfig(r=4, lora_alpha=6, use_rslora=True, init_lora_weights=False, **settings)


def test_rank_stabilised_loras_keep_their_strength_through_save_and_load(open_pipeline: Open, tmp_path: Path) -> None:
    pipeline = open_pipeline()
    pipeline.unet.add_adapter(
        stabilised(target_modules=["to_k", "to_q"], rank_pattern={"to_q": 2}, alpha_pattern={"attn2.to_k": 9})
    )
    pipeline.text_encoder.add_adapter(stabilised(target_modules=["fc1", "v_proj"]))
    deltas = trained_deltas(pipeline)
    layer = pipeline.unet.get_submodule(TO_K.removeprefix("unet."))
    assert layer.scaling == {"default": 9 / math.sqrt(4)}
    pipeline.set_adapters(["default"], 0.3)  # is not saved
    save_adaptor(pipeline, tmp_path)
    assert_same(read_adaptor(tmp_path).updates, deltas)
    stock = open_pipeline()
    stock.load_lora_weights(tmp_path)  # knows the header that was written
    loaded = load_adaptor(open_pipeline(), tmp_path)
    for other in (stock, loaded):
        found = trained_deltas(other, "default_0")
        assert found.keys() == deltas.keys()
        assert all(torch.allclose(found[name], deltas[name], atol=1e-5) for name in deltas)


@pytest.mark.parametrize("names", ["transformers 4", "transformers 5"])
def test_folders_of_peft_with_the_names_of_either_transformers(names: str, open_pipeline: Open, tmp_path: Path) -> None:
    pipeline = open_pipeline()
    level = "" if names == "transformers 5" else "text_model."
    config = stabilised(target_modules=["q_proj", "fc1"], alpha_pattern={"encoder.layers.1.mlp.fc1": 2})
    model = get_peft_model(pipeline.text_encoder, config)
    model.save_pretrained(tmp_path / "text_encoder")
    pipeline.text_encoder = model.base_model.model
    file = tmp_path / "text_encoder" / peft.WEIGHTS_FILE
    tensors = load_file(file)
    save_file({name.replace("encoder.layers", f"{level}encoder.layers"): t for name, t in tensors.items()}, file)
    settings = json.loads(file.with_name(peft.CONFIG_FILE).read_text())
    settings["alpha_pattern"] = {f"{level}encoder.layers.1.mlp.fc1": 2}
    file.with_name(peft.CONFIG_FILE).write_text(json.dumps(settings))
    deltas = trained_deltas(pipeline)
    assert_same(read_adaptor(tmp_path).updates, deltas)
    assert_same(read_adaptor(file).updates, deltas)
    settings["peft_type"] = "LOHA"
    file.with_name(peft.CONFIG_FILE).write_text(json.dumps(settings))
    with pytest.raises(CheckpointError, match="peft_type: got 'LOHA'; expected 'LORA'"):
        read_adaptor(tmp_path)
    file.with_name(peft.CONFIG_FILE).write_text("[")
    with pytest.raises(CheckpointError, match="header is damaged"):
        read_adaptor(tmp_path)


def test_folders_of_peft_are_written_with_both_names() -> None:
    update = LowRank(*factors(), 3.0, Origin("", "", ""))
    tensors, config = peft.write_lora({Q: update}, "")["text_encoder"]
    plain = Q.removeprefix("text_encoder.text_model.")
    assert set(tensors) == {
        f"base_model.model.{level}{plain}.lora_{factor}.weight" for level in ("", "text_model.") for factor in "AB"
    }
    assert read_lora("", tensors, config, component="text_encoder")[Q].equals(update)


@pytest.mark.parametrize("start", ["pissa", "pissa_niter_2", "olora"])
def test_starts_that_change_the_base_weights_are_refused(start: str, open_pipeline: Open, tmp_path: Path) -> None:
    pipeline = open_pipeline()
    base = pipeline.text_encoder.encoder.layers[0].mlp.fc1.weight.clone()
    config = LoraConfig(r=2, target_modules=["fc1"], init_lora_weights=start)
    model = get_peft_model(pipeline.text_encoder, config)
    assert not torch.equal(pipeline.text_encoder.encoder.layers[0].mlp.fc1.weight, base)  # why
    model.save_pretrained(tmp_path / "text_encoder")
    with pytest.raises(CheckpointError, match=f"init_lora_weights: got '{start}', which changes the base weights"):
        read_adaptor(tmp_path)
    pipeline.text_encoder = model.base_model.model
    with pytest.raises(CheckpointError, match=f"init_lora_weights: got '{start}'"):
        save_adaptor(pipeline, tmp_path)
    header = {"text_encoder.init_lora_weights": start}
    down, up = factors()
    with pytest.raises(CheckpointError, match=f"init_lora_weights: got '{start}'"):
        read_lora("f", {f"{Q}.lora_A.weight": down, f"{Q}.lora_B.weight": up}, header)


LAYOUTS = {  # name of the down factor -> layer
    f"{TO_K}.lora.down.weight": TO_K,
    f"{TO_K}.lora_linear_layer.down.weight": TO_K,
    "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.processor.to_k_lora.down.weight": TO_K,
    "mid_block.attentions.0.transformer_blocks.0.attn1.processor.to_out_lora.down.weight": TO_OUT,
    "mid_block.attentions.0.transformer_blocks.0.attn1.processor.to_out.0.lora.down.weight": TO_OUT,
    f"{UNET_Q.removeprefix('unet.')}.lora_A.weight": UNET_Q,
    f"unet.base_model.model.{UNET_Q.removeprefix('unet.')}.lora_A.weight": UNET_Q,
    f"{UNET_Q}.lora_A.default.weight": UNET_Q,
    f"{UNET_Q}.lora_down.weight": UNET_Q,
    "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_out_0.lora_down.weight": TO_OUT,
    "text_encoder.text_model.encoder.layers.0.self_attn.to_q_lora.down.weight": Q,
    "text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_linear_layer.down.weight": Q,
    "text_encoder.encoder.layers.0.self_attn.q_proj.lora_A.weight": Q,
    "text_model.encoder.layers.0.self_attn.q_proj.lora_A.weight": Q,
    "lora_te_text_model_encoder_layers_1_mlp_fc1.lora_down.weight": FC1,
    "lora_te1_text_model_encoder_layers_1_mlp_fc1.lora_down.weight": FC1,
}


def up_name(down: str) -> str:
    return down.replace("lora_A", "lora_B").replace("lora_down", "lora_up").replace(".down.weight", ".up.weight")


@pytest.mark.parametrize("name", list(LAYOUTS))
def test_layouts_of_all_programs_and_years(name: str, tiny_pipeline: StableDiffusionPipeline, tmp_path: Path) -> None:
    layer = LAYOUTS[name]
    module: Any = adaptable_layers(tiny_pipeline)[layer]
    down, up = factors(2, module.in_features, module.out_features)
    save_file({name: down, up_name(name): up}, tmp_path / "some.safetensors")
    load_adaptor(tiny_pipeline, tmp_path / "some.safetensors")
    (found,) = trained_deltas(tiny_pipeline, "default_0").items()
    assert found[0] == layer
    assert torch.allclose(found[1], up @ down, atol=1e-5)


def test_kohya_alphas_and_convolutions(tiny_pipeline: StableDiffusionPipeline, tmp_path: Path) -> None:
    down, up = torch.randn(2, 16, 1, 1), torch.randn(16, 2, 1, 1)
    name = "lora_unet_down_blocks_0_attentions_0_proj_in"
    tensors = {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up, f"{name}.alpha": torch.tensor(5)}
    save_file(tensors, tmp_path / "some.safetensors")
    load_adaptor(tiny_pipeline, tmp_path / "some.safetensors")
    (found,) = trained_deltas(tiny_pipeline, "default_0").values()
    assert torch.allclose(found, 2.5 * (up[:, :, 0, 0] @ down[:, :, 0, 0])[:, :, None, None], atol=1e-5)
    (update,) = read_adaptor(tmp_path / "some.safetensors", adaptable_layers(tiny_pipeline)).updates.values()
    assert torch.allclose(update.delta(), found, atol=1e-5)


def test_kohya_doras_are_loaded_whole(tiny_pipeline: StableDiffusionPipeline, tmp_path: Path) -> None:
    """The updated weight has rows of the norms that the file tells."""
    module = tiny_pipeline.unet.get_submodule(TO_K.removeprefix("unet."))
    weight = module.weight.detach().clone()
    down, up = factors(2, module.in_features, module.out_features)
    norms = 1 + torch.rand(module.out_features, 1)
    name = "lora_unet_" + TO_K.removeprefix("unet.").replace(".", "_")
    tensors = {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up, f"{name}.dora_scale": norms}
    save_file(tensors, tmp_path / "some.safetensors")
    load_adaptor(tiny_pipeline, tmp_path / "some.safetensors")
    updated = weight + up @ down
    expected = norms * updated / updated.norm(dim=1, keepdim=True)
    states = torch.randn(5, module.in_features)
    found = tiny_pipeline.unet.get_submodule(TO_K.removeprefix("unet."))(states)
    assert torch.allclose(found, states @ expected.T, atol=1e-4)
    contents = read_adaptor(tmp_path / "some.safetensors", adaptable_layers(tiny_pipeline))
    with pytest.raises(CheckpointError, match="got a DoRA, which also scales the model's weights; expected a LoRA"):
        contents.require_plain()
    save_adaptor(tiny_pipeline, tmp_path / "again")
    assert read_adaptor(tmp_path / "again").updates[TO_K].equals(contents.updates[TO_K])


@pytest.mark.parametrize(
    ("changes", "settings", "message"),
    [
        ({"lora_unet_x.hada_w1_a": torch.ones(2)}, {}, "got a LoHa; expected a LoRA or a DoRA"),
        ({"lora_unet_x.lokr_w1": torch.ones(2)}, {}, "got a LoKr; expected a LoRA or a DoRA"),
        ({"lora_unet_x.lora_down.weight": torch.ones(2)}, {}, "got the layout of kohya-ss, whose names only a base"),
        ({"some.lora_A.weight": torch.ones(2, 2)}, {}, "under a name of no known layout"),
        ({f"{TO_K}.lora_A.weight": torch.ones(2, 3)}, {}, rf"'{TO_K}.lora_A.weight' has no counterpart: the up factor"),
        ({f"{TO_K}.lora_B.weight": torch.ones(2, 3)}, {}, rf"'{TO_K}.lora_B.weight' has no counterpart: the down"),
        ({f"{TO_K}.alpha": torch.tensor(1.0)}, {}, r"got alpha alone; expected two factors as well"),
        ({f"{Q}.lora_B.weight": torch.ones(32, 4)}, {}, r"shape \[32, 4\] does not fit .* \[3, 32\]"),
        (
            {f"{Q}.lora_A.second.weight": torch.ones(3, 32)},
            {},
            r"got another one than .* one adapter in a file",
        ),
        (
            {f"{Q}.lora_magnitude_vector": torch.ones(3)},
            {},
            r"DoRA magnitudes of shape \[3\]; expected one for each",
        ),
        ({f"{Q}.dora_scale": torch.ones(1, 32)}, {}, r"DoRA magnitudes of shape \[1, 32\]; expected one for each"),
        ({f"{Q}.alpha": torch.tensor(0.0)}, {}, r"got alpha 0\.0; expected a number above 0"),
        ({f"{Q}.alpha": torch.ones(2)}, {}, r"got alpha None; expected a number above 0"),
        ({}, {"text_encoder.use_dora": True}, "got a DoRA without its magnitudes"),
        ({}, {"text_encoder.alpha_pattern": 3}, "alpha_pattern: got int; expected an object"),
        ({}, {"text_encoder.alpha_pattern": {"(": 3}}, "alpha_pattern: got a name that is no pattern"),
        ({}, {"text_encoder.lora_alpha": "four"}, "got alpha 'four'; expected a number above 0"),
    ],
)
def test_what_cannot_be_read_whole_is_refused(
    changes: dict[str, Tensor], settings: dict[str, Any], message: str
) -> None:
    down, up = factors()
    with pytest.raises(CheckpointError, match=message):
        read_lora("f", {f"{Q}.lora_A.weight": down, f"{Q}.lora_B.weight": up} | changes, settings)


def test_alpha_is_the_rank_where_nothing_tells_it() -> None:
    down, up = factors()
    tensors = {f"{Q}.lora_A.weight": down, f"{Q}.lora_B.weight": up}
    assert read_lora("f", tensors, {})[Q].alpha == 3
    assert read_lora("f", tensors, {"text_encoder.lora_alpha": 5})[Q].alpha == 5
    assert read_lora("f", tensors, {"lora_alpha": 5})[Q].alpha == 5  # as `save_lora_adapter` writes it
    pattern = {"text_encoder.lora_alpha": 5, "text_encoder.alpha_pattern": {"text_model.encoder.layers.0.*q_proj": 7}}
    assert read_lora("f", tensors, pattern)[Q].alpha == 7


@pytest.mark.parametrize("header", ["{1", "[]", "[" * 100_000])
def test_damaged_headers_are_named(header: str, tmp_path: Path) -> None:
    tensors, _ = diffusers.write_lora({Q: LowRank(*factors(), 3.0, Origin("", "", ""))})
    save_file(tensors, tmp_path / "some.safetensors", metadata={LORA_CONFIG_KEY: header})
    with pytest.raises(CheckpointError, match=r"some\.safetensors: its 'lora_adapter_metadata' header is damaged"):
        read_adaptor(tmp_path / "some.safetensors")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_products_of_half_precision_are_of_single_precision(dtype: torch.dtype) -> None:
    down, up = (factor.to(dtype) for factor in factors())
    update = LowRank(down, up, 6.0, Origin("", "", ""))
    expected = 2 * (up.double() @ down.double())
    assert torch.allclose(update.delta().double(), expected, atol=1e-5)
    assert update.has_delta(expected.float())
    assert not update.has_delta(1.1 * expected.float())
