"""What is remembered of reference images, and when it is not believed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from fairlit.faces import Faces
from fairlit.faces.observation import Observation
from fairlit.training.finetuning.objective import ReferenceDescription
from fairlit.training.finetuning.reference_cache import ReferenceCache, fingerprint

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


@pytest.mark.parametrize("part", ["features", "embeddings"])
def test_what_is_not_finite_is_not_kept(tmp_path: Path, part: str) -> None:
    cache, broken = ReferenceCache(tmp_path, "models"), description()
    tensor = broken.embeddings if part == "embeddings" else broken.features["clip"]
    assert tensor is not None
    tensor[0, 0] = torch.nan
    cache.save(KEY, broken)
    assert cache.load(KEY, CPU) is None
    assert (cache.missed, cache.damaged) == (1, 0)
