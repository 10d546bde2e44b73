# Each target is a line or a script. SCRATCH is SwiftPM's folder; PYTHON names the interpreter that makes .venv.
SCRATCH ?= .build
export SCRATCH
SWIFT_BUILD = swift build -c release --scratch-path $(SCRATCH)
venv = .venv/bin/python

.PHONY: help setup build library install uninstall wheel demo test test-fast test-interop fingerprints check check-cuda header format bench sanitize asan ubsan tsan fuzz fuzz-api soak qemu coverage clean

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: ## Debian packages where missing, Python packages in .venv
	@tools/setup.sh

# The Python packages come while the library compiles.
build: ## build/lib/libmrp.so, build/include/mrp.h, the Python extension
	@tools/setup.sh system
	@tools/setup.sh & packages=$$!; $(MAKE) --no-print-directory library && wait $$packages
	@tools/build_extension.sh

library: ## build/lib/libmrp.so and build/include/mrp.h alone, without Python packages
	@tools/setup.sh system
	@tools/write_commit.sh $(SCRATCH)
	$(SWIFT_BUILD) --product mrp
	@tools/stage_library.sh $(SCRATCH)/release

install: ## library, header, pkg-config, CMake and licence files under $(DESTDIR)$(PREFIX), by default /usr/local
	@[ -e build/lib/libmrp.so.0 ] || $(MAKE) library
	@DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" tools/install.sh install

uninstall: ## removes what install put there
	@DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" tools/install.sh uninstall

wheel: build ## dist/libmrp-*.whl for every Python from 3.11 on, image libraries included
	@tools/make_wheel.sh

demo: build ## pretrains and fine-tunes a small network, from C and from Python
	@mkdir -p build/demo
	cc -std=c99 -O2 -Wall -Wextra -Ibuild/include examples/c/pretrain_finetune.c -o build/demo/pretrain_finetune \
	    -Lbuild/lib -lmrp -Wl,-rpath,$(CURDIR)/build/lib
	cd build/demo && ./pretrain_finetune
	cd build/demo && $(CURDIR)/$(venv) $(CURDIR)/examples/python/quickstart.py

test: build ## every test
	tools/run_tests.sh

test-fast: build ## every test not marked slow
	tools/run_tests.sh --fast

test-interop: build ## weights and outputs against transformers, timm and onnxruntime, which are installed into build/peers
	"$$(tools/setup_interop.sh)" -m pytest -q -p no:cacheprovider -c Tests/interop/pytest.ini Tests/interop

fingerprints: build ## records what short runs of everything give on this processor, after a meant change of numbers
	$(venv) tools/fingerprints.py --record

check: build ## formatting, header, symbols, what the library depends on; under a minute
	@tools/check.sh

check-cuda: build ## training steps compile for an H100 that is not there, and what their kernels need; CUDA's compiler goes into build/cuda
	@tools/check_cuda.sh

header: setup ## regenerates include/mrp.h, docs/options.md and packaging/symbols.txt
	$(SWIFT_BUILD) --product mrp
	$(venv) tools/generate_header.py --build $(SCRATCH)/release --header include/mrp.h --symbols packaging/symbols.txt
	$(venv) tools/option_table.py --library $(SCRATCH)/release/libmrp.so --output docs/options.md

format: setup ## formats Swift, C and Python sources
	@tools/format.sh

bench: build ## training speed and peak memory against PyTorch, which is installed into build/peers
	@mkdir -p build/benchmarks
	cc -O2 -Ibuild/include benchmarks/step.c -o build/benchmarks/step -Lbuild/lib -lmrp -Wl,-rpath,$(CURDIR)/build/lib
	benchmarks/peers/setup.sh
	$(venv) benchmarks/compare.py mae_vit_tiny_32 mae_vit_base_224 sup_resnet18_cifar sup_resnet50_224 --ours build/benchmarks/step --output build/benchmarks/compare.json

sanitize: asan ubsan ## asan and ubsan

asan: setup ## C tests under ASan and UBSan; Swift and C interface tests under ASan
	tools/sanitize.sh address

ubsan: setup ## C tests under UBSan
	tools/sanitize.sh undefined

tsan: setup ## Swift, C and C interface tests under ThreadSanitizer, kernels included
	tools/sanitize.sh thread

fuzz: setup ## libFuzzer with ASan and UBSan on every kind of file and text: SECONDS each (20), TARGETS="image model ..."
	tools/fuzz.sh --seconds $(or $(SECONDS),20) $(TARGETS)

fuzz-api: build ## random sequences of calls: SECONDS (30), KIND=release, address or thread
	tools/fuzz_api.sh $(or $(KIND),release) --seconds $(or $(SECONDS),30) --threads 4 --failing --fork --signals

soak: build ## an hour (SECONDS) of training, measuring, checkpointing, cancelling, forking: memory and descriptors stay flat
	tools/soak.sh $(or $(SECONDS),3600)

qemu: setup ## kernels and image code for arm64, tested in QEMU; compiler's libraries and QEMU go into build/arm64
	tools/setup_arm64.sh
	tools/check-arm64.sh --run

coverage: setup ## line coverage of the Swift tests, by file
	@tools/coverage.sh

clean: ## removes what was built, but not .venv
	rm -rf $(SCRATCH) build bindings/python/mrp/*.so* Sources/CMRPTypes/commit.h
