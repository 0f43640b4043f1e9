//! What a consumer tells the process that started it: a line on its stdout for each
//! step. The queue needs none of it; it is there to be shown.

use std::fmt;

/// A message as a consumer holds it; (id, delivery) is its receipt.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    pub id: i64,
    pub delivery: i64,
    pub package: String,
}

#[derive(Debug, PartialEq)]
pub enum Report {
    Took(Vec<Job>),
    Began(String),
    Done(String),
    Failed(String),
    /// Finished too late: the message has been leased to somebody else.
    Lost(String),
    Idle,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Report::Took(jobs) => {
                f.write_str("took")?;
                jobs.iter().try_for_each(|job| write!(f, " {}/{}/{}", job.id, job.delivery, job.package))
            }
            Report::Began(package) => write!(f, "began {package}"),
            Report::Done(package) => write!(f, "done {package}"),
            Report::Failed(package) => write!(f, "failed {package}"),
            Report::Lost(package) => write!(f, "lost {package}"),
            Report::Idle => f.write_str("idle"),
        }
    }
}

impl Report {
    pub fn parse(line: &str) -> Option<Report> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let package = rest.to_owned();
        Some(match verb {
            "took" => Report::Took(rest.split(' ').map(parse_job).collect::<Option<_>>()?),
            "began" => Report::Began(package),
            "done" => Report::Done(package),
            "failed" => Report::Failed(package),
            "lost" => Report::Lost(package),
            "idle" => Report::Idle,
            _ => return None,
        })
    }
}

fn parse_job(word: &str) -> Option<Job> {
    let mut parts = word.splitn(3, '/');
    let (id, delivery) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some(Job { id, delivery, package: parts.next()?.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_reads_back_as_it_was_written() {
        let job = Job { id: 7, delivery: 2, package: "libc6:amd64".into() };
        for report in [Report::Took(vec![job.clone(), job]), Report::Done("bash".into()), Report::Idle] {
            assert_eq!(Report::parse(&report.to_string()), Some(report));
        }
    }

    #[test]
    fn a_line_that_is_no_report_is_refused() {
        assert_eq!(Report::parse("took 7/x/bash"), None);
        assert_eq!(Report::parse("sang"), None);
    }
}
