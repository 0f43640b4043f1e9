//! Errors for every mistake of a caller, each once, with its SQLSTATE and a hint.
//!
//! A call that raises one of these has changed nothing.

use std::cell::RefCell;
use std::panic::AssertUnwindSafe;

use pgrx::pg_sys::panic::{CaughtError, ErrorReport, ErrorReportWithLevel};
use pgrx::{PgLogLevel, PgSqlErrorCode, PgTryBuilder, pg_sys};

use crate::value::right::Right;

/// Returns a text that every server can report and store. If the server's encoding is not UTF-8, it would
/// misread the text; only ASCII is the same in both.
pub fn printable(text: String) -> String {
    if is_server_utf8() {
        return text;
    }
    text.chars().map(|letter| if letter.is_ascii() { letter } else { '?' }).collect()
}

fn is_server_utf8() -> bool {
    // SAFETY: reads a variable of the server.
    unsafe { pg_sys::GetDatabaseEncoding() == pg_sys::pg_enc::PG_UTF8 as i32 }
}

/// Keeps the library's own frames out of the DETAIL of errors. pgrx puts them there if the server's
/// environment asks Rust for backtraces. Rust reads the variable once.
pub fn show_no_frames() {
    const VARIABLE: &str = "RUST_LIB_BACKTRACE";
    let before = std::env::var_os(VARIABLE);
    // SAFETY: a process of Postgres has one thread.
    unsafe {
        std::env::set_var(VARIABLE, "0");
        let _answer_is_kept = std::backtrace::Backtrace::capture();
        match before {
            Some(value) => std::env::set_var(VARIABLE, value),
            None => std::env::remove_var(VARIABLE),
        }
    }
}

/// Runs `work`, and keeps Postgres's errors in it printable.
pub fn with_printable_errors<R>(work: impl FnOnce() -> R) -> R {
    if is_server_utf8() {
        return work();
    }
    PgTryBuilder::new(AssertUnwindSafe(work))
        .catch_others(|caught| match caught {
            CaughtError::PostgresError(report)
            | CaughtError::ErrorReport(report)
            | CaughtError::RustPanic { ereport: report, .. } => Error::of_postgres(&report).raise(),
        })
        .execute()
}

/// Runs `work`. An error about data (class 22) that Postgres raises in it is returned as one about an argument.
///
/// The error is caught without a subtransaction: the caller must raise what is returned.
pub fn about_argument<R>(argument: &str, work: impl FnOnce() -> R) -> Result<R> {
    const CLASS: i32 = 0xfff;
    let is_of_data =
        |code: PgSqlErrorCode| (code as i32 ^ PgSqlErrorCode::ERRCODE_DATA_EXCEPTION as i32) & CLASS == 0;
    PgTryBuilder::new(AssertUnwindSafe(|| Ok(work())))
        .catch_others(|caught| match caught {
            CaughtError::PostgresError(report) if is_of_data(report.sql_error_code()) => {
                let mut error = Error::of_postgres(&report).argument(argument);
                error.message = format!("argument \"{argument}\": {}", error.message);
                Err(error)
            }
            other => other.rethrow(),
        })
        .execute()
}

/// A mistake of the caller, on its way to becoming an `ERROR`.
#[derive(Debug)]
pub struct Error {
    code: PgSqlErrorCode,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
    /// The argument that the error is about, or a part of it: `settings.lease`, `messages[2].delay`.
    argument: Option<String>,
}

thread_local! {
    /// The SQLSTATE, message and argument of the error that is about to be reported.
    static RAISING: RefCell<Option<(i32, String, String)>> = const { RefCell::new(None) };
}

/// Returns the argument that an error is about, if it was raised just now: once.
pub fn argument_of(code: i32, message: &str) -> Option<String> {
    let raising =
        RAISING.with_borrow_mut(|raising| raising.take_if(|about| about.0 == code && about.1 == message));
    raising.map(|(.., argument)| argument)
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    fn new(code: PgSqlErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), detail: None, hint: None, argument: None }
    }

    fn of_postgres(report: &ErrorReportWithLevel) -> Self {
        Self {
            code: report.sql_error_code(),
            message: report.message().to_owned(),
            detail: report.detail().map(str::to_owned),
            hint: report.hint().map(str::to_owned),
            argument: None,
        }
    }

    fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    fn argument(mut self, argument: impl Into<String>) -> Self {
        self.argument = Some(argument.into());
        self
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Raises the error. Never returns.
    pub fn raise(self) -> ! {
        self.report(PgLogLevel::ERROR);
        unreachable!("an ERROR does not return")
    }

    /// Reports it as a warning.
    pub fn warn(self, detail: &str) {
        self.detail(detail).report(PgLogLevel::WARNING);
    }

    fn report(self, level: PgLogLevel) {
        let message = printable(self.message);
        if let Some(argument) = self.argument.filter(|_| level == PgLogLevel::ERROR) {
            let about = (self.code as i32, message.clone(), printable(argument));
            RAISING.with_borrow_mut(|raising| *raising = Some(about));
        }
        let mut report = ErrorReport::new(self.code, message, "pgqueue");
        if let Some(detail) = self.detail {
            report = report.set_detail(printable(detail));
        }
        if let Some(hint) = self.hint {
            report = report.set_hint(printable(hint));
        }
        report.report(level);
    }

    /// 22004: a null for an argument that must have a value.
    pub fn null(argument: &str) -> Self {
        let hint = match argument {
            "payload" | "payloads" => "For an empty payload push the JSON value null: 'null'::jsonb.".into(),
            _ => format!("Give \"{argument}\" a value."),
        };
        Self::new(
            PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
            format!("argument \"{argument}\" must not be null"),
        )
        .argument(argument)
        .hint(hint)
    }

    /// 22023: a value that the argument cannot have.
    pub fn invalid(argument: &str, problem: impl AsRef<str>, hint: &str) -> Self {
        Self::new(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("argument \"{argument}\" {}", problem.as_ref()),
        )
        .argument(argument)
        .hint(hint)
    }

    /// 22023: an array whose length differs from the number of messages.
    pub fn wrong_length(argument: &str, messages: usize, elements: usize) -> Self {
        Self::invalid(
            argument,
            format!("must have as many elements as there are messages: {messages}, not {elements}"),
            "Leave it out, or give one element (or null) for each message.",
        )
    }

    /// 22023: a word that the argument does not know.
    pub fn unknown_word(argument: &str, word: &str, known: &[&str]) -> Self {
        Self::invalid(
            argument,
            format!("must not be \"{word}\""),
            &format!("It is one of {}.", known.join(", ")),
        )
    }

    /// 22023: an unknown setting of a queue, or an invalid value of one.
    pub fn setting(path: &str, problem: &str) -> Self {
        let message = if path == "." {
            format!("argument \"settings\": {problem}")
        } else {
            format!("argument \"settings\", field \"{path}\": {problem}")
        };
        Self::new(PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE, message)
            .argument(if path == "." { "settings".to_owned() } else { format!("settings.{path}") })
            .hint("Settings are a JSON object such as {\"lease\": \"30 s\", \"max_deliveries\": 5}.")
    }

    /// 22P02: a text that is no receipt.
    pub fn not_a_receipt(argument: &str, text: &[u8]) -> Self {
        const MOST_SHOWN: usize = 64;
        let text = String::from_utf8_lossy(text);
        let shown: String = text.chars().take(MOST_SHOWN).collect();
        let more = if shown.len() < text.len() { "..." } else { "" };
        Self::new(
            PgSqlErrorCode::ERRCODE_INVALID_TEXT_REPRESENTATION,
            format!("argument \"{argument}\" is no receipt: \"{shown}{more}\""),
        )
        .argument(argument)
        .hint("Pass the column receipt of pgq_reserve or pgq_next as it came.")
    }

    /// 22023: a field that messages do not have.
    pub fn unknown_field(field: &str, known: &[&str]) -> Self {
        Self::new(PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE, format!("unknown field \"{field}\""))
            .argument(field)
            .hint(format!("It is one of {}.", known.join(", ")))
    }

    /// The same error, of one message among many.
    pub fn of_message(mut self, number: usize) -> Self {
        self.message = format!("message {number}: {}", self.message);
        self.argument = self.argument.map(|field| format!("messages[{number}].{field}"));
        self
    }

    /// 54000: a name or key longer than the tables' indexes should carry.
    pub fn too_long(argument: &str, bytes: usize, limit: usize) -> Self {
        Self::new(
            PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            format!("argument \"{argument}\" is too long"),
        )
        .argument(argument)
        .detail(format!("It has {bytes} bytes, at most {limit} are allowed."))
        .hint("Use a shorter name, or a digest of it.")
    }

    /// 54000: a text, not a name, that is too long.
    pub fn text_too_long(argument: &str, bytes: usize, limit: usize) -> Self {
        Self::new(
            PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            format!("argument \"{argument}\" is too long"),
        )
        .argument(argument)
        .detail(format!("It has {bytes} bytes, at most {limit} are allowed."))
    }

    /// 54000: a content whose text no session could read.
    pub fn too_long_as_text(argument: &str, bytes: usize, limit: usize) -> Self {
        Self::new(
            PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            format!("argument \"{argument}\" is too long as text"),
        )
        .argument(argument)
        .detail(format!("As text it would have up to {bytes} bytes, at most {limit} are allowed."))
        .hint("Store it elsewhere, and push where it is.")
    }

    /// 54000: an array of more elements than a call takes.
    pub fn array_too_long(argument: &str, elements: usize, limit: usize) -> Self {
        Self::new(
            PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            format!("argument \"{argument}\" has too many elements"),
        )
        .argument(argument)
        .detail(format!("It has {elements} elements, at most {limit} are allowed."))
        .hint("Call the function for a part of them at a time.")
    }

    /// 42704: the queue does not exist, and this call does not create it.
    pub fn no_such_queue(name: &str) -> Self {
        Self::new(PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT, format!("queue \"{name}\" does not exist"))
            .hint("pgq_create_queue makes it, and so does its first push while pgqueue.auto_create is on.")
    }

    /// 42501: the caller lacks a right on the queue.
    pub fn not_allowed(name: &str, right: Right) -> Self {
        let error = Self::new(
            PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            format!("permission denied for queue \"{name}\""),
        );
        match right {
            Right::Own => error.hint("Only members of the role that owns it may do that."),
            _ => error.hint(format!("Its owner grants that: pgq_grant(queue, role, '{}').", right.word())),
        }
    }

    /// 42704: the topic does not exist; no call but one makes it.
    pub fn no_such_topic(name: &str) -> Self {
        Self::new(PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT, format!("topic \"{name}\" does not exist"))
            .hint("pgq_create_topic makes it.")
    }

    /// 42501: the caller lacks a right on the topic, or the owner of the queue to be subscribed does.
    pub fn not_allowed_on_topic(name: &str, right: Right) -> Self {
        let error = Self::new(
            PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            format!("permission denied for topic \"{name}\""),
        );
        match right {
            Right::Subscribe => error
                .detail("The owner of the queue lacks the right to subscribe queues.")
                .hint("The owner of the topic grants it: pgq_grant_topic(topic, role, 'subscribe')."),
            Right::Publish => error.hint("Its owner grants that: pgq_grant_topic(topic, role, 'publish')."),
            _ => error.hint("Only members of the role that owns it may do that."),
        }
    }

    /// 40001: another transaction has dropped the topic or the queue.
    pub fn subscription_was_dropped() -> Self {
        Self::new(
            PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE,
            "the topic or the queue was dropped by another transaction",
        )
        .hint("Run the transaction again.")
    }

    /// The same error for a publisher who must not learn which queue it is about.
    pub fn behind_topic(self, topic: &str) -> Self {
        let (problem, hint) = match self.code {
            PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED => {
                ("a queue of its subscribers is full", "Publish again later, or ask the owner of the topic.")
            }
            PgSqlErrorCode::ERRCODE_UNIQUE_VIOLATION => (
                "a queue of its subscribers has a message with this dedup_key already",
                "on_duplicate => 'ignore' keeps that one, 'replace' puts the new one in its place.",
            ),
            PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE => (
                "a queue of its subscribers was changed by another transaction",
                "Run the transaction again.",
            ),
            _ => ("a queue of its subscribers cannot take it", "Ask the owner of the topic."),
        };
        Self::new(self.code, format!("cannot publish to topic \"{topic}\": {problem}")).hint(hint)
    }

    /// 42501: the caller is no member of a role they act for.
    pub fn not_a_member(role: &str) -> Self {
        Self::new(
            PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            format!("must be a member of role \"{role}\""),
        )
        .hint("You must be a member of both roles, as with ALTER … OWNER TO.")
    }

    /// 42P01: another session has dropped the extension while this call began. A statement on a dropped table
    /// raises the same.
    pub fn extension_is_gone() -> Self {
        Self::new(
            PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE,
            "extension \"pgqueue\" was dropped during this call",
        )
    }

    /// 40001: another transaction has dropped the queue.
    pub fn queue_was_dropped() -> Self {
        Self::new(
            PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE,
            "a queue was dropped after this transaction had pushed to it",
        )
        .hint("Run the transaction again.")
    }

    /// 2200H: the sequence of ids has ended; nextval() raises the same.
    pub fn ids_are_used_up() -> Self {
        Self::new(
            PgSqlErrorCode::ERRCODE_SEQUENCE_GENERATOR_LIMIT_EXCEEDED,
            "no id is left for a message: sequence \"pgqueue.message_id\" ends before this timeline's next range",
        )
    }

    /// 53200: there is no memory for a value.
    pub fn no_memory(bytes: usize) -> Self {
        Self::new(PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY, format!("no memory for a value of {bytes} bytes"))
    }

    /// 54000: the query of a watch returns more than is compared.
    pub fn watch_gives_too_much(rows: usize, bytes: usize) -> Self {
        Self::new(
            PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            format!("the query of the watch gives more than {rows} objects, or more than {} MB", bytes >> 20),
        )
        .hint("Watch parts of it, or give shorter ids and hashes, such as md5(t::text).")
    }

    /// 42501: a user's statement on a table that maps names to roles.
    pub fn not_for_hands() -> Self {
        Self::new(
            PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            "queues, topics, rights and schedules are written by pgqueue's functions and the owner of its tables alone",
        )
        .hint("pgq_create_queue, pgq_grant, pgq_schedule and the like write them.")
    }

    /// 0A000: a statement that empties a table without telling what was in it.
    pub fn no_truncate() -> Self {
        Self::new(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            "messages and dead letters cannot be removed by TRUNCATE",
        )
        .hint("pgq_purge empties a queue, pgq_drop_queue removes it.")
    }

    /// 22023: the setting is unreadable, or names a role that does not exist.
    pub fn bad_default_grants(problem: &str) -> Self {
        Self::new(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("setting \"pgqueue.default_grants\": {problem}"),
        )
        .hint("It is a JSON object such as {\"workers\": [\"consume\"], \"public\": [\"push\"]}.")
    }

    /// 42501: the caller has a right neither on the schedule nor on its queue.
    pub fn not_your_schedule(name: &str) -> Self {
        Self::new(
            PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            format!("permission denied for schedule \"{name}\""),
        )
        .hint("Use another name, or become a member of the role that owns it or its queue.")
    }

    /// 42809: the name is that of a watch where a schedule is expected, or the reverse.
    pub fn other_kind_of_schedule(name: &str, is_watch: bool) -> Self {
        let (kind, remove) = if is_watch { ("watch", "pgq_unwatch") } else { ("schedule", "pgq_unschedule") };
        Self::new(PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE, format!("\"{name}\" is a {kind}"))
            .hint(format!("Use another name; {remove} removes it."))
    }

    /// 42704: no role has this name.
    pub fn no_such_role(argument: &str, name: &str) -> Self {
        Self::new(
            PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
            format!("argument \"{argument}\": role \"{name}\" does not exist"),
        )
        .argument(argument)
        .hint("Give the name as pg_roles has it, without quotes. pgq_grant and pgq_revoke take public for all roles.")
    }

    /// 42704: the role that owned something was dropped.
    pub fn owner_is_gone(name: &str) -> Self {
        Self::new(PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT, format!("the owner of \"{name}\" does not exist any more"))
            .hint("A superuser gives queues to another role with pgq_set_owner; schedules and watches are made again.")
    }

    /// 39P01: a trigger that cannot capture changes.
    pub fn bad_capture(problem: &str) -> Self {
        Self::new(
            PgSqlErrorCode::ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED,
            format!("pgq_capture {problem}"),
        )
        .hint("CREATE TRIGGER ... AFTER INSERT OR UPDATE OR DELETE ON ... FOR EACH ROW EXECUTE FUNCTION pgq_capture('queue').")
    }

    /// 39P01: a trigger function that was not called as a trigger.
    pub fn not_a_trigger() -> Self {
        Self::new(
            PgSqlErrorCode::ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED,
            "the function must be called as a trigger",
        )
        .hint("It is not for callers: triggers on the tables of pgqueue call it.")
    }

    /// 42703: a key column that does not exist in the table.
    pub fn no_such_column(name: &str) -> Self {
        Self::new(
            PgSqlErrorCode::ERRCODE_UNDEFINED_COLUMN,
            format!("key column \"{name}\" of pgq_capture does not exist"),
        )
        .hint("The arguments after the queue are names of columns as they are stored, without quotes.")
    }

    /// 39P01: the old and new rows of an UPDATE cannot be matched.
    pub fn capture_needs_key() -> Self {
        Self::new(
            PgSqlErrorCode::ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED,
            "pgq_capture needs key columns to capture an UPDATE FOR EACH STATEMENT",
        )
        .detail("The table has no primary key, and the trigger names no columns.")
        .hint("Name them after the queue, make a primary key, or capture FOR EACH ROW.")
    }

    /// 55000: the extension's SQL is older or newer than the library.
    pub fn wrong_version(installed: &str, library: &str, is_older: bool, is_standby: bool) -> Self {
        let hint = match (is_older, is_standby) {
            (true, false) => "Run ALTER EXTENSION pgqueue UPDATE.",
            (true, true) => "Run ALTER EXTENSION pgqueue UPDATE on the primary server.",
            (false, _) => {
                "Connect anew, after a restart of the server if it preloads the library, so that the new library is loaded."
            }
        };
        Self::new(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!(
                "extension pgqueue is installed as version {installed}, but its library is version {library}"
            ),
        )
        .hint(hint)
    }

    /// 25006: this transaction or server cannot write.
    pub fn read_only(function: &str, standby: bool) -> Self {
        let (place, hint) = if standby {
            ("during recovery", "Connect to the primary server.")
        } else {
            ("in a read-only transaction", "Start the transaction with READ WRITE.")
        };
        Self::new(
            PgSqlErrorCode::ERRCODE_READ_ONLY_SQL_TRANSACTION,
            format!("cannot execute {function}() {place}"),
        )
        .hint(hint)
    }

    /// 42809: the queue keeps no dead letters.
    pub fn dead_letters_off(name: &str) -> Self {
        Self::new(
            PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
            format!("queue \"{name}\" keeps no dead letters"),
        )
        .hint("pgq_alter_queue(queue, '{\"dead_letter\": true}') makes it keep them from now on.")
    }

    /// P0002, as SELECT INTO STRICT raises it: a strict call in which these receipts were refused.
    pub fn refused(ids: &[i64], all: usize) -> Self {
        const MOST_NAMED: usize = 100;
        let named: Vec<String> = ids.iter().take(MOST_NAMED).map(i64::to_string).collect();
        let more = if ids.len() > named.len() { ", ..." } else { "" };
        let message = match (ids, all) {
            ([id], 1) => format!("the receipt of message {id} was refused"),
            _ => format!("refused {} of {all} receipts: of messages {}{more}", ids.len(), named.join(", ")),
        };
        Self::new(PgSqlErrorCode::ERRCODE_NO_DATA_FOUND, message)
            .detail(
                "A refused message is gone, is not leased any more, or was delivered to another consumer.",
            )
            .hint("Nothing was changed. Roll your work for it back: another consumer may do the same work.")
    }

    /// 25001: `CALL pgq_wait` would keep a snapshot for as long as it waits.
    pub fn snapshot_must_stay() -> Self {
        Self::new(
            PgSqlErrorCode::ERRCODE_ACTIVE_SQL_TRANSACTION,
            "pgq_wait cannot let go of this transaction's snapshot",
        )
        .detail("It would hold back the cleaning of every table for as long as it waits.")
        .hint("CALL it by itself, at isolation level READ COMMITTED, outside of functions and with no cursor open.")
    }

    /// 53400: a queue holds as many messages as it may.
    pub fn full(name: &str, length: i64, more: usize, limit: i64) -> Self {
        Self::new(PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED, format!("queue \"{name}\" is full"))
            .detail(format!(
                "It holds {length} messages, and with {more} more would exceed its max_length, {limit}."
            ))
            .hint("Push again later, or set the queue's max_length or on_full: see pgq_alter_queue.")
    }

    /// 23505: a message with this key already waits, or was pushed lately.
    pub fn duplicate(key: &str, id: i64) -> Self {
        Self::new(
            PgSqlErrorCode::ERRCODE_UNIQUE_VIOLATION,
            format!("argument \"dedup_key\": a message with the key \"{key}\" is there already"),
        )
        .argument("dedup_key")
        .detail(format!("It has the id {id}."))
        .hint("on_duplicate => 'ignore' keeps that one, 'replace' puts the new one in its place.")
    }

    /// 55000: a table of the extension has an object of a user that its writers cannot obey.
    pub fn cannot_obey(object: &str, problem: &str, hint: &str) -> Self {
        Self::new(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("pgqueue cannot obey {object}"),
        )
        .detail(problem)
        .hint(hint)
    }

    /// 55000: a user has changed a table of the extension, or an index of it.
    pub fn table_is_changed(object: &str, problem: &str, hint: &str) -> Self {
        Self::new(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("pgqueue cannot use {object}: {problem}"),
        )
        .hint(hint)
    }

    /// 55P03: work that must not wait met a lock. No caller sees it.
    pub fn busy() -> Self {
        Self::new(
            PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE,
            "another transaction is changing the next message of a group",
        )
    }

    /// 40001: another transaction has changed a message that this one's snapshot still shows.
    pub fn could_not_serialize() -> Self {
        Self::new(
            PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE,
            "could not serialize access to a message due to a concurrent change",
        )
        .hint("Run the transaction again.")
    }

    /// 0A000: a set-returning function was called where no set is accepted.
    pub fn no_set_here() -> Self {
        Self::new(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            "set-valued function called in context that cannot accept a set",
        )
        .hint("Call it in FROM.")
    }
}
