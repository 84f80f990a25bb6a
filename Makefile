# Everything a developer or a build machine runs. `make help` lists it; each target works alone on a fresh clone.

# Cargo's own folder first, for shells that have not read rustup's profile yet.
export PATH := $(HOME)/.cargo/bin:$(PATH)
MAKEFLAGS += --no-print-directory
FUZZ_SECONDS ?= 60

.PHONY: help setup setup-test build demo test ui test-ui test-journeys bench fuzz deny deb schemathesis

help:
	@echo 'make build   the release binary, target/release/earwitness'
	@echo 'make demo    records the calls of pcaps/demo, lists, verifies and exports; then the pages, until Ctrl-C (DEMO=once: without)'
	@echo 'make test    format, lints, documentation and all tests'
	@echo 'make ui      the script and style sheet of the pages, web/dist, from web/ui (needs Node 20 and npm)'
	@echo 'make test-ui tests of those in Chromium, and whether web/dist is what web/ui makes'
	@echo 'make test-journeys  the recorder itself in Chromium: find, play, listen in, pause, take along, and strangers'\'' texts'
	@echo 'make deb     a Debian package of the fully optimized binary, in target/debian'
	@echo 'make bench   benchmarks'
	@echo 'make fuzz    each fuzz target for FUZZ_SECONDS=$(FUZZ_SECONDS) (needs cargo-fuzz and a nightly toolchain)'
	@echo 'make schemathesis  cases made of the API'"'"'s document, against a recorder of its own (needs python3; schemathesis comes from PyPI)'
	@echo 'make deny    licences, sources and advisories of all dependencies (needs cargo-deny)'
	@echo 'make setup   installs what is missing to build (Debian and its kin)'

setup:
	@sh xtask/scripts/setup.sh

setup-test:
	@sh xtask/scripts/setup.sh rustfmt clippy

build: setup
	cargo build --release --locked

demo: build
	@sh xtask/scripts/demo.sh

# The last line is cargo's own.
test: setup-test
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked
	$(MAKE) test-ui
	$(MAKE) test-journeys
	cargo test --workspace --locked

# The pages' script and style sheet are committed: only who changes them needs Node.
ui:
	cd web/ui && npm ci --no-audit --no-fund && npm run build

test-ui: setup-test
	@command -v npm >/dev/null || { echo 'skipped: the tests of the pages need Node 20 and npm'; exit 0; }; \
	cd web/ui && npm ci --no-audit --no-fund && { npm test || { echo 'once more: a browser on a busy machine can be late'; npm test; }; }

test-journeys: setup-test
	@command -v npm >/dev/null || { echo 'skipped: the journeys need Node 20 and npm'; exit 0; }; \
	cargo build --locked && cd web/ui && npm ci --no-audit --no-fund && { npm run journeys || { echo 'once more: a browser on a busy machine can be late'; npm run journeys; }; }

deb: setup
	cargo build --profile dist --locked
	@sh xtask/scripts/deb.sh

bench: setup
	cargo bench --workspace --locked

fuzz: setup
	@FUZZ_SECONDS=$(FUZZ_SECONDS) sh xtask/scripts/fuzz.sh

schemathesis: build
	@bash xtask/scripts/schemathesis.sh

deny:
	@command -v cargo-deny >/dev/null || { echo 'cargo-deny is missing: cargo install --locked cargo-deny' >&2; exit 1; }
	cargo deny check
