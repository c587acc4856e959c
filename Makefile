# The build cache lies outside the checkout, so that clones share it.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/gridway/target
# Downloads (kept) and run data (not kept) of the local stack.
export GRIDWAY_SANDBOX_DIR ?= $(CURDIR)/.sandbox
export GRIDWAY_BIN := $(CARGO_TARGET_DIR)/debug
BIN := $(GRIDWAY_BIN)
KILLS ?= 20
FREEZES ?= 2
PURCHASES ?= 40
SEED ?= 1

SEEDS ?= 10000
RECORDS ?= 1000000
KAFKA_SECONDS ?= 120

.PHONY: help demo up test lint deny bench fold lanes-bench deployments-bench api-bench crash sim faults outages mutants prove tools build release

help: ## lists the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

demo: build ## buys TFT by card and deploys, on the local stack, and shows every proof
	$(BIN)/gridway demo

up: build ## runs everything on the local stack until Ctrl-C
	$(BIN)/gridway up

test: build ## unit, integration and end-to-end tests, all against the real stack
	cargo test --locked --workspace
	$(BIN)/simulation --seeds 500
	$(BIN)/simulation --faults
	$(BIN)/simulation --outages
	tests/run.sh
	$(BIN)/system-tests crash --kills 50 --freezes 2
	$(BIN)/system-tests outages --kafka-seconds 20

lint: tools deny ## format, clippy, licences, documentation; warnings are errors
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS=-Dwarnings cargo doc --locked --workspace --no-deps
	simulation/mutants.py --check

deny:
	deny=$$(scripts/ensure-cargo-deny.sh) && "$$deny" --locked check licenses bans sources

# What is measured is what is deployed: an optimised build.
bench fold lanes-bench deployments-bench api-bench: export GRIDWAY_BIN := $(CARGO_TARGET_DIR)/release

bench: release ## latency of a purchase and purchases a second
	$(GRIDWAY_BIN)/system-tests bench
	$(GRIDWAY_BIN)/system-tests deployments
	$(GRIDWAY_BIN)/system-tests api-bench

fold: release ## how long a processor folds a partition of RECORDS records before it is live
	$(GRIDWAY_BIN)/system-tests fold --records $(RECORDS)

lanes-bench: release ## 64 lanes, ledgers of a second: swaps a ledger takes, our CPU for each
	$(GRIDWAY_BIN)/system-tests lanes-bench

deployments-bench: release ## seconds until 1,000 deployments of 100 users are final, with blocks of a second
	$(GRIDWAY_BIN)/system-tests deployments

api-bench: release ## 500 commands a second beside Kafka's own confirmations; queries beside a bare handler
	$(GRIDWAY_BIN)/system-tests api-bench

crash: build ## KILLS kills and FREEZES freezes of all processes during PURCHASES purchases
	$(BIN)/system-tests crash --kills $(KILLS) --freezes $(FREEZES) --purchases $(PURCHASES) --seed $(SEED)

sim: build ## policies, hands and sources in SEEDS simulated worlds
	$(BIN)/simulation --seeds $(SEEDS)

faults: build ## each effect, each fault, each fate of the process that sends it
	$(BIN)/simulation --faults

outages: build ## each counterparty away for ten simulated minutes; Kafka away for KAFKA_SECONDS, and its disk full
	$(BIN)/simulation --outages
	$(BIN)/system-tests outages --kafka-seconds $(KAFKA_SECONDS)

mutants: tools ## removes one clause of the law at a time and asks who notices
	simulation/mutants.py

prove: build ## the heavy proofs; their last figures are in docs/proofs.md
	$(BIN)/system-tests crash --kills 1000 --freezes 50 --purchases 800
	$(BIN)/simulation --seeds $(SEEDS)
	simulation/mutants.py

tools:
	@scripts/ensure-tools.sh

build: tools
	cargo build --locked --workspace --bins

release: tools
	cargo build --locked --release --workspace --bins
