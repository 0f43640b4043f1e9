//! A worker that runs, with all its processes.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};

use support::signal::{self, Signal};

/// Its processes are a group of their own, and end with it.
pub struct Process(Child);

impl Process {
    pub fn start(mut command: Command) -> Self {
        if std::env::var_os("PGQUEUE_WORKERS_SPEAK").is_none() {
            command.stdout(Stdio::null()).stderr(Stdio::null());
        }
        Self(command.process_group(0).stdin(Stdio::null()).spawn().unwrap_or_else(|error| {
            panic!("{command:?}: {error}; tests/workers/setup installs what the workers need")
        }))
    }

    pub fn is_alive(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    /// A signal to all of its processes.
    pub fn send(&self, signal: Signal) {
        assert!(signal::send_to_group(signal, self.group()), "it runs");
    }

    /// A signal to the process that was started.
    pub fn send_to_first(&self, signal: Signal) {
        assert!(signal::send(signal, self.group()), "it runs");
    }

    pub fn wait(&mut self) -> ExitStatus {
        self.0.wait().unwrap()
    }

    fn group(&self) -> i32 {
        self.0.id().try_into().unwrap()
    }
}

/// By SIGKILL, all of them.
impl Drop for Process {
    fn drop(&mut self) {
        let _some_are_left = signal::send_to_group(Signal::KILL, self.group());
        let _status = self.0.wait();
    }
}
