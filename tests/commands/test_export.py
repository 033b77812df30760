"""``fairlit export`` as a user calls it, and what users without fairlit make of its files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from huggingface_hub import ModelCard
from safetensors.torch import load_file
from torch import Tensor

from fairlit.adaptors import AdaptorMetadata, Lora, SoftTokens
from fairlit.adaptors.contents import read_adaptor
from fairlit.adaptors.export_config import ExportConfig
from fairlit.adaptors.exporting import export
from fairlit.adaptors.files import FAIRLIT_KEY, write_tensors
from fairlit.cli import main
from fairlit.diffusion import Backbone, Chain, Conditioning, rollout
from fairlit.errors import ConfigurationError
from fairlit.functional.sampling.noise import keyed_noise
from fairlit.functional.sampling.solver import linear_solver

MINIATURE = Path(__file__).parents[2] / "checkpoints" / "miniature" / "pipeline"
PROMPT = "a photo of the face of a plumber, a person"
STEPS, GUIDANCE = 6, 1.5

KINDS = ("diffusers", "kohya", "peft", "merged")
# What a user writes who has the files and stock diffusers, and has never heard of fairlit.
STRANGER = """
import sys, torch
from diffusers import StableDiffusionPipeline
from peft import PeftModel
base, folder, prompt = sys.argv[1:]
for kind in ("diffusers", "kohya", "peft", "merged"):
    model = f"{folder}/merged" if kind == "merged" else base
    pipeline = StableDiffusionPipeline.from_pretrained(model, safety_checker=None)
    if kind == "diffusers":
        pipeline.load_lora_weights(f"{folder}/diffusers")
        pipeline.load_textual_inversion(f"{folder}/diffusers")
    elif kind == "kohya":
        pipeline.load_lora_weights(f"{folder}/kohya", weight_name="kohya_lora.safetensors")
        pipeline.load_textual_inversion(f"{folder}/kohya", weight_name="fairlit.safetensors", token="<fairlit>")
    elif kind == "peft":
        for part in ("text_encoder", "unet"):
            setattr(pipeline, part, PeftModel.from_pretrained(getattr(pipeline, part), f"{folder}/peft/{part}"))
        prompt = prompt.replace("<fairlit> ", "")
    settings = {"guidance_scale": 1.5, "num_inference_steps": 6, "output_type": "pt"}
    noise = torch.load(f"{folder}/noise.pt")
    torch.save(pipeline([prompt] * 2, latents=noise, **settings).images, f"{folder}/{kind}.pt")
    prompt = sys.argv[3]
assert not any(name.split(".")[0] == "fairlit" for name in sys.modules)
"""


@torch.no_grad()
def own_images(pipeline: StableDiffusionPipeline, prompt: str, noise: Tensor) -> Tensor:
    """What fairlit generates itself, without any pipeline's call; prompts padded as stock diffusers pads them."""
    backbone = Backbone(pipeline, prompt_padding="max_length")
    chain = Chain(backbone, linear_solver(backbone.scheduler, STEPS), GUIDANCE)
    conditioning = Conditioning.of_one_prompt(backbone.encode(["", prompt]), len(noise))
    return backbone.decode(rollout(chain, noise, conditioning, len(noise)).latents)


@torch.no_grad()
def strengthen(adaptor: Lora | SoftTokens) -> None:
    for name, parameter in adaptor.parameters().items():
        scale = 0.05 if "lora_B" in name else 0.01
        parameter += scale * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name)))


def test_strangers_make_the_images_that_fairlit_makes(tmp_path: Path) -> None:
    """The embedded model, LoRA on both parts with alpha different from rank, soft tokens where the format has them."""
    pipeline = StableDiffusionPipeline.from_pretrained(MINIATURE, safety_checker=None, local_files_only=True)
    noise = keyed_noise([(0, 0, index) for index in range(2)], Backbone(pipeline).latent_shape())
    torch.save(noise, tmp_path / "noise.pt")
    original = own_images(pipeline, PROMPT, noise)
    tokens, lora = SoftTokens(count=2), Lora(rank=4, alpha=10, unet=True)
    for adaptor in (tokens, lora):
        adaptor.attach(pipeline)
        strengthen(adaptor)
        adaptor.save(tmp_path / "adaptor", pipeline, AdaptorMetadata(base_model=str(MINIATURE)))
    own = dict.fromkeys(KINDS, own_images(pipeline, tokens.adapt_prompt(PROMPT), noise))
    own["peft"] = own_images(pipeline, PROMPT, noise)
    for kind in KINDS:
        source = tmp_path / "adaptor" / ("pytorch_lora_weights.safetensors" if kind == "peft" else "")
        wish = ["--merge"] if kind == "merged" else ["--to", kind]
        main(["export", str(source), "--out", str(tmp_path / kind), *wish])
    done = subprocess.run(
        [sys.executable, "-c", STRANGER, str(MINIATURE), str(tmp_path), tokens.pipeline_prompt(PROMPT)],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for kind in KINDS:
        assert (own[kind] - original).abs().mean() > 3 / 255  # the adaptor does something
        made = torch.load(tmp_path / f"{kind}.pt")
        assert (made - own[kind]).abs().mean() < 0.01 / 255, kind


@pytest.fixture
def saved(tiny_pipeline: StableDiffusionPipeline, tiny_pipeline_folder: Path, tmp_path: Path) -> Path:
    """The folder of a LoRA that names its base model."""
    adaptor = Lora(rank=2, alpha=3)
    adaptor.attach(tiny_pipeline)
    strengthen(adaptor)
    targets = {"gender": {"female": 0.5, "male": 0.5}}
    record = AdaptorMetadata(str(tiny_pipeline_folder), {"gender": ("female", "male")}, targets)
    adaptor.save(tmp_path / "saved", tiny_pipeline, record)
    return tmp_path / "saved"


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command line that must be refused; gives the message."""

    def run(*arguments: str | Path) -> str:
        with pytest.raises(SystemExit) as stopped:
            main(["export", *map(str, arguments)])
        assert stopped.value.code == 2
        return capsys.readouterr().err

    return run


def test_says_what_it_read_checked_and_wrote(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["export", str(saved), "--to", "kohya", "--out", str(tmp_path / "mine")])
    printed = capsys.readouterr().out
    assert f"read     {saved}: LoRA of 12 layers in text encoder, rank 2, alpha 3" in printed
    assert "the stock reader gives back every update" in printed
    assert f"wrote    {tmp_path / 'mine' / 'mine_lora.safetensors'}" in printed
    tensors = load_file(tmp_path / "mine" / "mine_lora.safetensors")
    assert {float(value) for name, value in tensors.items() if name.endswith(".alpha")} == {3.0}
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["README.md", "mine_lora.safetensors"]


@pytest.mark.parametrize("arguments", [["--to", "diffusers"], ["--to", "kohya"], ["--to", "peft"], ["--merge"]])
def test_every_export_has_a_card_with_code_that_runs(
    saved: Path, tiny_pipeline_folder: Path, tmp_path: Path, arguments: list[str]
) -> None:
    out = tmp_path / "out"
    main(["export", str(saved), "--out", str(out), *arguments])
    card = ModelCard.load(out / "README.md")
    assert card.data.pipeline_tag == "text-to-image"
    assert "fairlit" in card.data.tags
    assert "| gender | female | 0.500 |" in card.text
    assert "Not measured" in card.text
    assert "*perceived*" in card.text
    code = card.text.split("```python\n")[1].split("```")[0].replace("path/to/this/folder", str(out))
    names: dict[str, object] = {}
    exec(code.replace(".images[0]", ".images[0].convert('RGB')"), names)
    assert names["image"].size == (64, 64)  # type: ignore[attr-defined]


def test_published_files_from_the_command_line(
    tiny_pipeline_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], refused: Callable[..., str]
) -> None:
    block = "text_model.encoder.layers.1.mlp.fc2.lora_linear_layer"
    block_q = "text_model.encoder.layers.1.self_attn.q_proj.lora_linear_layer"
    tensors = {
        f"{name}.{part}.weight": torch.randn(*shape)
        for name, width in ((block, 64), (block_q, 32))
        for part, shape in (("down", (2, width)), ("up", (32, 2)))
    }
    path = tmp_path / "text_encoder_lora_EMA.pth"
    torch.save(tensors, path)
    base = ["--base", tiny_pipeline_folder]
    main(["export", "--published", str(path), "--to", "diffusers", "--out", str(tmp_path / "a"), *map(str, base)])
    assert "rank 2, alpha 2" in capsys.readouterr().out
    assert "Shen et al." in (tmp_path / "a" / "README.md").read_text()
    main(["export", "--published", str(path), "--to", "kohya", "--out", str(tmp_path / "b"), "--alpha", "1"])
    printed = capsys.readouterr().out
    assert "rank 2, alpha 1" in printed
    assert "not checked: 'stable-diffusion-v1-5/stable-diffusion-v1-5' is not on this machine; give --base" in printed
    tensors[f"{block}.up.weight"] = torch.randn(768, 2)
    torch.save(tensors, path)
    message = refused("--published", path, "--to", "diffusers", "--out", tmp_path / "c", *base)
    assert f"{path}: tensor '{block}.up.weight' has shape [768, 2], the pipeline needs [32, 2]" in message
    assert not (tmp_path / "c").exists()


def test_all_that_is_wrong_comes_together(saved: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    message = refused(tmp_path / "nowhere", "--out", saved, "--base", tmp_path / "no_base", "--alpha", "-1")
    for part in (
        "fairlit: export: 6 problems",
        "adaptor: '",
        "does not exist",
        "give either --to diffusers, peft or kohya, or --merge",
        f"out: {saved} holds files already",
        "base: '",
        "alpha: got -1.0, but an adaptor knows its own",
        "alpha: got -1.0; expected a number above 0",
    ):
        assert part in message


def test_a_format_that_does_not_exist_is_refused_in_python_too(saved: Path, tmp_path: Path) -> None:
    config = ExportConfig(adaptor=str(saved), to="nonsense", out=str(tmp_path / "out"))  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="to: got 'nonsense'; expected one of diffusers, peft, kohya; choose"):
        export(config)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["SAVED", "--to", "safetensors", "--out", "OUT"], "diffusers"),
        (["SAVED", "--to", "kohya"], "out: got nothing; give --out"),
        (["--to", "kohya", "--out", "OUT"], "give either the folder of an adaptor, or --published"),
        (
            ["SAVED", "--published", "x.pth", "--to", "kohya", "--out", "OUT"],
            "give either the folder of an adaptor, or --published",
        ),
        (["SAVED", "--to", "kohya", "--merge", "--out", "OUT"], "or --merge"),
        (["SAVED/..", "--to", "kohya", "--out", "OUT"], "no adaptor here"),
        (["SAVED", "--to", "kohya", "--out", "SAVED/pytorch_lora_weights.safetensors"], "is a file"),
        (["SAVED", "--token", "A b", "--to", "kohya", "--out", "OUT"], "token is 'A b'"),
        (["SAVED", "--strength", "2"], "strength"),
    ],
)
def test_wrong_arguments_are_refused(
    saved: Path, tmp_path: Path, refused: Callable[..., str], arguments: list[str], part: str
) -> None:
    replaced = [word.replace("SAVED", str(saved)).replace("OUT", str(tmp_path / "out")) for word in arguments]
    assert part in refused(*replaced)
    assert not (tmp_path / "out").exists()


def test_merging_without_a_base_model_is_refused(
    tiny_pipeline: StableDiffusionPipeline, tmp_path: Path, refused: Callable[..., str]
) -> None:
    adaptor = Lora(rank=2)
    adaptor.attach(tiny_pipeline)
    adaptor.save(tmp_path / "saved", tiny_pipeline, AdaptorMetadata(base_model="org/name"))
    message = refused(tmp_path / "saved", "--merge", "--out", tmp_path / "out")
    assert "base: the adaptor names 'org/name', which is no folder here, and merging needs one; give --base" in message


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["export", "--help"])
    assert not stopped.value.code
    printed = capsys.readouterr().out
    for word in ("usage: fairlit export", "--published", "--to", "--merge", "--base", "--out"):
        assert word in printed
    main(["--help"])
    assert "export" in capsys.readouterr().out


def test_files_are_checked_against_a_base_without_weights(
    saved: Path,
    tiny_pipeline_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    refused: Callable[..., str],
) -> None:
    base = tmp_path / "configs"
    shutil.copytree(tiny_pipeline_folder, base, ignore=shutil.ignore_patterns("*.safetensors"))
    for to in ("kohya", "peft", "diffusers"):
        main(["export", str(saved), "--to", to, "--base", str(base), "--out", str(tmp_path / to)])
        assert f"checked  against {base}: the stock reader gives back every update" in capsys.readouterr().out
    main(["export", str(saved), "--to", "kohya", "--out", str(tmp_path / "out" / "kohya")])  # with all weights
    with_weights, without = (folder / "kohya" / "kohya_lora.safetensors" for folder in (tmp_path / "out", tmp_path))
    assert without.read_bytes() == with_weights.read_bytes()
    message = refused(saved, "--merge", "--base", base, "--out", tmp_path / "merged")
    assert f"{base / 'unet'} holds no weights" in message
    (base / "unet" / "config.json").unlink()
    message = refused(saved, "--to", "kohya", "--base", base, "--out", tmp_path / "again")
    assert "config.json is missing" in message


@pytest.mark.parametrize(("token", "file", "warned"), [("<photo>", "photo", True), ("<fair>", "fairlit", False)])
def test_tokens_that_are_words_are_named(
    tiny_pipeline_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    *,
    token: str,
    file: str,
    warned: bool,
) -> None:
    """A1111's web UI replaces the name of an embedding's file in every prompt; former files have such a name."""
    vocabulary = json.loads((tiny_pipeline_folder / "tokenizer" / "tokenizer.json").read_text())["model"]["vocab"]
    assert ("photo</w>" in vocabulary, "fairlit</w>" in vocabulary) == (True, False)
    write_tensors(tmp_path / "saved" / "learned_embeds.safetensors", {token: torch.ones(2, 32)}, {})
    main(
        [
            "export",
            str(tmp_path / "saved"),
            "--to",
            "kohya",
            "--base",
            str(tiny_pipeline_folder),
            "--out",
            str(tmp_path / "out"),
        ]
    )
    assert (tmp_path / "out" / f"{file}.safetensors").is_file()
    assert read_adaptor(tmp_path / "out" / f"{file}.safetensors").token == token
    assert ("replaces 'photo' in every prompt" in capsys.readouterr().out) == warned


@pytest.mark.parametrize("base", ["x" * 5000, "a" * 300 + "/b", "\x00", "\ud800/x", "`\n# a\x1b[31m"])
def test_base_models_of_records_are_any_text(tmp_path: Path, capsys: pytest.CaptureFixture[str], base: str) -> None:
    record = AdaptorMetadata(base_model=base, origin=base, version=base).to_json()
    write_tensors(tmp_path / "saved" / "learned_embeds.safetensors", {"<x>": torch.ones(2, 32)}, {FAIRLIT_KEY: record})
    for to in ("kohya", "diffusers"):
        main(["export", str(tmp_path / "saved"), "--to", to, "--out", str(tmp_path / to)])
        card = (tmp_path / to / "README.md").read_text()
        assert len([line for line in card.splitlines() if line.startswith("# ")]) == 1
        assert ModelCard(card).data.base_model is None
        assert "\x1b" not in card + capsys.readouterr().out


def test_paths_that_are_not_utf_8_are_refused(saved: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    out = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    assert "out: got the path" in refused(saved, "--to", "kohya", "--out", out)
