"""Model cards: every figure from the summary, nothing where there is none, users' words taken for words."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt
from measured import figures
from PIL import Image

from fairlit.adaptors import AdaptorMetadata, SoftTokens
from fairlit.adaptors.contents import AdaptorContents, read_adaptor
from fairlit.adaptors.export import write_adaptor
from fairlit.adaptors.files import FAIRLIT_KEY, LORA_FILE, write_tensors
from fairlit.adaptors.formats.diffusers import write_lora
from fairlit.adaptors.formats.low_rank import LowRank, Origin
from fairlit.adaptors.model_card import adaptor_card, export_card, find_summary
from fairlit.diffusion import Backbone, Chain, Conditioning, rollout
from fairlit.errors import ConfigurationError
from fairlit.functional import TargetDistribution
from fairlit.functional.sampling.solver import linear_solver
from fairlit.io.digests import tensor_digest
from fairlit.results.run import OperatingFigures, RunSummary, VariantFigures
from fairlit.results.tables import table_rows

TENSORS = {"<fair>": torch.arange(6.0).view(2, 3)}
SAMPLING = {"guidance_scale": 3.5, "evaluation_steps": 12, "prompt_padding": "max_length"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An adaptor that a run has saved."""
    save(tmp_path / "run" / "adaptor", {"gender": {"female": 0.5, "male": 0.5}})
    return tmp_path / "run" / "adaptor"


def save(folder: Path, targets: dict[str, Any], base: str = "org/name") -> None:
    record = AdaptorMetadata(base, targets=targets, kind="soft_tokens", tokens=("<fair>", "<fair>_1"))
    write_tensors(folder / "learned_embeds.safetensors", TENSORS, {FAIRLIT_KEY: record.to_json()})


def named(measured: VariantFigures) -> VariantFigures:
    return replace(measured, distribution=measured.distribution.named(["a photo of a chef", "a photo of a judge"]))


def summary(**changes: Any) -> RunSummary:
    made = RunSummary(
        before=named(figures(1.0, ["gender"])),
        after=named(figures(0.6, ["gender"])),
        families={},
        after_is="ema",
        adaptor=tensor_digest(TENSORS),
        judge="path/to/judge",
        judge_is_trainer=False,
        wall_seconds=3.0,
        fit_seconds=2.0,
        test_seconds=1.0,
        version="0.1.0",
        sampling=SAMPLING,
        config={},
    )
    return replace(made, **changes)


def written(folder: Path, content: RunSummary | None, sampling: dict[str, Any] = SAMPLING) -> str:
    path = folder.parent / "summary.json"
    if content is not None:
        content.write(path)
    return adaptor_card(folder, path, sampling).read_text()


def test_every_figure_comes_from_the_summary(folder: Path) -> None:
    content = summary()
    card = written(folder, content)
    for row in table_rows({"before": content.before, "after": content.after}):
        if row:
            assert "| " + " | ".join(cell.strip() for cell in row) + " |" in card
    for part in ("2 prompts, 40 images each way", "`path/to/judge`", "moving average", "noise floor", "Not measured"):
        assert (part in card) == (part != "Not measured")
    assert 'from_pretrained("org/name")' in card
    assert 'prompt = "<fair> a photo of a chef"' in card
    assert "pipeline(prompt, guidance_scale=3.5, num_inference_steps=12)" in card


def test_a_base_model_in_a_single_file_is_opened_with_the_configs_beside_it(folder: Path) -> None:
    contents = replace(read_adaptor(folder), files=())
    card = export_card(contents, "diffusers", [], base="models/my.v1.safetensors", summary=None)
    assert "from diffusers import StableDiffusionPipeline" in card
    assert 'from_single_file("models/my.v1.safetensors", config="models/my.v1")' in card


def test_figures_of_another_adaptor_or_of_none_are_not_taken(folder: Path) -> None:
    (folder.parent / "summary.json").write_text("no summary")
    for content in (None, summary(adaptor="of another one"), "somebody else's"):
        if isinstance(content, str):
            (folder.parent / "summary.json").write_text('{"before": 3}')
        card = written(folder, None if isinstance(content, str) else content)
        assert "Not measured" in card
        assert "bias" not in card.split("## Measured")[1]
        assert find_summary(read_adaptor(folder)) is None


def test_a_summary_of_a_newer_version_is_refused_by_name(folder: Path) -> None:
    newer = summary().to_json() | {"schema": 9}
    (folder.parent / "summary.json").write_text(json.dumps(newer))
    with pytest.raises(ConfigurationError, match=r"summary.json: schema: got 9; expected 1 at most"):
        find_summary(read_adaptor(folder))


def test_a_judge_that_also_trained_and_families_of_their_own(folder: Path) -> None:
    own = {"original": figures(0.8, ["gender"]), "ema": figures(0.7, ["gender"])}
    card = written(folder, summary(judge_is_trainer=True, families={"sports": own}))
    assert "also trained against: take the figures with care" in card
    assert "Prompts of `sports`" in card
    assert "| share female | 0.800 | 0.700 | 0.500 |" in card


def test_curves_stand_beside_the_card_that_shows_them(folder: Path) -> None:
    point = OperatingFigures(
        guidance_scale=7.5, strength=1.0, before=named(figures(1.0, ["gender"])), after=named(figures(0.8, ["gender"]))
    )
    card = written(folder, summary(operating_points=(point,)))
    [shown] = re.findall(r"!\[[^]]+\]\(([^)]+)\)", card)
    with Image.open(folder / shown) as picture:
        assert picture.format == "PNG"
    card = written(folder, summary())  # of a test without such points
    assert "![" not in card
    assert not (folder / shown).exists()


def test_front_matter_is_what_the_hub_reads(folder: Path) -> None:
    data = ModelCard(written(folder, summary())).data
    assert (data.base_model, data.library_name, data.pipeline_tag) == ("org/name", "diffusers", "text-to-image")
    assert {"fairness", "textual_inversion"} <= set(data.tags)
    save(folder, {}, base=str(folder))  # the hub takes no paths
    assert ModelCard(written(folder, None)).data.base_model is None


def test_joint_targets_and_none(folder: Path) -> None:
    target = TargetDistribution.from_joint({"a": ["x", "y"], "b": ["u", "v"]}, [[0.4, 0.1], [0.1, 0.4]])
    save(folder, target.to_dict())
    card = written(folder, None)
    assert "| a | b | share |" in card
    assert "| x | v | 0.100 |" in card
    save(folder, {})
    assert "The files do not say" in written(folder, None)


def test_names_of_classes_are_no_markup(folder: Path) -> None:
    save(folder, {"a|b": {"<script>alert(1)</script>": 0.5, "d": 0.5}})
    assert kinds(written(folder, None)).isdisjoint({"html_inline", "html_block", "link_open"})
    assert "a\\|b" in written(folder, None)


def kinds(card: str) -> set[str]:
    """Kinds of Markdown tokens in a card, as CommonMark with tables has them."""
    tokens = MarkdownIt("commonmark").enable("table").parse(card.split("---\n", 2)[2])
    return {part.type for token in tokens for part in (token, *(token.children or []))}


def test_records_add_no_section_and_no_code(folder: Path) -> None:
    """A record is a file of somebody's: newlines, backticks and links in it are text, its numbers are numbers."""
    attack = "x`\n\n## Measured\n\n[free](https://example.org) <img src=x> `"
    record = AdaptorMetadata(attack, targets={attack: {"a": 0.5, "b": 0.5}}, kind="soft_tokens", tokens=("<fair>",))
    record = replace(record, origin=attack, version=attack)
    write_tensors(folder / "learned_embeds.safetensors", TENSORS, {FAIRLIT_KEY: record.to_json()})
    card = written(folder, None, SAMPLING | {"guidance_scale": "1) or print(1", "evaluation_steps": True})
    assert [line for line in card.splitlines() if line.startswith("#")][1:] == [
        *("## Target", "## Use", "## Measured", "## Limits")
    ]
    assert kinds(card).isdisjoint({"html_inline", "html_block", "link_open", "image"})
    code = card.split("```python\n")[1].split("```")[0]
    called = [
        node.func.attr
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    ]
    assert sorted(called) == ["from_pretrained", "load_textual_inversion"]
    assert "guidance_scale" not in code


def test_names_of_files_and_tokens_are_text(folder: Path) -> None:
    record = AdaptorMetadata("org/name", kind="soft_tokens", tokens=("<a>",))
    write_tensors(
        folder / "learned_embeds.safetensors", {"<`x`[y](z)>": TENSORS["<fair>"]}, {FAIRLIT_KEY: record.to_json()}
    )
    contents = read_adaptor(folder)
    assert "2 soft tokens '<`x`[y](z)>'" in contents.describe()
    card = export_card(contents, "kohya", [Path("a` [x](y) <b> `.safetensors")], base=None, summary=None)
    assert kinds(card).isdisjoint({"html_inline", "html_block", "link_open", "image"})
    assert "``a` [x](y) <b> `.safetensors``" in card


def test_padding_is_explained_where_it_differs(folder: Path) -> None:
    assert "prompt_embeds" not in written(folder, None)
    assert "prompt_embeds" in written(folder, None, SAMPLING | {"prompt_padding": "longest"})


def test_cards_of_exports_keep_the_figures(folder: Path) -> None:
    written(folder, summary())
    contents = read_adaptor(folder)
    found = find_summary(contents)
    assert found is not None
    kohya = export_card(contents, "kohya", [Path("fair.safetensors")], base=None, summary=found)
    assert "`embedding:fair` or `fair`" in kohya
    assert "| bias, gender | 1.000" in kohya
    merged = export_card(contents, None, [], base="some/base", summary=found)
    data = ModelCard(merged).data
    assert (data.base_model, data.base_model_relation) == ("some/base", "finetune")
    assert "load_textual_inversion" not in merged
    assert "rename the file to something that is no word" in kohya
    assert "choose a name that no prompt contains" in export_card(contents, "diffusers", [], base=None, summary=None)


TEXT, UNET = "text_encoder.text_model.encoder.layers.0.mlp.fc1", "unet.mid_block.attentions.0.proj_in"


@pytest.mark.parametrize(
    ("layers", "alpha", "said"),
    [
        ([TEXT], 2.0, " "),
        ([TEXT], 3.0, " ComfyUI applies the text encoder's layers as if alpha were the rank. "),
        ([UNET], 3.0, " ComfyUI leaves out the U-Net's layers. "),
        (
            [TEXT, UNET],
            3.0,
            " ComfyUI leaves out the U-Net's layers and applies the text encoder's layers as if alpha were the rank. ",
        ),
    ],
)
def test_cards_of_diffusers_files_say_what_comfyui_leaves_out(
    layers: list[str], alpha: float, said: str, tmp_path: Path
) -> None:
    origin = Origin("file", "down", "up")
    updates = {layer: LowRank(torch.ones(2, 4), torch.ones(4, 2), alpha, origin) for layer in layers}
    contents = AdaptorContents(AdaptorMetadata(), updates)
    tensors, header = write_lora(contents.updates)
    write_tensors(tmp_path / LORA_FILE, tensors, header | {FAIRLIT_KEY: contents.lora_record().to_json()})
    card = adaptor_card(tmp_path, None, SAMPLING).read_text()
    assert f"These files are for diffusers.{said}Write files for ComfyUI" in card


def test_cards_of_exported_diffusers_files_know_that_their_alpha_is_the_rank(tmp_path: Path) -> None:
    update = LowRank(torch.ones(2, 4), torch.ones(4, 2), 3.0, Origin("file", "down", "up"))
    contents = AdaptorContents(AdaptorMetadata(), {TEXT: update})
    files = write_adaptor(contents, "diffusers", tmp_path, name="mine")
    card = export_card(contents, "diffusers", files, base=None, summary=None)
    assert f"{read_adaptor(tmp_path).describe()}." in card
    assert "rank 2, alpha 2" in card
    assert "as if alpha were the rank" not in card


def test_the_code_on_the_card_makes_fairlit_s_own_pictures(
    tiny_pipeline: StableDiffusionPipeline, tiny_pipeline_folder: Path, tmp_path: Path
) -> None:
    """The first snippet those with stock padding, the second those with fairlit's; soft tokens make both harder."""
    adaptor = SoftTokens(count=2)
    adaptor.attach(tiny_pipeline)
    adaptor.save(tmp_path, tiny_pipeline, AdaptorMetadata(base_model=str(tiny_pipeline_folder)))
    sampling = {"guidance_scale": 2.0, "evaluation_steps": 3, "prompt_padding": "longest"}
    card = adaptor_card(tmp_path, None, sampling).read_text().replace("path/to/this/folder", str(tmp_path))
    names: dict[str, Any] = {}
    pictures = []
    for part in card.split("```python\n")[1:]:
        code = part.split("```")[0].replace(".images[0]", ".images")
        names["noise"] = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
        exec(code.replace("num_inference_steps=3", "num_inference_steps=3, latents=noise, output_type='pt'"), names)
        pictures.append(names["image"])
    for padding, picture in zip(("max_length", "longest"), pictures, strict=True):
        backbone = Backbone(tiny_pipeline, prompt_padding=padding)
        chain = Chain(backbone, linear_solver(backbone.scheduler, 3), 2.0)
        with torch.no_grad():
            prompts = backbone.encode(["", adaptor.adapt_prompt("a photo of the face of a doctor, a person")])
            sampled = rollout(chain, names["noise"], Conditioning.of_one_prompt(prompts, 1), 1)
            own = backbone.decode(sampled.latents)
        assert (picture - own).abs().max() < 1e-4, padding
    assert (pictures[0] - pictures[1]).abs().max() > 1e-3


def test_export_and_its_card_do_without_lightning() -> None:
    code = "import sys, fairlit.adaptors.model_card, fairlit.commands.export; print('lightning' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
