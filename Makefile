# Every target works on a bare machine with Python 3.11 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Some tests run two processes: OpenMP threads that spin for the same cores are several times slower than those that
# sleep. For one process alone it is the other way round, hence not for `demo`.
test test-slow: export OMP_WAIT_POLICY := passive

ADAPTOR ?= runs/demo/adaptor_ema
# Processes that share out the tests, each with one thread and up to 2 GB; more where there are more cores.
WORKERS ?= 2

.PHONY: demo compare groups test test-slow check clean

$(VENV)/installed: pyproject.toml setup.py fairlit_miniature/pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]' --editable ./fairlit_miniature
	touch $@

## Finetune the embedded model to half women, half men, and audit it before and after; goes on with a run that is there.
demo: $(VENV)/installed
	$(BIN)/fairlit fit --config configs/demo.yaml --ckpt_path last
	$(BIN)/fairlit test --config configs/demo.yaml

## All methods on the embedded model beside the adaptor that `make demo` has trained; another one: make compare ADAPTOR=path
compare: $(VENV)/installed
	@test -e $(ADAPTOR) || { echo "there is no adaptor at $(ADAPTOR): run 'make demo' first, or give ADAPTOR=path"; exit 1; }
	$(BIN)/fairlit compare --config configs/compare/miniature_gender.yaml --adaptor $(ADAPTOR)

## Pictures of several people by the embedded landscape model: finetuning, editing the output, and both under one judge.
groups: $(VENV)/installed
	$(BIN)/fairlit fit --config configs/demo.yaml --config configs/demo/groups.yaml --ckpt_path last
	$(BIN)/fairlit test --config configs/demo.yaml --config configs/demo/groups.yaml
	$(BIN)/fairlit compare --config configs/compare/landscape_groups.yaml
	$(BIN)/fairlit edit runs/compare/groups/images/judged/unchanged_model --config configs/edit/landscape_groups.yaml \
		--out runs/edited_groups

## Linters, types, import contracts and all tests but the slow ones.
test: check
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal

## The tests that take minutes each.
test-slow: $(VENV)/installed
	$(BIN)/python -m pytest -m slow

check: $(VENV)/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) runs build
