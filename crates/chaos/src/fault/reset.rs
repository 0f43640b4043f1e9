//! Connections that are reset, seen from the client and from the server.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use fastrand::Rng;

use super::Fault;
use crate::complaint::LOST;
use crate::crowd::pause;
use crate::proxy::Proxy;
use crate::stage::Stage;

#[derive(Default)]
pub struct Reset {
    proxy: Option<Proxy>,
}

impl Fault for Reset {
    fn name(&self) -> &'static str {
        "connections reset"
    }

    fn settings(&self) -> String {
        format!("listen_addresses = '{}'", address())
    }

    fn set_up(&mut self, stage: &Stage) -> Result<(), String> {
        let upstream = SocketAddr::from((address(), 5432));
        let proxy = Proxy::start(upstream).map_err(|error| format!("no proxy: {error}"))?;
        *stage.route.lock().unwrap() = Some(proxy.address);
        self.proxy = Some(proxy);
        Ok(())
    }

    fn shows_as(&self) -> Option<&'static str> {
        Some(LOST)
    }

    fn strike(&mut self, _stage: &Stage, rng: &mut Rng) {
        let proxy = self.proxy.as_ref().expect("it is set up");
        for _ in 0..25 {
            proxy.reset_one(rng);
            pause(rng, 10..80);
        }
    }

    fn relent(&mut self, stage: &Stage) {
        // What the server still does for clients that are gone comes to its end by itself.
        stage.wait_until_alone();
    }
}

/// An address of the loopback for this program alone: the port is every server's.
fn address() -> IpAddr {
    let [.., high, low] = (std::process::id() % 60_000 + 300).to_be_bytes();
    Ipv4Addr::new(127, 77, high, low).into()
}
