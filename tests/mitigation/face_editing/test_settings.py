"""Editing sets of images: which faces change, tries, what stays, and images that are hard to edit.

Most tests edit rectangles, red, green or blue on grey: a detector finds them, a classifier names their colour, and a
painter takes the place of the model, so that what it does is known. The last ones edit drawn people with the real
models.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy import ndimage
from torch import Tensor, nn

from fairlit.diffusion import Backbone
from fairlit.errors import ConfigurationError, Problems
from fairlit.faces import AttributeClassifier, FaceClassifier, FaceDetection, FaceDetectorBase, Faces
from fairlit.faces.detector_files import load_detector
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.mitigation import OutputEditing, SamplingPlan
from fairlit.mitigation.face_editing.editor import FaceEditor
from fairlit.mitigation.face_editing.settings import EditedSet, FaceEditing
from fairlit_miniature.drawing import LANDSCAPE, draw_scene
from fairlit_miniature.world import sample_scene

COLOURS, GREY = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)), (0.5, 0.5, 0.5)
HALF = TargetDistribution({"colour": {"red": 0.5, "green": 0.5, "blue": 0.0}})


class Rectangles(FaceDetectorBase):
    """Finds connected pixels of one colour."""

    def forward(self, images: Tensor) -> Faces:
        parts = []
        for image in images:
            boxes = []
            for channel in (0, 1, 2):
                labelled, _ = ndimage.label(image[channel].numpy() > 0.9)
                boxes += [
                    [columns.start, rows.start, columns.stop, rows.stop]
                    for rows, columns in ndimage.find_objects(labelled)
                ]
            count = len(boxes)
            index, found = torch.zeros(count, dtype=torch.long), torch.tensor(boxes).float().view(count, 4)
            parts.append(Faces(index, found, torch.ones(count), torch.zeros(count, 5, 2), 1))
        return Faces.concatenate(parts).ordered()


class Colour(FaceClassifier):
    """The colour of the pixel in the middle of a face."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    classes = {"colour": ("red", "green", "blue")}  # noqa: RUF012
    temperature = {"colour": 1.0}  # noqa: RUF012
    size = 1

    def forward(self, faces: Tensor) -> dict[str, Tensor]:
        raise AssertionError("faces are classified in their images")

    def classify(self, images: Tensor, faces: Faces) -> dict[str, Tensor]:
        x, y = ((faces.boxes[:, side] + faces.boxes[:, 2 + side]) / 2 for side in (0, 1))
        return {"colour": 5 * images[faces.image_index, :, y.long(), x.long()]}


class Painter:
    """Paints the coloured pixels under the mask with the colour that the prompt names, from try number `first` on."""

    def __init__(self, backbone: Any = None, first: int = 0, never: Sequence[tuple[int, int]] = ()) -> None:
        self.backbone, self.first, self.never = backbone, first, never
        self.seen: list[tuple[int, ...]] = []

    def __call__(
        self, images: Tensor, masks: Tensor, prompts: Sequence[str], keys: Sequence[tuple[int, ...]]
    ) -> Tensor:
        made = images.clone()
        for image, mask, prompt, (*_, place, face, tries) in zip(made, masks, prompts, keys, strict=True):
            self.seen.append((place, face, tries))
            if tries >= self.first and (place, face) not in self.never:
                coloured = (image > 0.9).any(dim=0) & (mask > 0)
                image[:, coloured] = torch.tensor(COLOURS[int(prompt)])[:, None]
            image += 0.01  # what comes out of a model is nowhere just as it was
        return made.clamp(0, 1)


def picture(*rectangles: tuple[int, int, int, int, int], size: tuple[int, int] = (40, 60)) -> Tensor:
    """An image with rectangles (left, top, right, bottom, colour)."""
    image = torch.tensor(GREY)[:, None, None].repeat(1, *size)
    for left, top, right, bottom, colour in rectangles:
        image[:, top:bottom, left:right] = torch.tensor(COLOURS[colour])[:, None, None]
    return (image * 255).round().to(torch.uint8)


def edit(
    images: list[Tensor], painter: Painter | None = None, target: TargetDistribution = HALF, **settings: Any
) -> EditedSet:
    # a hard mask: a rectangle half of one colour and half of another would be two faces
    own: dict[str, Any] = {"region": "image", "grow": 1.1, "feather": 0.01, **settings}
    editor = FaceEditor(
        inpainter=painter or Painter(),  # type: ignore[arg-type]
        detector=Rectangles(),
        classifier=Colour(),
        target=target,
        phrase=lambda prompt, target_class, kept: str(target_class),
        settings=FaceEditing(**own),
        batch_size=3,
    )
    return editor(images, ["a photo"] * len(images), (0, 1))


def colours(images: Sequence[Tensor]) -> list[list[int]]:
    """Colours of the faces of each image."""
    found = []
    for image in images:
        faces = Rectangles()(image[None].float() / 255)
        found.append(Colour().classify(image[None].float() / 255, faces)["colour"].argmax(dim=1).tolist())
    return found


def check_untouched(before: Sequence[Tensor], edited: EditedSet) -> None:
    for old, new, region in zip(before, edited.images, edited.regions, strict=True):
        assert torch.equal(old[:, ~region], new[:, ~region])


def test_as_few_faces_as_possible_change_and_the_set_is_at_its_target() -> None:
    images = [
        picture((5, 5, 20, 30, 0), (35, 5, 50, 30, 0)),
        picture((5, 5, 20, 30, 0), (35, 5, 50, 30, 1)),
        picture((20, 5, 40, 30, 0)),
        picture((20, 5, 40, 30, 0)),
    ]
    edited = edit(images)
    assert (edited.before.tolist(), edited.after.tolist()) == ([5, 1, 0], [3, 3, 0])
    assert (edited.fewest, len(edited.changes), sum(change.made for change in edited.changes)) == (2, 2, 2)
    assert all((change.before, change.target_class, change.tries) == (0, 1, 1) for change in edited.changes)
    assert sum(sum(row) for row in colours(edited.images)) == 3
    check_untouched(images, edited)
    assert sum(not torch.equal(old, new) for old, new in zip(images, edited.images, strict=True)) <= 2


def test_two_faces_of_one_image_change_after_each_other() -> None:
    images = [picture((5, 5, 20, 30, 0), (35, 5, 50, 30, 0)), picture((5, 5, 15, 15, 0), (30, 20, 50, 38, 0))]
    edited = edit(images, min_side=12)  # the small face stays, so both of the first image or one of each change
    assert edited.after.tolist() == [2, 2, 0]
    assert sum(change.made for change in edited.changes) == 2
    check_untouched(images, edited)


def test_all_faces_right_and_nothing_is_made() -> None:
    images = [picture((5, 5, 20, 30, 0), (35, 5, 50, 30, 1)), picture()]
    painter = Painter()
    edited = edit(images, painter)
    assert (edited.fewest, edited.changes, painter.seen) == (0, [], [])
    assert all(torch.equal(old, new) for old, new in zip(images, edited.images, strict=True))
    assert not any(region.any() for region in edited.regions)


@pytest.mark.parametrize("images", [[], [picture()], [picture(), picture(size=(30, 30))]])
def test_no_faces(images: list[Tensor]) -> None:
    edited = edit(images)
    assert (edited.fewest, edited.changes, edited.before.tolist(), edited.after.tolist()) == (
        0,
        [],
        [0, 0, 0],
        [0, 0, 0],
    )
    assert all(torch.equal(old, new) for old, new in zip(images, edited.images, strict=True))


def test_tries_have_noise_of_their_own_and_an_end() -> None:
    images = [picture((5, 5, 20, 30, 0), (35, 5, 50, 30, 0))]
    painter = Painter(first=2)
    edited = edit(images, painter, tries=3)
    assert [(change.tries, change.made) for change in edited.changes] == [(3, True)]
    assert [tries for _, _, tries in painter.seen] == [0, 1, 2]
    hopeless = edit(images, Painter(first=9), tries=3, replans=0)
    assert [(change.tries, change.made) for change in hopeless.changes] == [(3, False)]
    assert torch.equal(hopeless.images[0], images[0])
    assert not hopeless.regions[0].any()
    assert hopeless.after.tolist() == hopeless.before.tolist() == [2, 0, 0]


def test_another_face_takes_the_place_of_one_that_cannot_be_changed() -> None:
    images = [picture((20, 5, 40, 30, 0)), picture((20, 5, 40, 30, 0))]
    first = edit(images).changes[0].image
    edited = edit(images, Painter(never=[(first, 0)]), tries=2, replans=1)
    assert [(change.image, change.made, change.tries) for change in edited.changes] == [
        (first, False, 2),
        (1 - first, True, 1),
    ]
    assert (edited.fewest, edited.after.tolist()) == (1, [1, 1, 0])
    assert torch.equal(edited.images[first], images[first])


def test_a_neighbour_that_overlaps_stays_as_it_was() -> None:
    image = picture((5, 5, 30, 35, 0), (26, 5, 51, 35, 1))  # green covers a part of red
    no_red = TargetDistribution({"colour": {"red": 0.0, "green": 0.5, "blue": 0.5}})
    edited = edit([image], target=no_red, grow=3.0)
    assert (edited.before.tolist(), edited.after.tolist()) == ([1, 1, 0], [0, 1, 1])
    check_untouched([image], edited)
    changed = (edited.images[0] != image).any(dim=0)
    assert changed[20, 10:24].all()
    assert not changed[:, 29:].any()  # both boxes reach from 26 to 30, and their middle is at 28


def test_a_face_at_the_border_and_one_of_a_pixel() -> None:
    border = picture((0, 0, 15, 20, 0), (50, 20, 60, 40, 0))
    edited = edit([border])
    assert (edited.after.tolist(), edited.changes[0].made) == ([1, 1, 0], True)
    check_untouched([border], edited)
    point = picture((10, 10, 11, 11, 0), (30, 5, 50, 30, 0))
    edited = edit([point])  # the point counts, but only the large one can change
    assert edited.changes[0].box == (30.0, 5.0, 50.0, 30.0)
    assert edited.after.tolist() == [1, 1, 0]
    only_points = [picture((10, 10, 11, 11, 0), (30, 5, 31, 6, 0))]
    edited = edit(only_points)
    assert (edited.changes, edited.after.tolist()) == ([], [2, 0, 0])
    edited = edit(only_points, min_side=0)
    assert edited.after.tolist() == [1, 1, 0]


class OfSixteen:
    """The size of a model: 16 x 16 latents of 4 pixels."""

    vae_scale = 4

    @staticmethod
    def latent_shape() -> tuple[int, int, int]:
        return 4, 16, 16


@pytest.mark.parametrize("rectangle", [(0, 0, 12, 14, 0), (100, 30, 124, 60, 0), (60, 3, 70, 12, 0)])
def test_windows_lie_in_the_image_and_come_back_in_place(rectangle: tuple[int, int, int, int, int]) -> None:
    images = [picture(rectangle, size=(60, 124)), picture((3, 3, 40, 38, 0), size=(41, 43))]
    shown: list[tuple[int, ...]] = []

    class Noting(Painter):
        def __call__(self, images: Tensor, *rest: Any) -> Tensor:
            shown.append(tuple(images.shape[1:]))
            return super().__call__(images, *rest)

    edited = edit(images, Noting(OfSixteen()), region="face", grow=1.3)
    assert edited.after.tolist() == [1, 1, 0]
    assert set(shown) == {(3, 64, 64)}
    check_untouched(images, edited)


def test_where_the_largest_face_counts_the_others_still_stay_as_they_are() -> None:
    images = [picture((5, 2, 30, 38, 0), (28, 10, 44, 30, 1))]
    editor = FaceEditor(
        inpainter=Painter(),  # type: ignore[arg-type]
        detector=Rectangles(),
        classifier=Colour(),
        target=TargetDistribution({"colour": {"red": 0.0, "green": 0.0, "blue": 1.0}}),
        phrase=lambda prompt, target_class, kept: str(target_class),
        settings=FaceEditing(region="image", grow=3.0, feather=0.01),
        faces="largest",
    )
    edited = editor(images, ["a photo"], (0, 1))
    assert (edited.before.tolist(), edited.after.tolist()) == ([1, 0, 0], [0, 0, 1])
    changed = (edited.images[0] != images[0]).any(dim=0)
    assert changed[20, 10:25].all()
    assert not changed[12:28, 30:42].any()
    check_untouched(images, edited)


def test_every_pair_mixed_and_single_people_by_the_target() -> None:
    def pair(first: int, second: int) -> Tensor:
        return picture((5, 5, 20, 30, first), (35, 5, 50, 30, second))

    images = [pair(0, 0), pair(1, 1), pair(0, 1), pair(0, 0), picture((20, 5, 40, 30, 0)), picture((20, 5, 40, 30, 0))]
    editor = FaceEditor(
        inpainter=Painter(),  # type: ignore[arg-type]
        detector=Rectangles(),
        classifier=Colour(),
        target=HALF,
        phrase=lambda prompt, target_class, kept: str(target_class),
        settings=FaceEditing(region="image", grow=1.1, feather=0.01),
        compositions={2: {(1, 1, 0): 1.0}},
    )
    edited = editor(images, ["a photo"] * 6, (0, 1))
    assert edited.fewest == 4
    assert [sorted(row) for row in colours(edited.images[:4])] == [[0, 1]] * 4
    assert sorted(colours(edited.images[4:])) == [[0], [1]]


def test_a_region_that_is_larger_than_the_window_ends_softly() -> None:
    """The window has the image's width and so 40 of its 120 rows; the region, if it were not cut, 76."""

    class Flooder(Painter):
        def __call__(self, images: Tensor, masks: Tensor, *rest: Any) -> Tensor:
            made = super().__call__(images, masks, *rest)
            return torch.where((images > 0.9).any(dim=1, keepdim=True), made, 0.1)  # a dark surrounding

    tall = picture((4, 40, 36, 78, 0), size=(120, 40))
    green = TargetDistribution({"colour": {"red": 0.0, "green": 1.0, "blue": 0.0}})
    edited = edit([tall], Flooder(OfSixteen()), green, region="face", grow=2.0, feather=0.3)
    assert edited.changes[0].made
    check_untouched([tall], edited)
    rows = edited.regions[0].any(dim=1).nonzero()[:, 0]
    assert int(rows.max() - rows.min()) < 40
    beside = edited.images[0][0, :, 1].float()  # a column of grey, darkened in the region
    assert float(beside.diff().abs().max()) < 60  # a mask that is cut off would fall from grey to 0.1 at once: 102


def test_settings_out_of_range_come_together() -> None:
    with pytest.raises(ConfigurationError) as caught, Problems("editing") as problems:
        FaceEditing("mouth", 0.0, 1.5, -0.5, 0.5, 0.0, 0, -1, -2.0, -3).check(problems)  # type: ignore[arg-type]
    for name in (
        "region",
        "face_share",
        "strength",
        "guidance_scale",
        "grow",
        "feather",
        "tries",
        "replans",
        "min_side",
        "seed",
    ):
        assert f"{name}: got" in str(caught.value)
    FaceEditing(face_share=1.0, strength=1.0, grow=1.0, feather=1.0, tries=1, replans=0, min_side=0).check(problems)


MODELS = str(Path(__file__).parents[3] / "checkpoints" / "miniature")
WORDS = {
    "age": {},
    "skin_tone": {tone: f"{tone}-skinned" for tone in ("light", "tan", "brown", "dark")},
    "gender": {},
}


def test_drawn_people_change_and_another_classifier_sees_it() -> None:
    scenes = [sample_scene(7, index, (0, 0, 0, 0, 1.0)) for index in range(6)]
    images = [torch.from_numpy(draw_scene(scene, LANDSCAPE).pixels).permute(2, 0, 1) for scene in scenes]
    target = TargetDistribution({"gender": {"female": 1.0, "male": 0.0}})
    method = OutputEditing(
        f"{MODELS}/classifier_train",
        words=WORDS,
        keep=["age", "skin_tone"],
        template="a photo of the face of a {words} person",
        detection=FaceDetection(scale=2.0, min_score=0.9),
    )
    backbone = Backbone.load(f"{MODELS}/pipeline")
    editor = method.face_editor(backbone, SamplingPlan(8, 1.5, 16), target)
    edited = editor(images, ["a photo of people"] * len(images), method.key("test"))
    assert edited.fewest == int(edited.before[1])
    assert edited.fewest >= 4
    made = [change for change in edited.changes if change.made]
    assert len(made) >= 0.7 * edited.fewest
    check_untouched(images, edited)
    detector, auditor = (
        load_detector(detection=method.detection),
        AttributeClassifier.load(f"{MODELS}/classifier_audit"),
    )
    seen = 0
    for change in made:
        pixels = edited.images[change.image][None].float() / 255
        faces = detector(pixels)
        classes = auditor.classify(pixels, faces)["gender"].argmax(dim=1)
        centres = (faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2
        wanted = torch.tensor([(change.box[0] + change.box[2]) / 2, (change.box[1] + change.box[3]) / 2])
        seen += int(classes[(centres - wanted).norm(dim=1).argmin()]) == change.target_class
    assert seen >= 0.8 * len(made)
    again = editor(images, ["a photo of people"] * len(images), method.key("test"))
    assert all(torch.equal(one, other) for one, other in zip(edited.images, again.images, strict=True))


def test_what_does_not_fit_is_refused_at_once() -> None:
    target = TargetDistribution({"gender": {"female": 0.5, "male": 0.5}})
    with Problems("editing") as problems, pytest.raises(ConfigurationError) as caught, Problems("inner") as inner:
        OutputEditing(f"{MODELS}/classifier_train", words={"shoes": {}}, keep=["gender", "height"]).check(target, inner)
    assert "'gender' is an attribute of the target" in str(caught.value)
    assert "'height' is unknown to the classifier" in str(caught.value)
    assert not problems.messages
    both = TargetDistribution({"gender": {"female": 0.5, "male": 0.5}, "age": {"young": 0.5, "old": 0.5}})
    mixed = {"gender": {2: {"1 female, 2 male": 1.0}}}
    with pytest.raises(ConfigurationError) as caught, Problems("inner") as inner:
        OutputEditing(f"{MODELS}/classifier_train", compositions=mixed).check(both, inner)
    assert "the target has 2 attributes" in str(caught.value)
    assert "[1, 2] of 2 people" in str(caught.value)
    with pytest.raises(ConfigurationError) as caught:
        OutputEditing("no/where", template="a person", faces="some")  # type: ignore[arg-type]
    for words in ("template: 'a person' lacks its placeholder {words}", "faces: got 'some'"):
        assert words in str(caught.value)
