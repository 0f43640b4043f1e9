//! Calls: a function with a value for each of its arguments, as SQL that can be repeated.

use crate::pool::{self, Encoding};
use crate::signature::{Argument, Function, Kind};

/// A function and, for each argument, what is tried.
pub struct Target {
    pub function: Function,
    values: Vec<Vec<String>>,
}

/// Which value each argument gets; none: it is left out.
pub type Choice = Vec<Option<usize>>;

impl Target {
    pub fn new(function: Function, encoding: Encoding) -> Self {
        let of = |argument: &Argument| {
            pool::values(argument, encoding).unwrap_or_else(|| {
                panic!(
                    "{}: nobody has thought of values for {} {}",
                    function.name, argument.name, argument.sql_type
                )
            })
        };
        let values = function.arguments.iter().map(of).collect();
        Self { function, values }
    }

    /// All values that any call may have.
    pub fn values(&self) -> impl Iterator<Item = &String> {
        self.values.iter().flatten()
    }

    /// A call as users make it: what has a default is left out.
    pub fn plain(&self) -> Choice {
        self.function.arguments.iter().map(|argument| (!argument.has_default).then_some(0)).collect()
    }

    /// Every value of every argument once, beside plain ones; or only of those whose values
    /// depend on the encoding.
    pub fn singles(&self, only_texts: bool) -> Vec<Choice> {
        let single = |n: usize, value: usize| {
            let mut choice = self.plain();
            choice[n] = Some(value);
            choice
        };
        let all = |n: usize| (0..self.values[n].len()).map(move |value| single(n, value));
        let is_wanted = |n: &usize| {
            !only_texts || matches!(self.function.arguments[*n].sql_type.as_str(), "text" | "jsonb")
        };
        let chosen = (0..self.values.len()).filter(is_wanted);
        std::iter::once(self.plain()).chain(chosen.flat_map(all)).collect()
    }

    /// Two arguments, or more, with any of their values.
    pub fn mixed(&self, random: &mut fastrand::Rng) -> Choice {
        let mut choice = self.plain();
        if choice.is_empty() {
            return choice;
        }
        let arguments = if random.u8(..) < 200 { 2 } else { choice.len() };
        for _ in 0..arguments {
            let n = random.usize(..choice.len());
            choice[n] = Some(random.usize(..self.values[n].len()));
        }
        choice
    }

    /// The call. A function's rows are read as text, so that its output is looked at too.
    pub fn sql(&self, choice: &Choice, in_target_list: bool) -> String {
        let name = &self.function.name;
        let given = |(n, value): (usize, &Option<usize>)| {
            value.map(|value| format!("{} => {}", self.function.arguments[n].name, self.values[n][value]))
        };
        let arguments: Vec<String> = choice.iter().enumerate().filter_map(given).collect();
        let call = format!("{name}({})", arguments.join(", "));
        match self.function.kind {
            Kind::Procedure => format!("CALL {call}"),
            Kind::Trigger => format!("SELECT {call}"),
            Kind::Function if in_target_list => {
                format!("SELECT count(r::text) FROM (SELECT {call} AS r OFFSET 0) s")
            }
            Kind::Function => format!("SELECT count(r::text) FROM {call} r"),
        }
    }

    /// The value a choice has for an argument of this name.
    pub fn value_of(&self, argument: &str, choice: &Choice) -> Option<&String> {
        let n = self.function.arguments.iter().position(|known| known.name == argument)?;
        choice[n].map(|value| &self.values[n][value])
    }
}
