//! docs/sharding.md, run as it stands there.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use postgres::{Client, NoTls};
use support::{Ask, Ending, Server, bindir};

use crate::sharded::{IDS_EACH, SETTINGS, answer, host, partition_of, psql, queue_of_each, script};

/// The code blocks of a section of docs/sharding.md, as one shell script.
fn examples(section: &str) -> String {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/sharding.md")).unwrap();
    let section = text.split("\n## ").find(|part| part.starts_with(section)).expect(section).to_owned();
    let mut script = String::new();
    for block in section.split("\n```").skip(1).step_by(2) {
        let (language, code) = block.split_once('\n').unwrap();
        match language {
            "sh" => script += code,
            "sql" => {
                script +=
                    &format!("psql -X -q -v ON_ERROR_STOP=1 \"$PROXY dbname=queues\" <<'SQL'\n{code}\nSQL")
            }
            _ => panic!("{language}: {code}"),
        }
        script += "\n";
    }
    assert!(!script.is_empty());
    script
}

fn run_examples(section: &str, servers: &[(&str, &Server)]) {
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &examples(section)])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("PATH", format!("{}:{}", bindir("PGQUEUE_BINDIR").display(), std::env::var("PATH").unwrap()))
        .env("PGUSER", "postgres")
        .envs(servers.iter().map(|(name, server)| (*name, format!("host={}", host(server)))))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{section}: {errors}");
}

/// Pushes again and again until it is told to stop. Returns what was acknowledged, and the
/// SQLSTATEs of the errors.
fn push_until(stop: &AtomicBool, mut session: Client, queue: &str) -> (Vec<i64>, Vec<String>) {
    let (mut ids, mut errors) = (Vec::new(), Vec::new());
    while !stop.load(Ordering::Relaxed) {
        match session.query_one("SELECT pgq_push($1, '1')", &[&queue]) {
            Ok(row) => ids.push(row.get(0)),
            Err(error) => errors.push(error.code().expect("an error of the server").code().to_owned()),
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    (ids, errors)
}

#[test]
fn the_examples_run_and_a_partition_moves_with_all_that_is_in_it() {
    let [a, b, c, d] = [(); 4].map(|()| Server::bare(SETTINGS));
    let proxy = Server::bare("");
    let servers = [("A", &a), ("B", &b), ("C", &c), ("D", &d), ("PROXY", &proxy)];
    run_examples("Setting up", &servers);
    run_examples("Using it", &servers);
    d.connect().batch_execute("CREATE ROLE shop LOGIN").unwrap();

    let mut session = proxy.connect_to("queues");
    let queues = queue_of_each(&mut session);
    let moved = &queues[3];
    let shop = || proxy.config("queues").user("shop").connect(NoTls).unwrap();
    let mut owner = shop();
    owner
        .batch_execute(&format!(
            "CREATE TEMP TABLE pushed AS
                 SELECT pgq_push('{moved}', to_jsonb(n), delay => CASE WHEN n > 8 THEN interval '1 h' END,
                                 group_key => CASE WHEN n IN (6, 7) THEN 'g' END,
                                 dedup_key => 'key ' || n) AS id
                   FROM generate_series(1, 10) n;
             CREATE TEMP TABLE held AS SELECT * FROM pgq_reserve('{moved}', '1 h', max => 4);
             SELECT pgq_fail(id, 'no', delivery, '1 h') FROM held WHERE payload = '1';
             SELECT pgq_bury(id, 'no', delivery) FROM held WHERE payload = '2';
             SELECT pgq_alter_queue('{moved}', '{{\"archive\": \"1 day\", \"ttl\": \"2 days\"}}');
             SELECT pgq_delete(id, delivery) FROM held WHERE payload = '3';
             SELECT pgq_schedule('yearly', '{moved}', '0 0 1 1 *', '1')"
        ))
        .unwrap();
    let mut state = || {
        [
            "SELECT g.* FROM pushed, pgq_get(pushed.id) g ORDER BY g.id",
            "SELECT * FROM pgq_list_queues()",
            "SELECT * FROM pgq_list_schedules()",
        ]
        .map(|query| answer(&mut owner, query).unwrap())
    };
    let before = state();
    assert_eq!(before[0].len(), 10);
    let states: Vec<&str> = before[0].iter().map(|row| row[2].as_deref().unwrap()).collect();
    assert_eq!(states.iter().filter(|state| **state == "ready").count(), 3);
    for state in ["delayed", "leased", "blocked", "dead", "archived"] {
        assert!(states.contains(&state), "{state}");
    }

    // Meanwhile others push.
    let busy = format!("{{{moved}}} busy");
    let stop = AtomicBool::new(false);
    let (there, elsewhere) = std::thread::scope(|scope| {
        let _ending = Ending(&stop);
        let there = scope.spawn(|| push_until(&stop, shop(), &busy));
        let elsewhere = scope.spawn(|| push_until(&stop, shop(), &queues[0]));
        run_examples("Adding a server", &servers);
        std::thread::sleep(Duration::from_millis(200));
        stop.store(true, Ordering::Relaxed);
        (there.join().unwrap(), elsewhere.join().unwrap())
    });
    let found: Vec<i64> = session.all_with("SELECT id FROM pgq_pop($1, 1000000)", &[&busy]);
    assert!(there.0.iter().all(|id| found.contains(id)));
    assert!(there.0.iter().all(|&id| partition_of(id) == 3));
    let known = ["25006", "57P01", "08006"];
    assert!(there.1.iter().all(|sqlstate| known.contains(&&sqlstate[..])), "{:?}", there.1);
    assert!(there.1.contains(&"25006".to_owned()));
    assert!(elsewhere.1.is_empty(), "{:?}", elsewhere.1);

    assert_eq!(a.connect().one::<i64>("SELECT count(*) FROM pg_database WHERE datname = 'queues_3'"), 0);
    let mut after = state();
    after[1].retain(|queue| queue[0].as_deref() != Some(&busy) && queue[0].as_deref() != Some(&queues[0]));
    assert_eq!(after, before);
    // A lease goes on, and its receipt counts.
    let held = "SELECT pgq_delete(id, delivery + 1), pgq_delete(id, delivery) FROM held WHERE payload = '4'";
    assert_eq!(answer(&mut owner, held).unwrap(), [[Some("f".to_owned()), Some("t".to_owned())]]);
    let new: i64 = owner.one(&format!("SELECT pgq_push('{moved}', '11')"));
    assert!(partition_of(new) == 3 && found.iter().all(|&id| id < new));
    let bounds: String = d
        .connect_to("queues_3")
        .one("SELECT min_value || ' ' || max_value FROM pg_sequences WHERE sequencename = 'message_id'");
    assert_eq!(bounds, format!("{} {}", 3 * IDS_EACH, 4 * IDS_EACH - 1));
    // The proxy still knows its way, also when it is made anew.
    psql(&proxy, &["-d", "queues", "-f", &script("proxy")]).unwrap();
}
