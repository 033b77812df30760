"""What an adaptor holds, out of what a run saved and out of published files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline

from fairlit.adaptors import Adaptor, AdaptorMetadata, Lora, SoftTokens
from fairlit.adaptors.contents import read_adaptor, read_published
from fairlit.adaptors.export import embedding_file
from fairlit.adaptors.files import FAIRLIT_KEY, write_tensors
from fairlit.errors import CheckpointError, ConfigurationError

DOWN = "text_model.encoder.layers.0.mlp.fc1.lora_linear_layer.down.weight"
UP = DOWN.replace("down", "up")


def test_both_kinds_in_one_folder(
    tiny_pipeline: StableDiffusionPipeline, train: Callable[[Adaptor], None], tmp_path: Path
) -> None:
    lora, tokens = Lora(rank=2, alpha=5, unet=True), SoftTokens(count=3)
    for adaptor in (tokens, lora):
        adaptor.attach(tiny_pipeline)
        train(adaptor)
        adaptor.save(tmp_path, tiny_pipeline, AdaptorMetadata(base_model="tiny", config_hash="7"))
    contents = read_adaptor(tmp_path)
    assert {update.rank for update in contents.updates.values()} == {2}
    assert {update.alpha for update in contents.updates.values()} == {5}
    assert 2 * len(contents.updates) == len(lora.parameters())
    assert torch.equal(contents.rows["text_encoder"], tokens.parameters()["<fairlit>"])
    assert contents.record.config_hash == "7"
    assert contents.lora_record().alpha == 5
    assert contents.tokens_record().tokens == ("<fairlit>", "<fairlit>_1", "<fairlit>_2")
    assert "in text encoder and U-Net, rank 2, alpha 5; 3 soft tokens '<fairlit>'" in contents.describe()
    single = read_adaptor(tmp_path / "learned_embeds.safetensors")
    assert not single.updates
    assert single.record.kind == "soft_tokens"


def save(path: Path, tensors: Any) -> Path:
    torch.save(tensors, path)
    return path


def test_published_files_of_parts_that_belong_together(tmp_path: Path) -> None:
    text = save(tmp_path / "te.pth", {DOWN: torch.nn.Parameter(torch.ones(2, 32)), UP: torch.ones(64, 2)})
    block = "mid_block.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora"
    unet = save(
        tmp_path / "unet.pth", {f"{block}.down.weight": torch.ones(3, 32), f"{block}.up.weight": torch.ones(32, 3)}
    )
    tokens = save(tmp_path / "prefix.pth", {"token_embedding.weight": torch.ones(3, 32)})
    contents = read_published([text, unet, tokens], token="<just>", base_model="some/model")
    assert [update.alpha for update in contents.updates.values()] == [2, 3]
    assert (contents.token, contents.record.base_model) == ("<just>", "some/model")
    assert "Shen et al." in contents.record.origin
    assert not contents.record.version
    with pytest.raises(CheckpointError, match=r"te2\.pth: tensor '.*down.weight' is in .*te\.pth too"):
        read_published([text, save(tmp_path / "te2.pth", torch.load(text, weights_only=True))])
    with pytest.raises(CheckpointError, match="soft tokens were in another file too"):
        read_published([tokens, tokens])


class Payload:
    """Runs code when it is unpickled by a loader that lets it."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return exec, ("raise SystemExit('code in a weight file was run')",)


@pytest.mark.parametrize(
    ("content", "error"),
    [(Payload(), CheckpointError), ({"a": Payload()}, CheckpointError), ([torch.ones(2)], ConfigurationError)],
)
def test_nothing_in_a_published_file_is_run(tmp_path: Path, content: Any, error: type[Exception]) -> None:
    path = save(tmp_path / "evil.pth", content)
    with pytest.raises(error, match=r"evil\.pth"):
        read_published([path])


def test_damaged_and_missing_published_files_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "te.pth", {DOWN: torch.ones(2, 32), UP: torch.ones(64, 2)})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"te\.pth"):
        read_published([path])
    with pytest.raises(CheckpointError, match=r"nowhere\.pth"):
        read_published([tmp_path / "nowhere.pth"])


def test_soft_tokens_of_web_user_interfaces_have_the_name_that_the_file_tells(tmp_path: Path) -> None:
    rows = torch.randn(2, 32)
    record = AdaptorMetadata(kind="soft_tokens", tokens=("<mine>", "<mine>_1"))
    path = write_tensors(tmp_path / "other.safetensors", {"emb_params": rows}, {FAIRLIT_KEY: record.to_json()})
    contents = read_adaptor(path)
    assert contents.token == "<mine>"
    assert torch.equal(contents.rows["text_encoder"], rows)
    path = write_tensors(tmp_path / "My Style.safetensors", {"emb_params": rows}, {})  # of another program
    assert read_adaptor(path).token == "<my-style>"
    record = AdaptorMetadata(kind="soft_tokens", tokens=("A b",))
    path = write_tensors(tmp_path / "other.safetensors", {"emb_params": rows}, {FAIRLIT_KEY: record.to_json()})
    with pytest.raises(CheckpointError, match="name of the soft tokens: got 'A b'; expected a lower-case word"):
        read_adaptor(path)


@pytest.mark.parametrize("token", ["<\x1b[31m>", "<\n>", "", "<" + "a" * 3000])
def test_names_of_soft_tokens_are_words(tmp_path: Path, token: str) -> None:
    path = write_tensors(tmp_path / "learned_embeds.safetensors", {token: torch.randn(2, 32)}, {})
    with pytest.raises(
        CheckpointError, match=r"name of the soft tokens: got .{,70}; expected a word that can be printed"
    ):
        read_adaptor(path)


@pytest.mark.parametrize("token", ["<\ud800>", "__metadata__"])
def test_records_name_soft_tokens_by_words(tmp_path: Path, token: str) -> None:
    record = AdaptorMetadata(kind="soft_tokens", tokens=(token,))
    path = write_tensors(
        tmp_path / "a.safetensors", {"emb_params": torch.randn(2, 32)}, {FAIRLIT_KEY: record.to_json()}
    )
    with pytest.raises(CheckpointError, match="expected a lower-case word that can be printed"):
        read_adaptor(path)


def test_files_of_others_may_have_capitals_and_spaces(tmp_path: Path) -> None:
    path = write_tensors(tmp_path / "learned_embeds.safetensors", {"My Style": torch.randn(2, 32)}, {})
    assert read_adaptor(path).token == "My Style"
    assert embedding_file("My Style") == "mystyle.safetensors"


def test_paths_that_are_not_utf_8_are_named(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    path = write_tensors(folder / "learned_embeds.safetensors", {"<x>": torch.randn(2, 32)}, {})
    with pytest.raises(CheckpointError, match="got a path that is not UTF-8; expected one that is; rename it"):
        read_adaptor(path)
