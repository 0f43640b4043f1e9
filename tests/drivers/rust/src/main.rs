//! rust-postgres (tokio-postgres behind a blocking face) and sqlx.

use std::time::Duration;

use postgres::types::ToSql;
use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection, Row};

fn say(client: &str, check: &str, is_ok: bool, seen: &str) {
    println!("{client}\t{check}\t{}\t{seen}", if is_ok { "ok" } else { "FAILED" });
}

fn with_postgres() -> Result<(), postgres::Error> {
    let client = "rust-postgres 0.19 (tokio-postgres)";
    let host = std::env::var("PGHOST").unwrap_or_default();
    let mut db = postgres::Config::new()
        .host_path(host)
        .port(std::env::var("PGPORT").unwrap_or_default().parse().unwrap_or(5432))
        .user("postgres")
        .connect(postgres::NoTls)?;
    let mut last = 0_i64;
    for n in 0..6_i64 {
        let payload: Value = json!({ "n": n });
        let args: [&(dyn ToSql + Sync); 3] = [&"rust", &payload, &-n];
        last = db.query_one("SELECT pgq_push($1, $2, priority => $3)", &args)?.get(0);
    }
    say(client, "push", last > 1 << 53, "i64");
    let reserve = "SELECT id, delivery FROM pgq_reserve($1, max => $2)";
    let row = db.query_one(reserve, &[&"rust", &1_i64])?;
    let (id, delivery): (i64, i64) = (row.get(0), row.get(1));
    let extend = "SELECT * FROM pgq_extend($1, make_interval(secs => $2), $3)";
    say(
        client,
        "extend",
        db.query(extend, &[&id, &60_f64, &delivery])?.len() == 1,
        "make_interval(secs => $n)",
    );
    let release = "SELECT pgq_release($1, make_interval(secs => $2), $3)";
    say(
        client,
        "release",
        db.query_one(release, &[&id, &0_f64, &delivery])?.get(0),
        "make_interval(secs => $n)",
    );
    let row = db.query_one(reserve, &[&"rust", &1_i64])?;
    let (id, delivery): (i64, i64) = (row.get(0), row.get(1));
    let outcome: String =
        db.query_one("SELECT outcome FROM pgq_fail($1, $2, $3)", &[&id, &"no", &delivery])?.get(0);
    say(client, "fail", outcome == "retry", "");
    let row = db.query_one(reserve, &[&"rust", &1_i64])?;
    let (id, delivery): (i64, i64) = (row.get(0), row.get(1));
    say(client, "delete", db.query_one("SELECT pgq_delete($1, $2)", &[&id, &delivery])?.get(0), "i64");
    let refused: bool = db.query_one("SELECT pgq_delete($1, $2)", &[&id, &delivery])?.get(0);
    say(client, "refused", !refused, "false");
    let strict = db.query_one("SELECT pgq_delete($1, $2, strict => true)", &[&id, &delivery]).err();
    let code = strict.as_ref().and_then(|error| error.code()).map(|code| code.code().to_owned());
    say(client, "strict", code.as_deref() == Some("P0002"), &code.clone().unwrap_or_default());
    let (ids, deliveries): (Vec<i64>, Vec<i64>) = db
        .query(reserve, &[&"rust", &2_i64])?
        .iter()
        .map(|row| (row.get::<_, i64>(0), row.get::<_, i64>(1)))
        .unzip();
    let batch = "SELECT pgq_delete_batch($1, $2)";
    say(client, "batch", db.query(batch, &[&ids, &deliveries])?.len() == 2, "Vec<i64>");
    let none: Vec<i64> = Vec::new();
    say(client, "empty batch", db.query(batch, &[&none, &none])?.is_empty(), "");
    let receipt: String =
        db.query_one("SELECT receipt FROM pgq_reserve($1, max => $2)", &[&"rust", &1_i64])?.get(0);
    let extend = "SELECT * FROM pgq_extend_by_receipt($1, make_interval(secs => $2))";
    let longer = db.query(extend, &[&receipt, &60_f64])?.len() == 1;
    let deleted: bool = db.query_one("SELECT pgq_delete_by_receipt($1)", &[&receipt])?.get(0);
    say(client, "receipt", longer && deleted, "String");
    let seconds: f64 = db.query_one("SELECT oldest_ready_seconds FROM pgq_stats($1)", &[&"rust"])?.get(0);
    say(client, "seconds", seconds >= 0.0, "f64");
    Ok(())
}

async fn with_sqlx() -> Result<(), sqlx::Error> {
    let client = "sqlx 0.8";
    let mut db = PgConnection::connect_with(&PgConnectOptions::new()).await?;
    let mut last = 0_i64;
    for n in 0..6_i64 {
        let push = sqlx::query_scalar("SELECT pgq_push($1, $2, priority => $3)");
        last = push.bind("sqlx").bind(json!({ "n": n })).bind(-n).fetch_one(&mut db).await?;
    }
    say(client, "push", last > 1 << 53, "i64");
    let reserve = "SELECT id, delivery FROM pgq_reserve($1, max => $2)";
    let (id, delivery): (i64, i64) =
        sqlx::query_as(reserve).bind("sqlx").bind(1_i64).fetch_one(&mut db).await?;
    let extend = sqlx::query("SELECT * FROM pgq_extend($1, $2, $3)").bind(id).bind(Duration::from_secs(60));
    say(client, "extend", extend.bind(delivery).fetch_all(&mut db).await?.len() == 1, "Duration");
    let release = sqlx::query_scalar("SELECT pgq_release($1, $2, $3)").bind(id).bind(Duration::ZERO);
    say(client, "release", release.bind(delivery).fetch_one(&mut db).await?, "Duration");
    let (id, delivery): (i64, i64) =
        sqlx::query_as(reserve).bind("sqlx").bind(1_i64).fetch_one(&mut db).await?;
    let fail =
        sqlx::query_scalar::<_, String>("SELECT outcome FROM pgq_fail($1, $2, $3)").bind(id).bind("no");
    say(client, "fail", fail.bind(delivery).fetch_one(&mut db).await? == "retry", "");
    let (id, delivery): (i64, i64) =
        sqlx::query_as(reserve).bind("sqlx").bind(1_i64).fetch_one(&mut db).await?;
    let delete = || sqlx::query_scalar::<_, bool>("SELECT pgq_delete($1, $2)").bind(id).bind(delivery);
    say(client, "delete", delete().fetch_one(&mut db).await?, "i64");
    say(client, "refused", !delete().fetch_one(&mut db).await?, "false");
    let strict = sqlx::query("SELECT pgq_delete($1, $2, strict => true)").bind(id).bind(delivery);
    let error = strict.fetch_one(&mut db).await.err();
    let code = error.as_ref().and_then(|error| error.as_database_error()?.code()).unwrap_or_default();
    say(client, "strict", code == "P0002", &code);
    let rows = sqlx::query(reserve).bind("sqlx").bind(2_i64).fetch_all(&mut db).await?;
    let (ids, deliveries): (Vec<i64>, Vec<i64>) =
        rows.iter().map(|row| (row.get::<i64, _>(0), row.get::<i64, _>(1))).unzip();
    let batch = |ids: Vec<i64>, deliveries: Vec<i64>| {
        sqlx::query("SELECT pgq_delete_batch($1, $2)").bind(ids).bind(deliveries)
    };
    say(client, "batch", batch(ids, deliveries).fetch_all(&mut db).await?.len() == 2, "Vec<i64>");
    say(client, "empty batch", batch(vec![], vec![]).fetch_all(&mut db).await?.is_empty(), "");
    let reserve = sqlx::query_scalar("SELECT receipt FROM pgq_reserve($1, max => $2)");
    let receipt: String = reserve.bind("sqlx").bind(1_i64).fetch_one(&mut db).await?;
    let extend = sqlx::query("SELECT * FROM pgq_extend_by_receipt($1, $2)").bind(&receipt);
    let longer = extend.bind(Duration::from_secs(60)).fetch_all(&mut db).await?.len() == 1;
    let delete = sqlx::query_scalar::<_, bool>("SELECT pgq_delete_by_receipt($1)").bind(&receipt);
    say(client, "receipt", longer && delete.fetch_one(&mut db).await?, "String");
    let stats = sqlx::query_scalar::<_, f64>("SELECT oldest_ready_seconds FROM pgq_stats($1)").bind("sqlx");
    say(client, "seconds", stats.fetch_one(&mut db).await? >= 0.0, "f64");
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    if let Err(error) = with_sqlx().await {
        say("sqlx", "all", false, &error.to_string().replace('\n', " "));
    }
    if let Err(error) = tokio::task::spawn_blocking(with_postgres).await.expect("the thread ends") {
        say("rust-postgres", "all", false, &format!("{error:?}").replace('\n', " "));
    }
}
