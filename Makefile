# Everything a person does with this checkout: 'make help'. What is missing on the machine is
# installed first; each command starts and stops its own server.

.PHONY: help demo test test-all test-cassert bare bare-all ci chaos failover bench psql build setup regress clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

demo: build ## the main job on real input, with a live display
	cargo build --quiet --release -p pgqueue-demo
	.ci/with-server pgqueue.vacuum_interval=500ms -- target/release/pgqueue-demo

test: ## all tests; SMOKE=1 one of each kind
	.ci/test

test-all: ## all tests on each major there is a server for, and pg_upgrade between them (docs/majors.md)
	.ci/test-all

test-cassert: ## all tests on a server that checks its own assertions
	PG_MAJOR=18 PG_VARIANT=cassert .ci/test

bare: ## demo and one test of each kind on a minimal Debian 12, as root and as a user with sudo
	.ci/bare

bare-all: ## the same with all tests
	WHOLE=1 .ci/bare

ci: ## what CI runs
	.ci/run

failover: build ## two servers run by pg_auto_failover, whose primary dies again and again; ROUNDS=10
	. .ci/env && ROUNDS=$${ROUNDS:-10} cargo test --no-default-features --features "pg$$PG_MAJOR pg_test" --test failover

bench: build ## measures it beside the peers, into benches/results; QUICK=1 in a few minutes, to see that it works
	benches/run

chaos: build ## breaks servers under load for MINUTES=10; SEED=n repeats a run
	.ci/chaos

psql: build ## a prompt on a private server with pgqueue in it
	.ci/with-server -- sh -c 'psql -X -q -c "CREATE EXTENSION pgqueue"; echo "A private server with pgqueue; it is gone when you leave."; exec psql'

build: setup ## puts a release build into the private server
	.ci/build

regress: build ## only tests/pg_regress
	.ci/regress

setup: ## installs what is missing on the machine, and the private server
	.ci/setup

clean: ## removes what was built
	cargo clean
