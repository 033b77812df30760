#!/usr/bin/env bash
# diffusers 0.42.1: `Scheduler.from_config(config)` ignores values of the mapping for fields that the scheduler which the
# config came from had at its default, because `_use_default_values` inside the mapping lists them.
#
# One expects `{**scheduler.config, "clip_sample": False}` to give a scheduler that does not clip: the mapping says so.
# It clips, without a word, whenever the file of the first scheduler did not name the field. The same value given as a
# keyword is taken.
#
# Seen 2026-11-28, Python 3.11.7, output:
#   in the mapping: clip_sample True
#   as a keyword: clip_sample False
#   in the mapping, named by the first config: clip_sample False
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'diffusers==0.42.1' 'torch==2.15.0' 'transformers==5.23.0'
cd "$folder"
cat > run.py <<'PY'
from diffusers import DDIMScheduler, DDPMScheduler

betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
first = DDPMScheduler.from_config(betas)
named = DDPMScheduler.from_config({**betas, "clip_sample": True})
for how, scheduler in {
    "in the mapping": DDIMScheduler.from_config({**first.config, "clip_sample": False}),
    "as a keyword": DDIMScheduler.from_config(first.config, clip_sample=False),
    "in the mapping, named by the first config": DDIMScheduler.from_config({**named.config, "clip_sample": False}),
}.items():
    print(f"{how}: clip_sample {scheduler.config.clip_sample}")
PY
found=$("$folder/venv/bin/python" run.py 2>/dev/null)
printf '%s\n' "$found"
expected='in the mapping: clip_sample True
as a keyword: clip_sample False
in the mapping, named by the first config: clip_sample False'
[ "$found" = "$expected" ] || { echo "this has changed" >&2; exit 1; }
