# The things to do with this repository. `make run` is the place to begin.

.PHONY: run test soak musl bench reach hits compare micro counts lint setup setup-tests

# A throwaway cluster with nearside in front of it, and a demonstration. Ctrl-C ends all of it. `make run LISTEN=127.0.0.1:7000`
# takes another port. Built fast, not for production: without jemalloc and without LTO.
run: setup
	cargo run --release --no-default-features -- dev $(addprefix --listen ,$(LISTEN))

# Everything, against real servers on loopback. All of it runs even when something fails; a summary comes last.
test: setup setup-tests
	@scripts/test

# A checked load while everything breaks, for NEARSIDE_SOAK_SECONDS (60) from NEARSIDE_TEST_SEED.
soak: setup
	cargo test --release --test soak -- --nocapture

# The static build gives memory back as well: built with musl, and put before the tests of memory.
musl: setup
	@command -v musl-gcc >/dev/null || scripts/apt-install musl-tools
	rustup target add x86_64-unknown-linux-musl
	cargo build --profile dist --target x86_64-unknown-linux-musl
	NEARSIDE_TEST_DAEMON=$(CURDIR)/target/x86_64-unknown-linux-musl/dist/nearside \
		cargo test --test it memory_ -- --nocapture

# Every measurement there is; nothing is asserted.
bench: setup
	cargo bench

# The goals for speed and size beside the peers: writes docs/performance.md. Fetches the peers when they are missing.
compare: setup
	cargo bench --bench compare

# What a bad day of a node, of the network or of a client costs everybody else: `make reach ROW=distance` for one of its
# parts. Part of `make bench` too.
reach: setup
	cargo bench --bench reach -- $(ROW)

# The hits of L1 for its bytes, beside Redis' LRU and other policies: writes docs/hit-ratio.md. `make hits QUICK=1` is a look,
# TRACES=directory takes more recorded traces.
hits:
	QUICK=$(QUICK) TRACES=$(TRACES) cargo bench --bench hits

# What each operation takes in time and allocations. Part of `make bench` too.
micro: setup
	cargo bench --bench micro

# What each operation takes in instructions; fails where that is over 5 % more than the figures that are kept.
# NEARSIDE_BLESS=1 keeps the new ones.
counts: setup
	@command -v valgrind >/dev/null || scripts/apt-install valgrind
	cargo run --profile dist --example counts

lint:
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings

# The servers and tools that the tests and the demonstration start.
setup:
	@scripts/setup

# What the tests compare with, and the clients that their programs are written with.
setup-tests:
	@scripts/setup-tests
