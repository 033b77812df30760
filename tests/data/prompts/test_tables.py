from __future__ import annotations

import logging
from pathlib import Path

import pytest

from fairlit.data.prompts.sources import read_prompts
from fairlit.data.prompts.tables import read_table
from fairlit.errors import ConfigurationError

WANTED = ["a photo of a doctor", "a photo of a nurse, smiling"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.csv", 'case_number,prompt,seed\n0,a photo of a doctor,12\n\n1,"a photo of a nurse, smiling",13\n'),
        ("bom.csv", '\ufeffprompt,seed\r\na photo of a doctor,12\r\n"a photo of a nurse, smiling",13\r\n'),
        ("excel.csv", "seed;Prompt\n1;a photo of a doctor\n2;a photo of a nurse, smiling\n"),
        ("parti.tsv", "Prompt\tCategory\na photo of a doctor\tPeople\na photo of a nurse, smiling\tPeople\n"),
        ("p.jsonl", '{"prompt": "a photo of a doctor", "seed": 1}\n{"prompt": "a photo of a nurse, smiling"}\n'),
        ("texts.ndjson", '"a photo of a doctor"\n"a photo of a nurse, smiling"\n'),
        ("p.json", '[{"prompt": "a photo of a doctor"}, "a photo of a nurse, smiling"]'),
    ],
)
def test_prompts_are_read_by_their_name(tmp_path: Path, name: str, content: str) -> None:
    file = tmp_path / name
    file.write_bytes(content.encode())
    assert [(prompt.text, prompt.family) for prompt in read_prompts(file=str(file))] == [
        (text, file.stem) for text in WANTED
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "p.csv",
            "a photo of a doctor, smiling\na chef\n",
            "without a column `prompt`: 'a photo of a doctor, smiling'",
        ),
        ("p.csv", "prompt,seed\na photo of a nurse, smiling,13\n", "line 2: got 3 cells; expected 2"),
        ("p.csv", 'prompt,seed\n"a chef,1\n', "no CSV that can be read"),
        ("p.csv", "prompt,seed\n ,1\na chef,2\n", "line 2: got no prompt"),
        ("p.csv", "", "without a column `prompt`"),
        ("p.jsonl", '{"prompt": "a chef"}\n{"text": "a chef"}\n{"prompt": \n', "line 2, line 3: got no prompt"),
        ("p.jsonl", '{"prompt": ["a", "b"]}', "line 1: got no prompt"),
        ("p.json", '[{"caption": "a chef"}]', "entry 1: got no prompt"),
        ("p.json", '["a chef"', "no JSON that can be read"),
        ("p.json", "[]", "all are empty"),
        ("p.txt", "case_number,prompt,class\n0,a chef,chef\n", "rename it to p.csv"),
        ("p.txt", 'seed\tprompt\n1\t"a chef"\n', "rename it to p.tsv"),
        ("p.txt", '\n{"prompt": "a chef"}\n', "rename it to p.jsonl"),
    ],
)
def test_tables_without_clear_prompts_are_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ConfigurationError) as caught:
        read_prompts(file=str(tmp_path / name))
    assert message in str(caught.value)


def test_a_text_may_hold_a_comma_or_the_word_prompt(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("a nurse, smiling, prompt and kind\nprompt\n")
    assert [prompt.text for prompt in read_prompts(file=str(tmp_path / "p.txt"))] == [
        "a nurse, smiling, prompt and kind",
        "prompt",
    ]


def test_columns_that_are_not_used_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "p.csv").write_text("case_number,prompt,evaluation_seed\n0,a chef,12\n")
    with caplog.at_level(logging.INFO, logger="fairlit"):
        assert read_table(tmp_path / "p.csv") == ["a chef"]
    assert "not used: case_number, evaluation_seed" in caplog.text
