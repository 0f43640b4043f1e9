//! Why the demo ends early, and the exit code that says so.

pub type Result<T> = std::result::Result<T, Failure>;

pub enum Failure {
    /// The machine or the database lacks what the demo needs; nothing was tried.
    Lacking(String),
    /// Something went wrong, or the books do not add up.
    Broken(String),
}

impl Failure {
    pub fn code(&self) -> u8 {
        match self {
            Failure::Broken(_) => 1,
            Failure::Lacking(_) => 2,
        }
    }

    pub fn text(&self) -> &str {
        match self {
            Failure::Broken(text) | Failure::Lacking(text) => text,
        }
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure::Broken(explain(&error))
    }
}

/// An error with its causes: the first words of the postgres crate's are "db error".
pub fn explain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
