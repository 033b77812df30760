#!/usr/bin/env bash
# lightning 2.6.6: `Trainer(fast_dev_run=True)` leaves checkpoints to nobody, but `ModelCheckpoint(save_last=True)` saves
# last.ckpt all the same when training ends, over the one of a finished run in the same folder.
#
# One expects what the documentation of fast_dev_run says (it disables checkpoint callbacks) and what ModelCheckpoint does
# without save_last, and in every hook but on_train_end: no file.
#
# Seen 2026-11-29, Python 3.11.7, output:
#   save_last=False: no file
#   save_last=True: last.ckpt of step 1 in the place of that of step 20
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'lightning==2.6.6' 'torch==2.15.0'
cd "$folder"
cat > run.py <<'PY'
import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.demos.boring_classes import BoringModel


def train(folder, save_last, **settings):
    callback = ModelCheckpoint(dirpath=folder, save_top_k=0, save_last=save_last, enable_version_counter=False)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    L.Trainer(callbacks=[callback], limit_val_batches=0, **quiet, **settings).fit(BoringModel())


for save_last in (False, True):
    folder = f"run_{save_last}"
    train(folder, save_last, max_steps=20)
    train(folder, save_last, fast_dev_run=True)
    try:
        step = torch.load(f"{folder}/last.ckpt", weights_only=False)["global_step"]
        print(f"save_last={save_last}: last.ckpt of step {step} in the place of that of step 20")
    except FileNotFoundError:
        print(f"save_last={save_last}: no file")
PY
found=$("$folder/venv/bin/python" run.py 2>/dev/null)
printf '%s\n' "$found"
expected='save_last=False: no file
save_last=True: last.ckpt of step 1 in the place of that of step 20'
[ "$found" = "$expected" ] || { echo "this has changed" >&2; exit 1; }
