//! What a person watches. On a terminal a few lines are redrawn in place, and notes
//! scroll by above them; elsewhere there is a line a second.
//!
//! The cursor is never hidden and every line ends in plain text, so nothing needs
//! to be put right after Ctrl-C.

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::crew::Member;
use crate::failure::Result;
use crate::stats::Stats;

/// The bar's length, and the room for what stands beside it.
const BAR: usize = 40;
const BESIDE_BAR: usize = 40;
const LINE_PERIOD: Duration = Duration::from_secs(1);
/// The rate shown is that of this last while.
const RATE_OVER: Duration = Duration::from_secs(2);

#[derive(Clone, Copy)]
pub enum Tone {
    Plain,
    Good,
    Bad,
}

pub struct Display {
    total: usize,
    started: Instant,
    terminal: bool,
    colour: bool,
    /// The lines of the last frame; the cursor stands below them.
    frame: Vec<String>,
    last_line: Option<Instant>,
    settled: VecDeque<(Instant, i64)>,
}

impl Display {
    pub fn new(total: usize, started: Instant) -> Display {
        let terminal = io::stdout().is_terminal() && std::env::var("TERM").is_ok_and(|term| term != "dumb");
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Display {
            total,
            started,
            terminal,
            colour,
            frame: Vec::new(),
            last_line: None,
            settled: VecDeque::new(),
        }
    }

    /// Says something that stays.
    pub fn note(&mut self, tone: Tone, text: &str) -> Result<()> {
        let text = paint(self.colour, tone, text);
        let line = format!("{} {text}\n", self.clock());
        let frame = std::mem::take(&mut self.frame);
        self.write(&format!("{}{line}{}", erase(frame.len()), lines(&frame)))?;
        self.frame = frame;
        Ok(())
    }

    pub fn show(&mut self, stats: &Stats, members: &[Member]) -> Result<()> {
        let rate = self.rate(stats.settled());
        if self.terminal {
            let frame = self.draw(stats, members, rate);
            self.write(&format!("{}{}", erase(self.frame.len()), lines(&frame)))?;
            self.frame = frame;
            return Ok(());
        }
        if self.last_line.is_some_and(|last| last.elapsed() < LINE_PERIOD) {
            return Ok(());
        }
        self.last_line = Some(Instant::now());
        let text = format!("{} {} | {} | {rate}/s\n", self.clock(), now(stats), so_far(stats));
        self.write(&text)
    }

    /// Leaves the last frame where it is.
    pub fn end(&mut self) -> Result<()> {
        self.frame.clear();
        Ok(())
    }

    fn draw(&self, stats: &Stats, members: &[Member], rate: i64) -> Vec<String> {
        let settled = stats.settled() as usize;
        let length = BAR.min(width().saturating_sub(BESIDE_BAR));
        let filled = (settled * length / self.total).min(length);
        let bar = paint(self.colour, Tone::Good, &"#".repeat(filled)) + &".".repeat(length - filled);
        let mut frame = vec![
            String::new(),
            format!("{} [{bar}] {settled} of {}, {rate}/s", self.clock(), self.total),
            fit(&format!("  now      {}", now(stats))),
            fit(&format!("  so far   {}", so_far(stats))),
        ];
        frame.extend(members.iter().map(|member| {
            let Member { number, done, doing, .. } = member;
            fit(&format!("  consumer {number} (pid {})  {done:>4} done  {doing}", member.pid()))
        }));
        frame
    }

    fn clock(&self) -> String {
        format!("{:5.1} s", self.started.elapsed().as_secs_f64())
    }

    fn rate(&mut self, settled: i64) -> i64 {
        let now = Instant::now();
        self.settled.push_back((now, settled));
        while self.settled.len() > 2 && now - self.settled[1].0 > RATE_OVER {
            self.settled.pop_front();
        }
        let (then, before) = self.settled[0];
        let seconds = (now - then).as_secs_f64().max(0.1);
        ((settled - before) as f64 / seconds) as i64
    }

    fn write(&self, text: &str) -> Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        Ok(out.flush()?)
    }
}

/// Moves the cursor up over a frame and clears what is below.
fn erase(lines: usize) -> String {
    if lines == 0 { String::new() } else { format!("\x1b[{lines}A\r\x1b[J") }
}

/// Cuts a line to the terminal's width: one that wraps would spoil the redrawing.
fn fit(line: &str) -> String {
    line.chars().take(width().saturating_sub(1)).collect()
}

fn width() -> usize {
    terminal_size::terminal_size().map_or(80, |(width, _)| usize::from(width.0))
}

fn lines(frame: &[String]) -> String {
    frame.iter().map(|line| format!("{line}\n")).collect()
}

fn now(stats: &Stats) -> String {
    let Stats { ready, delayed, leased, dead, .. } = stats;
    format!("ready {ready:>4}  delayed {delayed:>3}  leased {leased:>3}  dead {dead}")
}

fn so_far(stats: &Stats) -> String {
    let Stats { pushed, delivered, deleted, retried, .. } = stats;
    format!("pushed {pushed:>4}  delivered {delivered:>4}  deleted {deleted:>4}  retried {retried:>3}")
}

fn paint(colour: bool, tone: Tone, text: &str) -> String {
    match tone {
        Tone::Good if colour => format!("\x1b[32m{text}\x1b[0m"),
        Tone::Bad if colour => format!("\x1b[31m{text}\x1b[0m"),
        _ => text.to_owned(),
    }
}
