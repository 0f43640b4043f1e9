//! Settings of the server.

use support::pages::file;
use support::{Ask, Server};

const DEFAULTS: &str = "SELECT name, vartype, setting, max_val FROM pg_settings WHERE name LIKE 'pgqueue.%' AND context <> 'internal'";

/// Another value than the one that a setting has by default.
fn another(kind: &str, value: &str, most: Option<&str>) -> String {
    match (kind, value) {
        ("bool", "on") => "off".into(),
        ("bool", _) => "on".into(),
        ("integer", _) => {
            let (value, most): (i64, i64) = (value.parse().unwrap(), most.unwrap().parse().unwrap());
            if value < most { value + 1 } else { value - 1 }.to_string()
        }
        _ => r#"{"postgres": ["push"]}"#.into(),
    }
}

#[test]
fn a_place_for_a_queue_s_hints_takes_as_much_memory_as_the_guide_says() {
    let server = Server::bare("shared_preload_libraries = 'pgqueue'\npgqueue.max_queues_hint = 100000");
    let mut session = server.connect();
    session.batch_execute("CREATE EXTENSION pgqueue; SELECT pgq_push('q', '1')").unwrap();
    let shown: i64 = session.one(
        "SELECT setting::bigint * 1024 FROM pg_settings WHERE name = 'pgqueue.hint_memory' AND unit = 'kB'",
    );
    let allocated: i64 = session.one(
        "SELECT sum(allocated_size)::bigint FROM pg_shmem_allocations WHERE name LIKE 'pgqueue hint cache%'",
    );
    assert!((allocated..allocated + 2048).contains(&shown), "{shown} bytes shown, {allocated} allocated");
    let (_, rest) = file("docs/reference/server-settings.md")
        .split_once("in shared memory (")
        .map(|(a, b)| (a.len(), b.to_owned()))
        .unwrap();
    let (each, _) = rest.split_once(" bytes a place").expect("the guide says how many");
    let each: i64 = each.replace(',', "").parse().expect("a number");
    assert!((each * 99_000..each * 101_000).contains(&shown), "{each} bytes for each of 100,000: {shown}");
}

#[test]
fn each_setting_in_the_configuration_has_an_effect_from_the_start() {
    let server = Server::bare("shared_preload_libraries = 'pgqueue'");
    let rows = server.connect().query(DEFAULTS, &[]).unwrap();
    let wanted: Vec<(String, String)> = rows
        .iter()
        .map(|row| (row.get(0), another(row.get(1), row.get::<_, Option<&str>>(2).unwrap_or(""), row.get(3))))
        .collect();
    assert!(wanted.len() > 8, "{wanted:?}");
    let lines: String = wanted.iter().map(|(name, value)| format!("{name} = '{value}'\n")).collect();
    let server = Server::bare(&format!("shared_preload_libraries = 'pgqueue'\n{lines}"));
    let mut session = server.connect();
    for (name, value) in wanted {
        let is: String = session.one(&format!("SELECT setting FROM pg_settings WHERE name = '{name}'"));
        assert_eq!(is, value, "{name}");
    }
    assert!(!server.log().contains("WARNING"), "{}", server.log());
}
