from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import CLIPTokenizer

from fairlit_miniature.models import MAX_TOKENS
from fairlit_miniature.tokenizing import build_tokenizer, byte_characters, learn_merges
from fairlit_miniature.world import sample_scene, vocabulary

TOKENIZER = build_tokenizer()
SOFT_TOKENS = 6


def test_bytes_have_256_different_characters() -> None:
    assert len(set(byte_characters())) == 256


def test_every_word_is_one_token() -> None:
    for word in vocabulary():
        assert len(TOKENIZER.tokenize(word)) == 1, word


def test_every_caption_fits_with_soft_tokens_and_has_no_unknown_token() -> None:
    for index in range(2000):
        caption = sample_scene(0, index).caption
        ids = TOKENIZER(caption).input_ids
        assert len(ids) <= MAX_TOKENS - SOFT_TOKENS
        assert TOKENIZER.eos_token_id not in ids[1:-1]  # the unknown token is the end token
        assert ids[0] == TOKENIZER.bos_token_id
        assert TOKENIZER.decode(ids[1:-1]).replace(" ", "") == caption.replace(" ", "")


@given(st.text(max_size=20))
@settings(max_examples=60, deadline=None)
def test_any_text_tokenises(text: str) -> None:
    ids = TOKENIZER(text).input_ids
    assert ids[0] == TOKENIZER.bos_token_id
    assert ids[-1] == TOKENIZER.eos_token_id
    if "<|" not in text:
        assert TOKENIZER.eos_token_id not in ids[:-1]


@given(st.lists(st.text(alphabet="abc", min_size=1, max_size=6), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_merges_make_every_word_whole(words: list[str]) -> None:
    merges = learn_merges(words)
    assert learn_merges(words) == merges
    for word in words:
        parts = [*word[:-1], word[-1] + "</w>"]
        for pair in merges:  # apply in order, the definition of BPE
            position = 0
            while position + 1 < len(parts):
                if (parts[position], parts[position + 1]) == pair:
                    parts[position : position + 2] = ["".join(pair)]
                position += 1
        assert parts == [word + "</w>"]


def test_saved_tokenizer_is_the_same(tmp_path: Path) -> None:
    TOKENIZER.save_pretrained(tmp_path)
    again = CLIPTokenizer.from_pretrained(tmp_path)
    text = "a photo of the face of a dark-skinned female astronaut, a person; xyz 12"
    assert again(text).input_ids == TOKENIZER(text).input_ids
    assert again.model_max_length == MAX_TOKENS
