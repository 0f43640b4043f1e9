//! A sharded pgqueue behind PL/Proxy: sql/proxy and docs/sharding.md.

mod calls;
mod examples;
mod places;
mod servers;
mod sharded;
