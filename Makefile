# Everything a person does with this checkout. What is missing on the machine is
# installed first; each command starts and stops its own server.

.PHONY: help demo docs test test-all test-cassert test-bare test-packages deb tarball all install ci chaos search failover bench curves psql build setup regress clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.* ## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile

demo: build ## the main job on real input, with a live display
	cargo build --quiet --release -p pgqueue-demo
	.ci/with-server pgqueue.vacuum_interval=500ms -- target/release/pgqueue-demo

test: ## all tests; QUICK=1 one of each kind
	.ci/test

test-all: ## on each major there is a server for, and pg_upgrade between them (docs/majors.md)
	.ci/test-all

test-cassert: ## on a server that checks its own assertions
	PG_MAJOR=18 PG_VARIANT=cassert .ci/test

test-bare: ## demo and test on a minimal Debian 12, as root and as a user with sudo, and the package; QUICK=1 one test of each kind, ONLY=dev one user
	.ci/bare

test-packages: ## packages, tarball and META.json; QUICK=1 for 15 only
	packaging/test

deb: ## Debian packages for each major there is a server for, into target/packages; MAJORS="15 18" for some
	packaging/deb $(MAJORS)

tarball: ## the same for other systems, with a script that installs it
	packaging/tarball $(MAJORS)

ci: ## what CI runs on a clean clone
	.ci/run

failover: build ## two servers run by pg_auto_failover, whose primary dies again and again; ROUNDS=10
	. .ci/env && ROUNDS=$${ROUNDS:-10} cargo test --no-default-features --features "pg$$PG_MAJOR pg_test" --test failover

bench: build ## beside the peers, into benches/results; QUICK=1 in a few minutes, to see that it works
	benches/run

curves: build ## how the cost of each function grows with each size, into benches/results; QUICK=1 blocks only
	benches/curves

chaos: build ## breaks servers under load for MINUTES=10; SEED=n repeats a run
	.ci/chaos

search: build ## sessions in random order, CASES=50000 of them; SEED=n repeats a run (tests/search/README.md)
	. .ci/env && PGQUEUE_SEARCH_CASES=$${CASES:-50000} $(if $(SEED),PGQUEUE_SEARCH_SEED=$(SEED)) \
	    $(if $(PROFILE),PGQUEUE_SEARCH_PROFILE=$(PROFILE)) $(if $(FAULT),PGQUEUE_SEARCH_FAULT='$(FAULT)') \
	    $(if $(SKIP),PGQUEUE_SEARCH_SKIP='$(SKIP)') \
	    cargo test --no-default-features --features "pg$$PG_MAJOR pg_test" --test search -- --nocapture

docs: ## the guide as a book, into target/docs/book; checks its links
	.ci/docs

psql: build ## a prompt on a private server with pgqueue in it
	.ci/with-server -- sh -c 'psql -X -q -c "CREATE EXTENSION pgqueue"; echo "A private server with pgqueue; it is gone when you leave."; exec psql'

build: setup ## builds the extension into the private server
	.ci/build

regress: build ## only tests/pg_regress
	.ci/regress

setup: ## installs missing packages, and copies a private PostgreSQL
	.ci/setup

clean: ## removes what cargo has built
	cargo clean

# Into the server of PG_CONFIG, from source; 'pgxn install' runs these two.
PG_CONFIG ?= pg_config
into = --no-default-features --features "pg$$($(PG_CONFIG) --version | sed 's/PostgreSQL \([0-9]*\).*/\1/')"

all:
	cargo pgrx --version

install: ## builds it into the server of PG_CONFIG (docs/install.md)
	cargo pgrx install --release --pg-config "$(PG_CONFIG)" $(into)
