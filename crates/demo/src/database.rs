//! The way to the server, and what the demo puts into it before it starts.

use postgres::error::SqlState;
use postgres::{Client, Config, NoTls};
use serde_json::json;

use crate::failure::{Failure, Result, explain};

/// How long a consumer may be silent before its messages go to somebody else.
pub const LEASE: &str = "2 s";
pub const MAX_DELIVERIES: i32 = 3;

/// Connects as the environment says (PGHOST, PGPORT, PGUSER, PGDATABASE, PGPASSWORD);
/// `who` is the connection's name in `pg_stat_activity`.
pub fn connect(who: &str) -> Result<Client> {
    let Some(host) = variable("PGHOST") else {
        return Err(Failure::Lacking(
            "PGHOST is not set: run this as .ci/with-server -- pgqueue-demo".into(),
        ));
    };
    let mut config = Config::new();
    config.host(&host).application_name(&application_name(who));
    config.user(variable("PGUSER").as_deref().unwrap_or("postgres"));
    config.dbname(variable("PGDATABASE").as_deref().unwrap_or("postgres"));
    if let Some(port) = variable("PGPORT") {
        let unfit = |_| Failure::Lacking(format!("PGPORT is {port:?}, which is not a port"));
        config.port(port.parse().map_err(unfit)?);
    }
    if let Some(password) = variable("PGPASSWORD") {
        config.password(password);
    }
    let unreachable = |error| Failure::Lacking(format!("no server at PGHOST={host}: {}", explain(&error)));
    config.connect(NoTls).map_err(unreachable)
}

pub fn application_name(who: &str) -> String {
    format!("pgqueue-demo {who}")
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Makes the tables, the trigger and the queue, or nothing: a database that has
/// something of these names is refused, for it may not be ours.
pub fn set_up(client: &mut Client) -> Result<()> {
    client.batch_execute("SET client_min_messages = warning")?;
    let without = |error| Failure::Lacking(format!("this server cannot have pgqueue: {}", explain(&error)));
    client.batch_execute("CREATE EXTENSION IF NOT EXISTS pgqueue").map_err(without)?;

    let settings = json!({
        "lease": LEASE,
        "max_deliveries": MAX_DELIVERIES,
        "backoff": {"base": "200 ms", "max": "1 s"},
    });
    let mut transaction = client.transaction()?;
    transaction.batch_execute(include_str!("schema.sql")).map_err(taken)?;
    let row = transaction.query_one("SELECT pgq_create_queue('audit', $1)", &[&settings])?;
    if !row.get::<_, bool>(0) {
        return Err(used_before("queue \"audit\" already exists"));
    }
    Ok(transaction.commit()?)
}

fn taken(error: postgres::Error) -> Failure {
    match error.code() {
        Some(&SqlState::DUPLICATE_TABLE | &SqlState::DUPLICATE_FUNCTION | &SqlState::DUPLICATE_OBJECT) => {
            used_before(&explain(&error))
        }
        _ => error.into(),
    }
}

fn used_before(what: &str) -> Failure {
    Failure::Lacking(format!("this database is not empty ({what}): run the demo in a fresh one"))
}
