//! Programs in Python that use a server.

use std::process::{Child, Command, Stdio};

use crate::Server;

/// A process that ends with the test.
pub struct Python(pub Child);

impl Python {
    pub fn start(server: &Server, program: &str) -> Self {
        Self(command(server, program).spawn().unwrap())
    }

    /// The same for a program that tells of errors which the test makes.
    pub fn start_silently(server: &Server, program: &str) -> Self {
        Self(command(server, program).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    pub fn is_alive(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

fn command(server: &Server, program: &str) -> Command {
    let mut python = Command::new("/usr/bin/python3");
    python.args(["-c", program]).envs(server.environment()).stdin(Stdio::null());
    python
}

impl Drop for Python {
    fn drop(&mut self) {
        let _it_may_have_ended = self.0.kill();
        let _status = self.0.wait();
    }
}
