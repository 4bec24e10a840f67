# One word a task; `make` and Python 3.11 are all that a fresh machine needs. `make help` lists the words.
# Downloads and builds live in a cache outside the checkout: SUBFUNCTION_CACHE, else ~/.cache/subfunction.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
# HOME may be unset in CI, or not ours to write.
SUBFUNCTION_CACHE ?= $(shell if [ -n "$$XDG_CACHE_HOME" ]; then echo "$$XDG_CACHE_HOME/subfunction"; \
	elif [ -w "$${HOME:-/nonexistent}" ]; then echo "$$HOME/.cache/subfunction"; \
	else echo "/var/tmp/subfunction-cache-$$(id -u)"; fi)
export SUBFUNCTION_CACHE
export UV_CACHE_DIR ?= $(SUBFUNCTION_CACHE)/uv
export UV_PROJECT_ENVIRONMENT := $(VENV)
# The cache may be on another file system than the checkout, and then nothing can be linked.
export UV_LINK_MODE ?= copy
# A company's own certificate authority stands in the system's store.
export UV_SYSTEM_CERTS ?= 1

SOURCES := core operator deviceplugin simulator tests bench

.DEFAULT_GOAL := help
.PHONY: $(shell sed -n 's/^\([a-z-]*\):.*\#\# .*/\1/p' $(MAKEFILE_LIST))
.DELETE_ON_ERROR:

help: ## list the tasks
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1@\2/p' $(MAKEFILE_LIST) | while IFS=@ read -r task what; do printf '%-14s %s\n' "$$task" "$$what"; done

$(VENV)/.installed: pyproject.toml uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=")'
	@test -x $(BIN)/uv || { $(PYTHON) -m venv --clear $(VENV) && $(BIN)/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION); }
	@$(BIN)/uv sync --quiet --locked --all-extras --inexact
	@touch $@

demo: $(VENV)/.installed ## the whole story on a simulated node, in under a minute (KEEP=1: stay up for kubectl)
	@$(BIN)/subfunction-simulator demo $(if $(KEEP),--keep)

# Suites with a task of their own.
OTHERS := cdi chart/managed chart/real cluster image kubernetes policy vm

test: $(VENV)/.installed ## all tests that need no kernel of our own (five CPU minutes)
	@echo "This takes five CPU minutes: two and a half on two idle cores. The tests are collected first; then each line ends with the share that is done."
	@$(BIN)/python -m pytest tests $(patsubst %,--ignore=tests/%,$(OTHERS)) -n 3 --dist worksteal -q $(PYTEST)

# The agent before a real API server: its life, and what it outlives.
AGENT_TESTS := $(patsubst %,tests/agent/%.py,test_agent test_agent_faults test_examples test_faults_page api/test_watch api/test_outages \
	inventory/test_reporter observe/test_in_use state/test_quarantine state/test_resource_names)

test-apiserver: $(VENV)/.installed ## what we rely on of an API server, asked of a real one (built with Go; or KUBEBUILDER_ASSETS)
	@PYTHONPATH=tests/kubernetes:tests/vm $(BIN)/python -m components build --control-plane >/dev/null
	@SUBFUNCTION_TEST_APISERVER=real $(BIN)/python -m pytest tests/kubernetes/apiserver tests/apiserver tests/controller tests/kube $(AGENT_TESTS) \
		-n 3 --dist worksteal -q $(PYTEST)

test-chart: $(VENV)/.installed ## the chart by the real Helm, in a cluster of real controllers; its policy and roles, by attack
	@PYTHONPATH=tests/kubernetes:tests/vm $(BIN)/python -m components build --control-plane --controllers >/dev/null
	@SUBFUNCTION_TEST_APISERVER=real $(BIN)/python -m pytest tests/chart tests/policy -n 2 --dist loadfile -q $(PYTEST)

test-kubelet: $(VENV)/.installed ## a real kubelet with containers that run, and what we rely on of it (root, cgroups of version 1; built with Go)
	@PYTHONPATH=tests/kubernetes:tests/vm $(BIN)/python -m components build >/dev/null
	@SUBFUNCTION_TEST_KUBELET=real $(BIN)/python -m pytest tests/kubelet -n 2 --dist worksteal -q $(PYTEST)

test-cdi: $(VENV)/.installed ## our CDI files, as the library of containerd 1.7, 2.0 and 2.3 takes them (Go; root, for device nodes)
	@$(BIN)/python -m pytest tests/cdi -q $(PYTEST)

test-vm: $(VENV)/.installed ## the tests on a real kernel, in a QEMU VM (installs QEMU and gcc where it may)
	@PYTHONPATH=tests/vm $(BIN)/python -m harness build
	@PYTHONPATH=tests/kubernetes:tests/vm $(BIN)/python -m components build >/dev/null
	@$(BIN)/python -m pytest tests/vm -n 2 --dist loadfile -q $(PYTEST)

recordings: $(VENV)/.installed ## write tests/recordings anew: what the real driver answers, by kernel version
	@PYTHONPATH=tests/vm $(BIN)/python -m harness build
	@SUBFUNCTION_WRITE_RECORDINGS=1 $(BIN)/python -m pytest tests/vm/test_guest_suite.py -k real_mlx5_driver -q -p no:xdist

test-cluster: $(VENV)/.installed ## three whole nodes in VMs, the real API server and the controller: killed, rebooted, cut off, upgraded (by hand)
	@PYTHONPATH=tests/vm $(BIN)/python -m harness build
	@$(BIN)/python -m pytest tests/cluster -q -p no:xdist -o faulthandler_timeout=1800 --durations=0 $(PYTEST)

image: $(VENV)/.installed ## build the image localhost/subfunction without a daemon or registry (PYTHON_IMAGE=: another base)
	@PYTHONPATH=tests/vm:tests/kubernetes $(BIN)/python -m tests.image.build

test-image: $(VENV)/.installed ## build the image, scan it, run its programs as containers and our tests in it (root; buildah, runc)
	@$(BIN)/uv sync --quiet --locked --all-extras --inexact --group image
	@$(BIN)/python -m pytest tests/image -q $(PYTEST)

crash-matrix: $(VENV)/.installed ## kill the agent at each point of each flavour's life (ONLY=mlx5); 10,000 races with Allocate
	@PYTHONPATH=tests/crash:tests/agent/lib:tests/kubernetes:tests/vm $(BIN)/python -m matrix $(if $(ONLY),--only $(ONLY))
	@$(if $(ONLY),,SUBFUNCTION_RACES=10000 $(BIN)/python -m pytest tests/agent/reconcile/test_race.py -n 2 -q)

fuzz: $(VENV)/.installed ## fuzz the netlink decoders with atheris (SECONDS_EACH=60)
	@$(BIN)/uv sync --quiet --locked --all-extras --inexact --group fuzz
	@mkdir -p $(SUBFUNCTION_CACHE)/fuzz && root=$$PWD && cd $(SUBFUNCTION_CACHE)/fuzz && \
		$$root/$(BIN)/python $$root/tests/core/fuzz_replies.py -max_total_time=$(or $(SECONDS_EACH),60)

check: $(VENV)/.installed ## formatter, linters, types, import contracts, spelling
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-cache >/dev/null || $(BIN)/lint-imports --no-cache
	@$(BIN)/deptry core operator deviceplugin simulator >/dev/null 2>&1 || $(BIN)/deptry core operator deviceplugin simulator
	@$(BIN)/yamllint --strict crds examples charts/release charts/subfunction/*.yaml charts/subfunction/files/roles
	@$(BIN)/typos

format: $(VENV)/.installed ## put the code into its form
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

docs: $(VENV)/.installed ## write docs/faults.md anew, from what kubectl prints, and the chart's README, from its values
	@SUBFUNCTION_WRITE_DOCS=1 $(BIN)/python -m pytest tests/agent/test_faults_page.py tests/chart/test_values.py -q

# Not kept in the repository: a copy of the CRDs would be a second source. A release publishes both.
DIST ?= dist
manifests: $(VENV)/.installed ## dist/install.yaml and kustomization.yaml, for those without Helm (DIST=folder)
	@mkdir -p $(DIST) && PYTHONPATH=tests/kubernetes:tests/vm $(BIN)/python -m components manifests >$(DIST)/install.yaml
	@cp charts/release/kustomization.yaml $(DIST)/

crds: $(VENV)/.installed ## write anew what crds/subfunctionpools.yaml has of crds/subfunctions.yaml
	@SUBFUNCTION_WRITE_CRDS=1 $(BIN)/python -m pytest tests/controller/pools/test_template.py -q

proto: $(VENV)/.installed ## generate the gRPC stubs from our .proto files
	@PATH="$$PWD/$(BIN):$$PATH" $(BIN)/python -m grpc_tools.protoc -I core --python_out=core --grpc_python_out=core --mypy_out=core --mypy_grpc_out=core \
		core/subfunction/kubelet/*.proto

bench: $(VENV)/.installed ## the figures, on the simulated kernel (bench/README.md says how to read them)
	@$(BIN)/python bench/run.py

bench-vm: $(VENV)/.installed ## the figures on the real kernel in the VM, beside `devlink -b`
	@PYTHONPATH=tests/vm $(BIN)/python bench/vm.py $(if $(OBJECTS),--objects $(OBJECTS))

scale: $(VENV)/.installed ## what a node costs as the cluster grows, on a real API server (NODES="10 100"; OBJECTS=128; 1,000 nodes take 10 GB)
	@$(BIN)/uv sync --quiet --locked --all-extras --inexact --group plot
	@PYTHONPATH=bench:tests/kubernetes:tests/vm $(BIN)/python -m scale --json bench/scale/figures.json \
		$(if $(NODES),--nodes $(NODES)) $(if $(OBJECTS),--objects $(OBJECTS))
	@PYTHONPATH=bench $(BIN)/python -m scale.plot bench/scale/figures.json docs/scale.svg

clean: ## remove what was built here; the cache stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .hypothesis .import_linter_cache dist
