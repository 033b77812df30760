"""Which captions are true of which pictures, by hand and for scenes as they are drawn."""

from __future__ import annotations

import torch

from fairlit_miniature.caption_truth import CaptionTruth
from fairlit_miniature.occupations import OCCUPATIONS
from fairlit_miniature.world import ATTRIBUTES, Scene, caption, sample_scene

WOMAN = {"gender": "female", "skin_tone": "dark", "age": "young"}
MAN = {"gender": "male", "skin_tone": "dark", "age": "old"}


def test_captions_are_true_of_pictures_that_show_what_they_name() -> None:
    doctor, nurse = OCCUPATIONS[:2]
    people = [(doctor, WOMAN), (doctor, MAN), (nurse, WOMAN)]
    named = [{"gender": "female"}, {}, {"skin_tone": "dark"}]
    scenes = [
        Scene("occupations", job, (person,), words, "", caption("occupations", job, words), number)
        for number, ((job, person), words) in enumerate(zip(people, named, strict=True))
    ]
    truth = CaptionTruth.of(scenes)
    own = truth.matches(torch.arange(3), torch.zeros(3, dtype=torch.long))
    # "a female doctor", "a doctor", "a dark-skinned nurse"
    assert own.tolist() == [[True, True, False], [False, True, False], [False, False, True]]


def test_people_alone_are_told_by_their_attributes() -> None:
    """The third caption of a picture says no occupation, so it is true of all who look so."""
    scenes = [sample_scene(3, index) for index in range(400)]
    truth = CaptionTruth.of(scenes)
    kinds = torch.full((400,), 2)
    matches = truth.matches(torch.arange(400), kinds)
    assert matches.diagonal().all()
    for column in range(0, 400, 37):
        words = {
            name: classes[int(truth.named[2, column, place])]
            for place, (name, classes) in enumerate(ATTRIBUTES.items())
            if truth.named[2, column, place] >= 0
        }
        for row, scene in enumerate(scenes):
            as_many = len(scene.people) == len(scenes[column].people)
            holds = all(person[name] == label for person in scene.people for name, label in words.items())
            assert bool(matches[row, column]) == (as_many and holds)


def test_a_picture_is_called_what_it_is_by_all_its_captions() -> None:
    truth = CaptionTruth.of([sample_scene(5, index) for index in range(200)])
    for kind in range(3):
        assert truth.matches(torch.arange(200), torch.full((200,), kind)).diagonal().all()
