from __future__ import annotations

import dataclasses
import json
import os
import shutil
import struct
import zlib
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from diffusers import DiffusionPipeline
from PIL import Image
from safetensors.torch import load_file, save_file

from fairlit.data.prompts.families import Prompt
from fairlit.diffusion import Backbone
from fairlit.errors import ConfigurationError, NotFiniteError, Problems, surroundings_error
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.functional.sampling.noise import chain_noise, keyed_noise
from fairlit.generation import GenerationPlan, make_images
from fairlit.generation import run as runner
from fairlit.mitigation import AttributeWords, Chunk, LatentGuidance, NoMitigation, PromptProjection, SamplingPlan
from fairlit.pictures.files import read_image, read_parameters, save_png
from fairlit.pictures.manifest import read_manifest, write_manifest

PROMPTS = [Prompt("a photo of a doctor", "people"), Prompt("a nurse & <b>", "people")]


@pytest.fixture
def plan(tiny_pipeline_folder: Path, tmp_path: Path) -> GenerationPlan:
    return GenerationPlan(
        str(tiny_pipeline_folder),
        PROMPTS,
        tmp_path / "out",
        images=5,
        steps=2,
        guidance_scale=2.0,
        batch_size=2,
        seed=3,
    )


def pixels(plan: GenerationPlan) -> torch.Tensor:
    return torch.stack([read_image(plan.out / image.file) for images in plan.planned() for image in images])


@pytest.mark.parametrize("solver", ["pipeline", "lcm", "euler-ancestral"])
def test_images_do_not_depend_on_the_batch_size(plan: GenerationPlan, tmp_path: Path, solver: Any) -> None:
    plan = dataclasses.replace(plan, solver=solver)
    assert make_images(plan) == 10
    other = dataclasses.replace(plan, out=tmp_path / "other", batch_size=5)
    make_images(other)
    assert (pixels(plan).int() - pixels(other).int()).abs().max() <= 1  # the last bit of the arithmetic may differ
    assert len(torch.unique(pixels(plan).flatten(1), dim=0)) == 10


def test_a_method_that_does_not_fit_a_model_of_the_hub_is_refused_before_it_is_downloaded(
    plan: GenerationPlan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionXLPipeline"}))
    downloaded: list[str] = []
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda name, file: str(tmp_path / file))
    monkeypatch.setattr(DiffusionPipeline, "download", lambda name, **settings: downloaded.append(name))
    method = PromptProjection({"gender": {"female": "woman", "male": "man"}})
    with pytest.raises(ConfigurationError, match="got 'debiasVL' for Stable Diffusion XL, which has 2 text encoders"):
        make_images(dataclasses.replace(plan, model="somebody/xl", method=method))
    assert downloaded == []


def test_an_image_that_is_made_again_is_sampled_in_its_batch(
    plan: GenerationPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processors may round otherwise in a batch of another size; the bytes shall be those of a run left alone."""
    make_images(plan)
    images = next(iter(plan.planned()))
    before = [(plan.out / image.file).read_bytes() for image in images]
    (plan.out / images[3].file).unlink()
    batches: list[list[int]] = []

    def recording(keys: list[tuple[int, ...]], *rest: Any) -> torch.Tensor:
        batches.append([key[-1] for key in keys])
        return chain_noise(keys, *rest)

    monkeypatch.setattr(runner, "chain_noise", recording)
    assert make_images(plan) == 1
    assert batches == [[2, 3]]
    assert [(plan.out / image.file).read_bytes() for image in images] == before


def test_a_method_that_does_not_fit_the_solver_is_refused_before_weights_load(plan: GenerationPlan) -> None:
    method, target = LatentGuidance("no/where"), TargetDistribution({"gender": {"female": 0.5, "male": 0.5}})
    with Problems("plan") as problems:
        dataclasses.replace(plan, method=method, target=target, solver="lcm").check(problems)
        fresh = [message for message in problems.messages if "draws fresh noise" in message]
        dataclasses.replace(plan, method=method, target=target, solver="ddim").check(problems)
        assert [message for message in problems.messages if "draws fresh noise" in message] == fresh
        problems.messages.clear()
    assert len(fresh) == 1
    assert fresh[0].startswith("scheduler: LCMScheduler draws fresh noise")


def test_noise_is_that_of_a_test_run(plan: GenerationPlan) -> None:
    plan = dataclasses.replace(plan, images=1)
    make_images(plan)
    backbone = Backbone.load(plan.model)
    noise = keyed_noise([(3, 2, 1, 0)], backbone.latent_shape())
    with NoMitigation().prepare(backbone, SamplingPlan(2, 2.0), None) as sample:
        image = backbone.decode(sample(Chunk.whole(PROMPTS[1].text, 1), noise))
    assert (pixels(plan)[1].float() - 255 * image[0]).abs().max() <= 1.01


def test_files_and_manifest_say_how_images_were_made(plan: GenerationPlan) -> None:
    make_images(plan)
    entries, damaged = read_manifest(plan.out)
    assert (len(entries), damaged) == (10, [])
    for entry in entries:
        line = {key: value for key, value in entry.to_json().items() if key not in ("schema", "file")}
        assert read_parameters(plan.out / entry.file) == line
    assert entries[7].prompt == "a nurse & <b>"
    assert (entries[7].number, entries[7].noise_key, entries[7].further["seed"]) == (2, (3, 2, 1, 2), 3)
    settings = entries[7].further
    assert (settings["steps"], settings["guidance_scale"], settings["method"]) == (2, 2.0, {"name": "none"})


def test_manifest_names_dealt_classes_of_images_from_before_too(plan: GenerationPlan) -> None:
    target = TargetDistribution({"gender": {"woman": 0.5, "man": 0.5}})
    plan = dataclasses.replace(plan, method=AttributeWords(seed=1), target=target, images=4)
    assert make_images(plan) == 8
    entries, _ = read_manifest(plan.out)
    for prompt in PROMPTS:
        dealt = [entry.dealt_classes for entry in entries if entry.prompt == prompt.text]
        assert dealt == plan.method.dealt_classes(Chunk.whole(prompt.text, 4), target)
    for image in (image for images in plan.planned() for image in images):
        assert (read_parameters(plan.out / image.file) or {})["dealt_classes"] == image.parameters.pop("dealt_classes")
        save_png(torch.zeros(3, 64, 64), plan.out / image.file, image.parameters)  # as earlier versions wrote them
    write_manifest(plan.out, [dataclasses.replace(entry, dealt_classes=None) for entry in entries])
    assert make_images(plan) == 0
    assert read_manifest(plan.out) == (entries, [])


def test_no_image_is_made_twice(plan: GenerationPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []
    save = runner.save_png

    def stopping(image: torch.Tensor, path: Path, parameters: dict[str, object]) -> None:
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(path)
        save(image, path, parameters)

    monkeypatch.setattr(runner, "save_png", stopping)
    with pytest.raises(KeyboardInterrupt):
        make_images(plan)
    assert [len(found) for found in (read_manifest(plan.out)[0], list(plan.out.rglob("[!.]*.png")))] == [10, 3]
    monkeypatch.setattr(runner, "save_png", lambda image, path, more: made.append(path) or save(image, path, more))
    told: list[int] = []
    assert make_images(plan, progress=told.append) == 7
    assert len(made) == len(set(made)) == 10
    assert sum(told) == 7
    assert make_images(plan) == 0
    fresh = dataclasses.replace(plan, out=plan.out.parent / "fresh")
    make_images(fresh)
    assert (pixels(plan).int() - pixels(fresh).int()).abs().max() <= 1


def test_images_made_otherwise_are_not_mixed_with(plan: GenerationPlan) -> None:
    plan = dataclasses.replace(plan, images=1)
    make_images(plan)
    with pytest.raises(ConfigurationError, match=r"made with steps 2, not 3; give another --out"):
        make_images(dataclasses.replace(plan, steps=3))
    file = plan.out / plan.planned()[0][0].file
    Image.new("RGB", (4, 4)).save(file)
    with pytest.raises(ConfigurationError, match="not from fairlit generate"):
        make_images(plan)


def test_a_model_that_has_changed_at_its_path_is_noticed(plan: GenerationPlan, tmp_path: Path) -> None:
    model = shutil.copytree(plan.model, tmp_path / "model")
    plan = dataclasses.replace(plan, images=1, model=str(model))
    make_images(plan)
    again = dataclasses.replace(plan, model=f"{tmp_path}/./model")
    assert make_images(again) == 0
    weights = model / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    save_file({name: 1.01 * tensor for name, tensor in tensors.items()}, weights)
    changed = dataclasses.replace(plan)
    with pytest.raises(ConfigurationError, match="made with another model than is there now; give another --out"):
        make_images(changed)
    assert make_images(dataclasses.replace(plan, overwrite=True)) == len(PROMPTS)
    assert make_images(changed) == 0


def test_nothing_is_replaced_before_the_model_is_known_to_work(
    plan: GenerationPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_images(plan)
    before = {path: path.read_bytes() for path in plan.out.rglob("*") if path.is_file()}
    with_one_prompt = dataclasses.replace(plan, prompts=PROMPTS[:1], steps=plan.steps + 1, overwrite=True)

    def refuse(*_: object) -> None:
        raise ConfigurationError("a model that does not work")

    with monkeypatch.context() as patch:
        patch.setattr(runner, "load_backbone", refuse)
        with pytest.raises(ConfigurationError, match="does not work"):
            make_images(with_one_prompt)
    assert {path: path.read_bytes() for path in plan.out.rglob("*") if path.is_file()} == before
    make_images(with_one_prompt)
    assert len(list(plan.out.rglob("*.png"))) == with_one_prompt.images


def test_images_that_do_not_say_which_weights_their_model_had_are_refused_once(plan: GenerationPlan) -> None:
    plan = dataclasses.replace(plan, images=1)
    make_images(plan)
    for [image] in plan.planned():
        del image.parameters["digests"]  # as fairlit 0.1.0 wrote them
        save_png(torch.zeros(3, 8, 8), plan.out / image.file, image.parameters)
    with pytest.raises(ConfigurationError, match=r"an unknown model, of which .* noted the path alone"):
        make_images(plan)
    assert make_images(dataclasses.replace(plan, overwrite=True)) == len(PROMPTS)
    assert make_images(plan) == 0


def test_everything_wrong_is_said_at_once(plan: GenerationPlan) -> None:
    (plan.out.parent / "file").touch()
    wrong = dataclasses.replace(
        plan,
        model="no/such/folder",
        images=0,
        steps=0,
        guidance_scale=-0.5,
        image_size=30,
        seed=-1,
        out=plan.out.parent / "file",
    )
    with pytest.raises(ConfigurationError) as caught, Problems("generate") as problems:
        wrong.check(problems)
    for name in ("model", "images", "steps", "guidance_scale", "image_size", "seed", "out"):
        assert f"{name}: " in str(caught.value)


def test_a_model_that_gives_nan_makes_no_image(plan: GenerationPlan) -> None:
    backbone = runner.load_backbone(plan)
    with torch.no_grad():
        backbone.unet.conv_out.bias[0] = torch.nan
    with pytest.raises(NotFiniteError, match=r"for 2 of 2; .*conv_out\.bias first"):
        make_images(plan, backbone=backbone)
    assert list(plan.out.rglob("*.png")) == []


def test_other_prompts_or_fewer_images_are_refused(plan: GenerationPlan) -> None:
    make_images(plan)
    before = {path: path.read_bytes() for path in plan.out.rglob("*") if path.is_file()}
    for other, count in (
        (dataclasses.replace(plan, prompts=PROMPTS[:1]), 5),
        (dataclasses.replace(plan, images=3), 4),
        (dataclasses.replace(plan, prompts=[Prompt("a chef", "people"), PROMPTS[1]]), 5),
    ):
        with pytest.raises(ConfigurationError, match=f"which holds {count} images of other prompts or numbers"):
            make_images(other)
    assert {path: path.read_bytes() for path in plan.out.rglob("*") if path.is_file()} == before
    assert make_images(dataclasses.replace(plan, images=6)) == 2  # more of them are made beside the others


def test_a_folder_removed_meanwhile_is_no_success(plan: GenerationPlan) -> None:
    removed: list[int] = []

    def remove_once(count: int) -> None:
        if not removed:
            shutil.rmtree(plan.out)
        removed.append(count)

    with pytest.raises(FileNotFoundError) as caught:
        make_images(plan, progress=remove_once)
    assert str(plan.out / "manifest.jsonl") in (surroundings_error(caught.value) or "")
    assert make_images(plan) == removed[0]
    assert len(read_manifest(plan.out)[0]) == 10


def test_an_image_cut_short_is_made_again(plan: GenerationPlan) -> None:
    plan = dataclasses.replace(plan, images=3)
    make_images(plan)
    files = [plan.out / image.file for image in plan.planned()[0]]
    whole = [file.read_bytes() for file in files]
    os.truncate(files[0], len(whole[0]) * 6 // 10)  # behind its text chunks
    files[1].write_bytes(b"")
    flipped = bytearray(whole[2])
    flipped[-30] ^= 1  # among the pixels
    files[2].write_bytes(flipped)
    assert make_images(plan) == 3
    assert [read_parameters(file) for file in files] == [image.parameters for image in plan.planned()[0]]
    assert make_images(plan) == 0
    assert files[0].read_bytes() == whole[0]


@pytest.mark.parametrize("kind", ["bomb", "text", "folder", "pipe"])
def test_what_is_no_image_of_ours_is_left_alone(plan: GenerationPlan, kind: str) -> None:
    plan = dataclasses.replace(plan, prompts=PROMPTS[:1], images=1)
    place = plan.out / plan.planned()[0][0].file
    place.parent.mkdir(parents=True)
    if kind == "bomb":
        header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
        chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
        body = [
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks
        ]
        place.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(body))
    elif kind == "text":
        place.write_text("notes")
    elif kind == "folder":
        place.mkdir()
    else:
        os.mkfifo(place)
    with pytest.raises(ConfigurationError, match="is not from fairlit generate; remove it"):
        make_images(plan)
    assert place.exists()
