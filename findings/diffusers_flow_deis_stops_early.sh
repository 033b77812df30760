#!/usr/bin/env bash
# diffusers 0.42.1: DEISMultistepScheduler and SASolverScheduler with `use_flow_sigmas` never make the last step of a flow
# model: a model that predicts the velocity exactly ends with 1 / steps of the noise in its sample.
#
# One expects what DPMSolverMultistepScheduler and UniPCMultistepScheduler do with the same settings: whatever the number
# of steps, a straight path is followed to its end (0.001 and 0 of the noise left).
#
# Seen 2026-11-28, Python 3.11.7, output:
#   DEISMultistepScheduler: 4 steps 0.251, 10 steps 0.101, 25 steps 0.041
#   SASolverScheduler: 4 steps 0.251, 10 steps 0.101, 25 steps 0.041
#   DPMSolverMultistepScheduler: 4 steps 0.001, 10 steps 0.001, 25 steps 0.001
#   UniPCMultistepScheduler: 4 steps 0.000, 10 steps 0.000, 25 steps 0.000
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'diffusers==0.42.1' 'torch==2.15.0' 'transformers==5.23.0' 'scipy==1.17.1'
cd "$folder"
cat > run.py <<'PY'
import diffusers
import torch

flow = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}
without_noise = {"tau_func": lambda timestep: 0.0}  # of SA-Solver, which adds fresh noise otherwise
for name in ("DEISMultistepScheduler", "SASolverScheduler", "DPMSolverMultistepScheduler", "UniPCMultistepScheduler"):
    left = []
    for steps in (4, 10, 25):
        scheduler = getattr(diffusers, name)(**flow, **(without_noise if name == "SASolverScheduler" else {}))
        scheduler.set_timesteps(steps)
        sample = velocity = torch.ones(1, 1, 1, 1)  # noise 1, picture 0: the velocity is 1 all the way
        for timestep in scheduler.timesteps:
            sample = scheduler.step(velocity, timestep, sample).prev_sample
        left.append(f"{steps} steps {abs(float(sample)):.3f}")
    print(f"{name}: {', '.join(left)}")
PY
found=$("$folder/venv/bin/python" run.py 2>/dev/null)
printf '%s\n' "$found"
expected='DEISMultistepScheduler: 4 steps 0.251, 10 steps 0.101, 25 steps 0.041
SASolverScheduler: 4 steps 0.251, 10 steps 0.101, 25 steps 0.041
DPMSolverMultistepScheduler: 4 steps 0.001, 10 steps 0.001, 25 steps 0.001
UniPCMultistepScheduler: 4 steps 0.000, 10 steps 0.000, 25 steps 0.000'
[ "$found" = "$expected" ] || { echo "this has changed" >&2; exit 1; }
