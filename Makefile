# Everything a developer or a build machine runs. `make help` lists it; each target works alone on a fresh clone.

# Cargo's own folder first, for shells that have not read rustup's profile yet.
export PATH := $(HOME)/.cargo/bin:$(PATH)
MAKEFLAGS += --no-print-directory
FUZZ_SECONDS ?= 60

.PHONY: help setup setup-test build demo test bench fuzz deny deb

help:
	@echo 'make build   the release binary, target/release/earwitness'
	@echo 'make demo    records the calls of pcaps/demo into a throw-away archive, lists, verifies and exports'
	@echo 'make test    format, lints, documentation and all tests'
	@echo 'make deb     a Debian package of the release binary, in target/debian'
	@echo 'make bench   benchmarks'
	@echo 'make fuzz    each fuzz target for FUZZ_SECONDS=$(FUZZ_SECONDS) (needs cargo-fuzz and a nightly toolchain)'
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
	cargo test --workspace --locked

deb: build
	@sh xtask/scripts/deb.sh

bench: setup
	cargo bench --workspace --locked

fuzz: setup
	@FUZZ_SECONDS=$(FUZZ_SECONDS) sh xtask/scripts/fuzz.sh

deny:
	@command -v cargo-deny >/dev/null || { echo 'cargo-deny is missing: cargo install --locked cargo-deny' >&2; exit 1; }
	cargo deny check
