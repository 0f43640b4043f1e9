//! Operations as a person reads them.

use std::fmt::{Display, Formatter, Result, Write};

use crate::facts::Step;
use crate::record::{Act, End, Met, Order, Receipt, Span, Taken, Verdict};

/// The time of a span in seconds.
impl Display for Span {
    fn fmt(&self, f: &mut Formatter) -> Result {
        let seconds = |moment: i64| moment as f64 / 1e6;
        if self.returned == i64::MAX {
            return write!(f, "{:.6}–", seconds(self.invoked));
        }
        write!(f, "{:.6}–{:.6}", seconds(self.invoked), seconds(self.returned))
    }
}

impl Display for End {
    fn fmt(&self, f: &mut Formatter) -> Result {
        match self {
            Self::Committed(span) => write!(f, "committed {span}"),
            Self::RolledBack => f.write_str("rolled back"),
            Self::Unknown(span) => write!(f, "perhaps committed {span}"),
        }
    }
}

impl Display for Receipt {
    fn fmt(&self, f: &mut Formatter) -> Result {
        match self.delivery {
            Some(delivery) => write!(f, "{}/{delivery}", self.id),
            None => write!(f, "{}", self.id),
        }
    }
}

impl Display for Taken {
    fn fmt(&self, f: &mut Formatter) -> Result {
        write!(f, "{}/{} (token {}", self.id, self.delivery, self.token)?;
        match self.until {
            Some(until) => write!(f, ", until {:.6})", until as f64 / 1e6),
            None => f.write_char(')'),
        }
    }
}

impl Display for Order {
    fn fmt(&self, f: &mut Formatter) -> Result {
        if let Some(group) = &self.group {
            write!(f, " of group {group:?}")?;
        }
        write!(f, " with priority {}", self.priority)
    }
}

impl Display for Step<'_> {
    fn fmt(&self, f: &mut Formatter) -> Result {
        let (transaction, operation) = (self.transaction, self.operation);
        write!(f, "client {}, transaction {} ({}", transaction.client, transaction.number, transaction.end)?;
        f.write_str(if transaction.durable { ", durable): " } else { "): " })?;
        write!(f, "{} {}, queue {:?}", operation.span, operation.act, operation.queue)?;
        if let Some(clock) = operation.clock {
            write!(f, ", the server's clock at {:.6}", clock.began as f64 / 1e6)?;
        }
        f.write_str(if operation.undone { ", undone" } else { "" })
    }
}

impl Display for Act {
    fn fmt(&self, f: &mut Formatter) -> Result {
        match self {
            Self::Push { messages, order, .. } => {
                f.write_str("push")?;
                for pushed in messages {
                    let id = pushed.id.map_or_else(|| "?".to_owned(), |id| id.to_string());
                    let met = match pushed.met {
                        None => "",
                        Some(Met::Ignored) => ", ignored",
                        Some(Met::Replaced) => ", replaced",
                    };
                    write!(f, " {id} (token {}{met})", pushed.token)?;
                }
                write!(f, "{order}")
            }
            Self::Reserve { taken, .. } => list(f, "reserve:", taken),
            Self::Pop { taken, .. } => list(f, "pop:", taken),
            Self::Settle { verdict, receipts, done, .. } => {
                let verb = match verdict {
                    Verdict::Extend => "extend",
                    Verdict::Release => "release",
                    Verdict::Fail => "fail",
                    Verdict::Bury => "bury",
                    Verdict::Delete => "delete",
                };
                f.write_str(verb)?;
                for receipt in receipts {
                    write!(f, " {receipt}")?;
                }
                let done = done.as_ref().map(|done| done.iter().map(|done| done.id).collect());
                list(f, "; done:", &done)
            }
            Self::Purge => f.write_str("purge"),
            Self::DumpDead { dumped, .. } => list(f, "dump dead letters:", dumped),
            Self::Redrive => f.write_str("redrive"),
            Self::Move { ids, to, moved } => {
                write!(f, "move {ids:?} to {to:?}")?;
                let moved = moved
                    .as_ref()
                    .map(|moved| moved.iter().map(|(old, new)| format!("{old} as {new}")).collect());
                list(f, "; moved:", &moved)
            }
        }
    }
}

fn list(f: &mut Formatter, what: &str, items: &Option<Vec<impl Display>>) -> Result {
    f.write_str(what)?;
    match items {
        None => f.write_str(" no answer"),
        Some(items) if items.is_empty() => f.write_str(" none"),
        Some(items) => items.iter().try_for_each(|item| write!(f, " {item}")),
    }
}
