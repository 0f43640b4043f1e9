//! Signals to processes. A minimal Debian has no program for them.

use rustix::io::{Errno, Result};
use rustix::process::{Pid, kill_process, kill_process_group};

pub use rustix::process::Signal;

/// Sends a signal to a process. Returns whether the process is there.
pub fn send(signal: Signal, process: i32) -> bool {
    was_there(kill_process(pid(process), signal))
}

/// The same for all processes of a group.
pub fn send_to_group(signal: Signal, group: i32) -> bool {
    was_there(kill_process_group(pid(group), signal))
}

fn pid(number: i32) -> Pid {
    Pid::from_raw(number).filter(|_| number > 0).unwrap_or_else(|| panic!("{number} is no process"))
}

fn was_there(sent: Result<()>) -> bool {
    match sent {
        Ok(()) => true,
        Err(Errno::SRCH) => false,
        Err(error) => panic!("a signal cannot be sent: {error}"),
    }
}
