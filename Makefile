# Two commands do everything: `make run` and `make test`.
PYTHON ?= python3
VENV := .venv
BACKENDS := .venv-backends
AUDIT := .venv-audit
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: run export release demo verify test test-slow test-backends reproduce reproduce-jax chaos fuzz vulnerabilities bench lesson seeds sweep scale lint lock clean
.DEFAULT_GOAL := run

# The marker `installed` is written last. If it is newer than the lock, the environment has exactly the packages of the lock. It contains the
# path of the project's folder, because programs in an environment do too: after the folder has been moved, `moved` makes the environment again.
moved = $(shell test "$$(cat $(1)/installed 2>/dev/null)" = "$(CURDIR)" || echo moved-here)
.PHONY: moved-here

check_python = @$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else f"Python 3.11 to 3.13 is needed, this is {v[0]}.{v[1]}; name one with: make PYTHON=python3.12")'

# DVC unpickles files in its site_cache_dir, which by default is a folder where anyone may write (CVE-2025-69872). DVC cannot write a path with
# letters beyond ASCII into its configuration; for such a path the environment has a file that sets DVC's variable whenever Python starts.
beyond_ascii := $(shell printf %s "$(CURDIR)" | LC_ALL=C tr -d ' -~')
SET_SITE := import os, sys; os.environ.setdefault("DVC_SITE_CACHE_DIR", os.path.join(os.path.dirname(sys.prefix), ".dvc/tmp/site"))
$(VENV)/installed: requirements.txt $(call moved,$(VENV))
	$(check_python)
	$(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/python tools/install.py requirements.txt
	install -d -m 700 "$(CURDIR)/.dvc/tmp/site"
	$(if $(beyond_ascii),cd $(VENV)/lib/python*/site-packages && echo '$(SET_SITE)' > dvc_site.pth,$(VENV)/bin/dvc config --local core.site_cache_dir "$(CURDIR)/.dvc/tmp/site")
	@echo "$(CURDIR)" > $@

# A second environment, because JAX and PyTorch are gigabytes that nothing else here needs.
$(BACKENDS)/installed: requirements.txt requirements/export.txt requirements/tests.txt requirements/backends.txt $(call moved,$(BACKENDS))
	$(check_python)
	$(PYTHON) -m venv --clear $(BACKENDS)
	$(BACKENDS)/bin/python tools/install.py requirements.txt
	$(BACKENDS)/bin/python tools/install.py --no-deps requirements/export.txt requirements/tests.txt
	$(BACKENDS)/bin/python tools/install.py --unhashed requirements/backends.txt
	@echo "$(CURDIR)" > $@

# Extras, which only some targets, remotes or parameters need: `make .venv/extra-s3` installs requirements/s3.txt.
$(VENV)/extra-%: requirements/%.txt $(VENV)/installed
	$(VENV)/bin/python tools/install.py --no-deps $<
	touch $@

# The tests need all these extras; one call installs them.
TESTED := tests demo export fonts heic hub lint parquet ray s3 scale ssh sweep
$(VENV)/extra-tests: $(TESTED:%=requirements/%.txt) $(VENV)/installed
	$(VENV)/bin/python tools/install.py --no-deps $(filter %.txt,$^)
	touch $(TESTED:%=$(VENV)/extra-%)

$(AUDIT)/installed: requirements/vulnerabilities.txt $(call moved,$(AUDIT))
	$(check_python)
	$(PYTHON) -m venv --clear $(AUDIT)
	$(AUDIT)/bin/python tools/install.py requirements/vulnerabilities.txt
	@echo "$(CURDIR)" > $@

run: $(VENV)/installed  ## set up, run what changed, print the models' table
	python -m transfer run

export: $(VENV)/extra-export  ## write the best model for other programs to deploy/export (docs/export.md); runs what it needs first
	python -m transfer run deploy/dvc.yaml

release: export  ## track a copy of deploy/export as deploy/classifier, for `dvc push`, a tag and `dvc artifacts get`
	rm -rf deploy/classifier
	cp -R deploy/export deploy/classifier
	dvc add deploy/classifier

demo: $(VENV)/extra-demo  ## serve a page on this machine to try the trained models (python -m transfer demo --help)
	python -m transfer demo

verify: $(VENV)/installed  ## re-hash everything that dvc.lock and deploy/dvc.lock name, in the workspace and the cache; print repair commands
	python -m transfer verify

test: $(VENV)/extra-tests  ## set up, run the tests (some seven minutes on 2 cores)
	python -m pytest -m 'not slow' --numprocesses 2 --dist loadfile --no-loadscope-reorder $(TEST_OPTIONS)

test-slow: $(VENV)/extra-tests  ## run the tests that take longer or fetch the real weights
	python -m pytest -m slow

# Each run has different inputs; FUZZ_SEED=N repeats those of an earlier run.
FUZZ_SEED ?= $(shell date +%s)
fuzz: $(VENV)/extra-tests  ## give some 20,000 damaged images, archives, tables, arrays and models to their readers
	python -m pytest tests/fuzz --hypothesis-profile=fuzz --hypothesis-seed=$(FUZZ_SEED)

test-backends: $(BACKENDS)/installed  ## run all stages under JAX and PyTorch, in a separate environment (gigabytes)
	$(BACKENDS)/bin/python -m pytest -m slow tests/compute/test_backends.py
	KERAS_BACKEND=jax $(BACKENDS)/bin/python -m pytest -m 'slow or not slow' tests/compute/test_card.py tests/compute/test_device.py tests/compute/test_training_steps.py
	KERAS_BACKEND=torch $(BACKENDS)/bin/python -m pytest -m 'slow or not slow' tests/compute/test_card.py

reproduce: $(VENV)/extra-export  ## run two fresh clones, one on a single core: are all outputs the same bytes? (ten minutes)
	python -m transfer reproduce

reproduce-jax: $(BACKENDS)/installed  ## the same under JAX
	KERAS_BACKEND=jax $(BACKENDS)/bin/python -m transfer reproduce

chaos: $(VENV)/extra-tests  ## kill the pipeline at 20 random moments and check that nothing is lost (half an hour)
	python -m pytest -m 'slow or not slow' tests/pipeline/test_chaos.py

vulnerabilities: $(AUDIT)/installed  ## list known vulnerabilities of all pinned packages, if pip-audit's data can be reached
	$(AUDIT)/bin/python -m transfer vulnerabilities

bench: $(VENV)/installed  ## print every row of docs/performance.md on this machine, each beside what a user would do instead (half an hour on 2 cores)
	python -m benchmarks.bench $(BENCH_OPTIONS)

lesson: $(VENV)/installed  ## run the lesson's values (docs/presets/lesson.yaml) as an experiment beside the workspace
	python -m benchmarks.seeds --vary training --preset lesson --seeds 0

SEEDS ?= 0 1 2 3 4
seeds: $(VENV)/installed  ## mean and standard deviation of the test accuracy over other splits and trainings; SEEDS="5 6" sets the seeds
	python -m benchmarks.seeds --seeds $(SEEDS)

TRIALS ?= 20
sweep: $(VENV)/extra-sweep  ## search for better training parameters (transfer/commands/sweep/space.yaml), from the cached arrays; TRIALS=40 tries more
	python -m transfer sweep --trials $(TRIALS)

scale: $(VENV)/extra-ray $(VENV)/extra-scale  ## compare clusters of one and of two nodes on this machine: images per second, and what the simulation predicts
	python -m benchmarks.scale_study.two_nodes

lint: $(VENV)/extra-lint  ## run ruff, and check that packages import only from the floors below (pyproject.toml)
	ruff check .
	ruff format --check .
	lint-imports --no-cache pyproject.toml

# The locks are made by uv, which set-up has installed from tools/uv.txt: for Linux and macOS, Python 3.11 to 3.13. `fewest` pins the same
# version for each of these Pythons, because other versions compute other bytes. An extra's lock holds only what requirements.txt does not.
UV_COMPILE := uv pip compile --universal --python-version 3.11 --fork-strategy fewest --generate-hashes --no-emit-index-url --no-annotate \
	--custom-compile-command 'make lock' --quiet
BEYOND_BASE = $(UV_COMPILE) --constraint requirements.txt $$(sed -n 's/^\([A-Za-z0-9._-]*\)==.*/--no-emit-package \1/p' requirements.txt)
EXTRAS := azure demo export fonts gpu gs heic hub lint parquet ray s3 scale ssh sweep
# Only KerasHub requires them, for texts, some 200 MB; its networks for images work without.
NOT_FOR_TEXTS := --no-emit-package tensorflow-text --no-emit-package sentencepiece
# The wheel with axe-core requires a second browser driver, 130 MB, which nothing here runs.
NOT_PLAYWRIGHT := --no-emit-package playwright --no-emit-package greenlet --no-emit-package pyee
lock: $(VENV)/installed  ## make all locks again from requirements/*.in, and pins.yaml from them
	$(UV_COMPILE) requirements/base.in --output-file requirements.txt
	for extra in $(EXTRAS); do $(BEYOND_BASE) $(NOT_FOR_TEXTS) requirements/$$extra.in --output-file requirements/$$extra.txt || exit 1; done
	$(UV_COMPILE) --constraint requirements.txt --constraint requirements/ray.txt --constraint requirements/s3.txt \
		requirements/worker.in --output-file requirements/worker.txt
	$(BEYOND_BASE) $(NOT_PLAYWRIGHT) requirements/tests.in --output-file requirements/tests.txt
	$(UV_COMPILE) requirements/vulnerabilities.in --output-file requirements/vulnerabilities.txt
	$(UV_COMPILE) tools/uv.in --output-file tools/uv.txt
	$(PYTHON) -m transfer.runtime.pins

clean:  ## remove the environment and the logs; data and models stay
	rm -rf $(VENV) $(BACKENDS) $(AUDIT) logs .pytest_cache .ruff_cache
