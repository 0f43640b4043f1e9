//! The consumers as seen by the process that starts them.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use crate::failure::{Failure, Result};
use crate::report::Report;
use crate::run::Event;

/// A round is a wait of a second or five packages; more than this is a hang.
const PATIENCE: Duration = Duration::from_secs(10);

pub struct Member {
    pub number: usize,
    pub doing: String,
    pub done: usize,
    child: Child,
}

impl Member {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn heard(&mut self, report: &Report) {
        match report {
            Report::Took(_) => {}
            Report::Began(package) => self.doing = format!("audits {package}"),
            Report::Done(_) => self.done += 1,
            Report::Failed(package) => self.doing = format!("failed on {package}"),
            Report::Lost(package) => self.doing = format!("came too late with {package}"),
            Report::Idle => self.doing = "waits".into(),
        }
    }
}

pub struct Crew {
    pub members: Vec<Member>,
    started: usize,
    events: Sender<Event>,
}

impl Crew {
    pub fn new(events: Sender<Event>) -> Crew {
        Crew { members: Vec::new(), started: 0, events }
    }

    /// Starts one more consumer; returns its number, which no other ever has.
    pub fn start_one(&mut self) -> Result<usize> {
        let number = self.started + 1;
        let mut child = Command::new(std::env::current_exe()?)
            .args(["consumer", &number.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        if let Some(stdout) = child.stdout.take() {
            listen(number, stdout, self.events.clone());
        }
        self.started = number;
        self.members.push(Member { number, doing: "starts".into(), done: 0, child });
        Ok(number)
    }

    pub fn member(&mut self, number: usize) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.number == number)
    }

    /// Kills a consumer in the middle of what it does (SIGKILL); returns its process id.
    pub fn kill(&mut self, number: usize) -> Result<u32> {
        let Some(index) = self.members.iter().position(|member| member.number == number) else {
            return Err(Failure::Broken(format!("there is no consumer {number} to kill")));
        };
        let mut member = self.members.remove(index);
        member.child.kill()?;
        member.child.wait()?;
        Ok(member.pid())
    }

    /// Lets all end after what they have in hand.
    pub fn finish(mut self) -> Result<()> {
        self.members.iter_mut().for_each(|member| drop(member.child.stdin.take()));
        let deadline = Instant::now() + PATIENCE;
        for member in &mut self.members {
            while member.child.try_wait()?.is_none() {
                if Instant::now() > deadline {
                    return Err(Failure::Broken(format!("consumer {} does not end", member.number)));
                }
                thread::sleep(Duration::from_millis(10));
            }
        }
        Ok(())
    }
}

/// Whatever way the demo ends, its processes end with it.
impl Drop for Crew {
    fn drop(&mut self) {
        for member in &mut self.members {
            let _ = member.child.kill();
            let _ = member.child.wait();
        }
    }
}

fn listen(number: usize, stdout: ChildStdout, events: Sender<Event>) {
    thread::spawn(move || {
        let lines = BufReader::new(stdout).lines().map_while(std::result::Result::ok);
        for report in lines.filter_map(|line| Report::parse(&line)) {
            if events.send(Event::Heard(number, report)).is_err() {
                return;
            }
        }
        let _ = events.send(Event::Silent(number));
    });
}
