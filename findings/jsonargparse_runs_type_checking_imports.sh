#!/usr/bin/env bash
# jsonargparse 4.53.0: building a parser for a class whose annotations are postponed runs every import below
# `if TYPE_CHECKING:` in the module of that class, also of types that its constructor never mentions.
#
# One expects such imports to cost nothing at run time: that is what TYPE_CHECKING is for. A settings class that names
# a model class in the return type of a method alone thereby imports torch and its like as soon as `--help` is built.
# Without `from __future__ import annotations` (and with that one return type in quotes) nothing is imported.
#
# Seen 2026-11-28, Python 3.11.7, output:
#   postponed: heavy imported when the parser was built
#   evaluated: heavy not imported
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'jsonargparse[signatures]==4.53.0'
cd "$folder"
echo 'class Model: ...' > heavy.py
cat > postponed.py <<'PY'
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from heavy import Model


@dataclass
class Settings:
    steps: int = 30

    def build(self) -> Model: ...
PY
sed -e '1,2d' -e 's/-> Model/-> "Model"/' postponed.py > evaluated.py
cat > run.py <<'PY'
import importlib
import sys

from jsonargparse import ArgumentParser

name = sys.argv[1]
settings = importlib.import_module(name).Settings
assert "heavy" not in sys.modules, "the settings module itself imports nothing heavy"
parser = ArgumentParser()
parser.add_class_arguments(settings)
print(f"{name}: heavy {'imported when the parser was built' if 'heavy' in sys.modules else 'not imported'}")
PY
found=$("$folder/venv/bin/python" run.py postponed; "$folder/venv/bin/python" run.py evaluated)
printf '%s\n' "$found"
expected='postponed: heavy imported when the parser was built
evaluated: heavy not imported'
[ "$found" = "$expected" ] || { echo "this has changed" >&2; exit 1; }
