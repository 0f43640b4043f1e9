//! A proxy whose connections can be reset: neither side hears a goodbye.

use std::io::{ErrorKind, Read, Result, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use socket2::SockRef;

/// How often a side that hears nothing looks whether it is cut.
const LOOK: Duration = Duration::from_millis(5);

pub struct Proxy {
    pub address: SocketAddr,
    wires: Arc<Mutex<Vec<Wire>>>,
}

/// Set when its connection is cut.
type Wire = Arc<AtomicBool>;

impl Proxy {
    /// Listens until the program ends.
    pub fn start(upstream: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let proxy = Self { address: listener.local_addr()?, wires: Arc::default() };
        let wires = Arc::clone(&proxy.wires);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(wire) = connect(client, upstream) else { continue };
                wires.lock().unwrap().push(wire);
            }
        });
        Ok(proxy)
    }

    /// Resets one of the connections there are.
    pub fn reset_one(&self, rng: &mut Rng) {
        let mut wires = self.wires.lock().unwrap();
        wires.retain(|wire| !wire.load(Ordering::Relaxed));
        if let Some(wire) = rng.choice(wires.iter()) {
            wire.store(true, Ordering::Relaxed);
        }
    }
}

fn connect(client: TcpStream, upstream: SocketAddr) -> Result<Wire> {
    let server = TcpStream::connect(upstream)?;
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LOOK))?;
        // Closing then resets the connection instead of ending it.
        SockRef::from(stream).set_linger(Some(Duration::ZERO))?;
    }
    let wire = Wire::default();
    for (from, to) in [(client.try_clone()?, server.try_clone()?), (server, client)] {
        let wire = Arc::clone(&wire);
        thread::spawn(move || {
            let _ = copy(from, to, &wire);
            wire.store(true, Ordering::Relaxed);
        });
    }
    Ok(wire)
}

/// Copies until the connection is cut, or one side has ended it.
fn copy(mut from: TcpStream, mut to: TcpStream, wire: &AtomicBool) -> Result<()> {
    let mut buffer = [0; 16 * 1024];
    while !wire.load(Ordering::Relaxed) {
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => to.write_all(&buffer[..length])?,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
