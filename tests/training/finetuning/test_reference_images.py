"""What is remembered of original images, and when it is not believed."""

from __future__ import annotations

from pathlib import Path

import lightning as L
import pytest
import torch
from finetuning import finetuner, prompts, trainer
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fairlit.adaptors import Lora, SoftTokens
from fairlit.diffusion import Conditioning
from fairlit.faces import Faces
from fairlit.faces.observation import Observation
from fairlit.training import FairFinetuner, ReferenceImages
from fairlit.training.finetuning.objective import ReferenceDescription
from fairlit.training.finetuning.reference_cache import ReferenceCache, fingerprint
from fairlit.training.finetuning.step_draws import pooled_keys

KEY = {"prompt": "a doctor", "noise": [[0, 5, 1, 0], [0, 5, 1, 1]], "steps": 4}
CPU = torch.device("cpu")


def description(embeddings: bool = True) -> ReferenceDescription:
    faces = Faces(
        torch.tensor([1]), torch.tensor([[1.0, 2.0, 8.0, 9.0]]), torch.tensor([0.9]), torch.rand(1, 5, 2), num_images=2
    )
    observation = Observation(faces, {"gender": torch.tensor([[0.3, 0.7]])})
    return ReferenceDescription(observation, {"clip": torch.rand(2, 4)}, torch.rand(1, 3) if embeddings else None)


@pytest.mark.parametrize("embeddings", [True, False])
def test_what_is_saved_is_found(tmp_path: Path, embeddings: bool) -> None:
    cache, kept = ReferenceCache(tmp_path, "models"), description(embeddings)
    assert cache.load(KEY, CPU) is None
    cache.save(KEY, kept)
    found = cache.load(KEY, CPU)
    assert found is not None
    for name in ("image_index", "boxes", "scores", "landmarks"):
        assert torch.equal(getattr(found.observation.faces, name), getattr(kept.observation.faces, name))
    assert found.observation.faces.num_images == 2
    assert torch.equal(found.observation.probabilities["gender"], kept.observation.probabilities["gender"])
    assert torch.equal(found.features["clip"], kept.features["clip"])
    assert (found.embeddings is None) == (not embeddings)
    assert (cache.found, cache.missed, cache.damaged) == (1, 1, 0)
    assert cache.share_found == 0.5


@pytest.mark.parametrize("change", [{"prompt": "a nurse"}, {"steps": 5}, {"noise": [[0, 5, 2, 0], [0, 5, 2, 1]]}])
def test_another_key_is_another_description(tmp_path: Path, change: dict[str, object]) -> None:
    cache = ReferenceCache(tmp_path, "models")
    cache.save(KEY, description())
    assert cache.load(KEY | change, CPU) is None
    assert ReferenceCache(tmp_path, "other models").load(KEY, CPU) is None


@pytest.mark.parametrize("damage", ["cut", "changed", "swapped", "empty"])
def test_damaged_files_are_made_anew(tmp_path: Path, damage: str) -> None:
    cache = ReferenceCache(tmp_path, "models")
    cache.save(KEY, description())
    [path] = tmp_path.glob("*/*.safetensors")
    content = path.read_bytes()
    if damage == "cut":
        path.write_bytes(content[:-7])
    elif damage == "changed":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "empty":
        save_file(load_file(path), path)  # the same tensors, and nothing that says whose
    else:
        other = KEY | {"steps": 9}
        cache.save(other, description())
        [second] = [file for file in tmp_path.glob("*/*.safetensors") if file != path]
        second.replace(path)
    assert cache.load(KEY, CPU) is None
    assert cache.damaged == 1
    cache.save(KEY, description())
    assert cache.load(KEY, CPU) is not None


def test_fingerprint_changes_with_weights_and_settings() -> None:
    module = nn.Linear(2, 2).requires_grad_(False)
    before = fingerprint([module], {"guidance": 7.5})
    assert fingerprint([module], {"guidance": 7.5}) == before
    assert fingerprint([module], {"guidance": 7.0}) != before
    module.weight[0, 0] += 1e-3
    assert fingerprint([module], {"guidance": 7.5}) != before
    module.weight.requires_grad_()  # what is trained is no part of the original
    trained = fingerprint([module], {})
    module.weight.data += 1
    assert fingerprint([module], {}) == trained


def test_a_pool_has_as_many_sets_of_noise_as_it_says() -> None:
    keys = [(0, 0, 17, image) for image in range(3)]
    drawn = [pooled_keys(keys, 4, (0, 5), index) for index in range(200)]
    names = {name for name, _ in drawn}
    assert len(names) == 4
    for name, pooled in drawn:
        assert pooled == [(*name, image) for image in range(3)]


class Steps(L.Callback):
    """Gradients and losses of every step."""

    def __init__(self) -> None:
        self.gradients: list[Tensor] = []
        self.found: list[float] = []

    def on_before_optimizer_step(self, trainer: L.Trainer, module: FairFinetuner, optimizer: object) -> None:  # type: ignore[override]
        kept = [parameter.grad for parameter in module.adaptor.parameters().values()]
        self.gradients.append(torch.cat([gradient.flatten() for gradient in kept if gradient is not None]))

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.found.append(float(trainer.callback_metrics["originals/found"]))


def steps_of(folder: Path, **settings: object) -> tuple[list[Tensor], FairFinetuner, Steps]:
    seen = Steps()
    module = finetuner(reference_images=ReferenceImages(**settings), ema_decay=None)  # type: ignore[arg-type]
    callbacks = [seen] if settings.get("cache") else [_only_gradients(seen)]
    run = trainer(folder, max_steps=2, callbacks=callbacks)
    run.fit(module, datamodule=prompts(images_per_prompt=4))
    return seen.gradients, module, seen


def _only_gradients(seen: Steps) -> L.Callback:
    seen.on_train_end = lambda *args: None  # type: ignore[method-assign]
    return seen


def test_remembered_references_train_alike(tmp_path: Path) -> None:
    """Without a cache, with an empty one, and with a full one that holds one damaged file."""
    plain, _, _ = steps_of(tmp_path, noise_pool=2, cache=None)
    first, module, _ = steps_of(tmp_path, noise_pool=2, cache=str(tmp_path / "originals"))
    assert module.references.cache is not None
    assert module.references.cache.missed == 2
    files = sorted((tmp_path / "originals").glob("*/*.safetensors"))
    assert len(files) == 2
    files[0].write_bytes(b"nonsense")
    again, module, seen = steps_of(tmp_path, noise_pool=2, cache=str(tmp_path / "originals"))
    assert (module.references.cache.found, module.references.cache.damaged) == (1, 1)
    assert seen.found == [0.5]
    for expected, new, remembered in zip(plain, first, again, strict=True):
        assert (new - expected).norm() / expected.norm() < 1e-4
        assert (remembered - expected).norm() / expected.norm() < 1e-4


@pytest.mark.parametrize(
    ("adaptor", "joined"),
    [(Lora(rank=2), True), (Lora(rank=2, unet=True), False), (SoftTokens(count=2), False)],
    ids=["text encoder", "unet", "soft tokens"],
)
def test_one_batch_for_both_where_weights_and_lengths_agree(adaptor: Lora | SoftTokens, joined: bool) -> None:
    module = finetuner(adaptor)
    module.configure_model()
    sampler = module.sampler
    generator = torch.Generator().manual_seed(0)
    for parameter in adaptor.parameters().values():
        parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator)
    noise = sampler.noise([(0, 1), (0, 2), (0, 3)])
    new = sampler.conditioning("a photo of a doctor", 3)
    old = sampler.original_conditioning("a photo of a doctor", 3)
    calls: list[int] = []
    module.backbone.register_forward_pre_hook(lambda _, inputs: calls.append(len(inputs[0])))
    together = sampler.sample(3, noise, new, references=old, together=True)
    count = len(calls)
    apart = sampler.sample(3, noise, new, references=old, together=False)
    assert count == (3 if joined else 6)
    assert len(calls) - count == 6
    assert together.references is not None
    assert apart.references is not None
    torch.testing.assert_close(together.latents, apart.latents, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(together.references, apart.references, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(together.latents, together.references, atol=1e-3)
    assert together.rollout is not None
    torch.testing.assert_close(together.rollout.states[0], noise)


def test_joined_conditionings_keep_their_own_unconditional_prompts() -> None:
    first = Conditioning.of_one_prompt(torch.zeros(2, 3, 4), 2)
    second = Conditioning.of_one_prompt(torch.ones(2, 3, 4), 1)
    both = Conditioning.join(first, second)
    assert both.embeddings[both.rows].mean(dim=(1, 2)).tolist() == [0, 0, 1]
    assert both.embeddings[both.unconditional].mean(dim=(1, 2)).tolist() == [0, 0, 1]
    assert both.rows.tolist() == [1, 1, 3]
    assert both.unconditional.tolist() == [0, 0, 2]
