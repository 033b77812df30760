#!/usr/bin/env bash
# jsonargparse 4.53.0: `null` on the command line sets an optional setting to None, but two levels below a class that is
# chosen by path it becomes the text 'None' where the setting may be a str, and is refused where it may be an int.
#
# One expects a setting `name: str | None` to read `null` alike wherever it stands: as an argument of the class itself it
# does, and a config file does right on both levels. The difference is silent: a path of 'None' is looked for later.
#
# Seen 2026-11-29, Python 3.11.7, output:
#   --model.init_args.name null -> None
#   --model.init_args.parts.name null -> 'None'
#   --model.init_args.parts.number null -> refused
#   in a config file, both levels -> None None None
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'jsonargparse[signatures]==4.53.0'
cd "$folder"
cat > run.py <<'PY'
import contextlib
import io
from dataclasses import dataclass

from jsonargparse import ArgumentParser


@dataclass
class Parts:
    name: str | None = "given"
    number: int | None = 3


class Model:
    def __init__(self, name: str | None = "given", parts: Parts = Parts()):
        self.name, self.parts = name, parts


parser = ArgumentParser()
parser.add_argument("--config", action="config")
parser.add_subclass_arguments(Model, "model")
for option in ("name", "parts.name", "parts.number"):
    argument = f"--model.init_args.{option}"
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            chosen = parser.parse_args(["--model", "Model", argument, "null"]).model.init_args
        found = repr(chosen.name if option == "name" else chosen.parts[option.removeprefix("parts.")])
    except SystemExit:
        found = "refused"
    print(f"{argument} null -> {found}")
with open("config.yaml", "w") as file:
    file.write("model: {class_path: Model, init_args: {name: null, parts: {name: null, number: null}}}")
chosen = parser.parse_args(["--config", "config.yaml"]).model.init_args
print("in a config file, both levels ->", chosen.name, chosen.parts.name, chosen.parts.number)
PY
found=$("$folder/venv/bin/python" run.py)
printf '%s\n' "$found"
expected="--model.init_args.name null -> None
--model.init_args.parts.name null -> 'None'
--model.init_args.parts.number null -> refused
in a config file, both levels -> None None None"
[ "$found" = "$expected" ] || { echo "this has changed" >&2; exit 1; }
