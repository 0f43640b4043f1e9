//! Values worth trying: for each argument some, as SQL. The first is a plain one, with
//! which the call means something in the state that `state` makes.

use crate::signature::Argument;

/// Encodings of the databases that are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Utf8,
    Latin1,
    EucJp,
    SqlAscii,
}

impl Encoding {
    pub fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "UTF8",
            Self::Latin1 => "LATIN1",
            Self::EucJp => "EUC_JP",
            Self::SqlAscii => "SQL_ASCII",
        }
    }

    /// Characters beyond ASCII, as the bytes of this encoding.
    fn characters(self) -> &'static [&'static str] {
        match self {
            Self::Utf8 => &["c3a9", "e282ac", "f09f9880", "e38080", "efbfbf", "cc81"],
            Self::Latin1 => &["e9", "a0", "ff", "85"],
            Self::EucJp => &["a4a2", "a1a1", "8fb0a1", "8eb1"],
            Self::SqlAscii => &["c3a9", "e282ac", "e9", "ff", "c0af", "80"],
        }
    }

    /// A text of this encoding from bytes in hexadecimal. In an SQL_ASCII database it need
    /// not be a text of any encoding.
    pub fn text(self, hex: &str) -> String {
        format!(r"convert_from('\x{hex}', '{}')", self.name())
    }
}

/// What is tried for an argument: expressions of its type. None: nobody has thought of
/// values for that type yet.
pub fn values(argument: &Argument, encoding: Encoding) -> Option<Vec<String>> {
    let name = argument.name.as_str();
    let mut values = match argument.sql_type.as_str() {
        "text" => texts(name, encoding),
        "name" => list(&["'fuzz'", "''"]),
        "jsonb" => jsons(name, encoding),
        "jsonb[]" => json_arrays(),
        "bytea" => bodies(),
        "bytea[]" => body_arrays(),
        "bigint" if name == "id" => ids(),
        "bigint" => list(NUMBERS),
        "bigint[]" if name == "deliveries" => list(DELIVERIES),
        "bigint[]" => id_arrays(),
        "boolean" => list(&["false", "true"]),
        "interval" => list(INTERVALS),
        "timestamp with time zone" => list(MOMENTS),
        "text[]" if name == "receipts" => list(RECEIPT_ARRAYS),
        "text[]" => text_arrays(encoding),
        "oid" => list(&[
            "'pgqueue.message'::regclass",
            "'pg_class'::regclass",
            "'fuzz'::regrole",
            "0",
            "4294967295",
        ]),
        _ => return None,
    };
    values.push("NULL".into());
    Some(values.into_iter().map(|value| format!("({value})::{}", argument.sql_type)).collect())
}

fn list(values: &[&str]) -> Vec<String> {
    values.iter().map(|&value| value.to_owned()).collect()
}

const NUMBERS: &[&str] = &[
    "1",
    "0",
    "-1",
    "2",
    "3",
    "10",
    "100",
    "32767",
    "32768",
    "-32768",
    "-32769",
    "2147483647",
    "-2147483648",
    "2147483646",
    "2147483648",
    "4294967297",
    "9223372036854775807",
    "-9223372036854775808",
];

const DELIVERIES: &[&str] = &[
    "NULL",
    "'{1}'",
    "'{}'",
    "'{NULL}'",
    "'{1,NULL,2}'",
    "'{{1}}'",
    "'{{1,2},{3,4}}'",
    "'{1,1,1}'",
    "'[5:6]={1,2}'",
    "'[-3:-2]={1,1}'",
    "'{2147483647,-2147483648,0}'",
    "'{2147483648,4294967297,-9223372036854775808}'",
    "ARRAY(SELECT deliveries FROM pgqueue.message ORDER BY id)",
    "array_fill(1, ARRAY[3000])",
];

const INTERVALS: &[&str] = &[
    "'30 s'",
    "'0'",
    "'1 ms'",
    "'1 us'",
    "'999 us'",
    "'1001 us'",
    "'-1 s'",
    "'-1 us'",
    "'1 month -30 days'",
    "'1 month -29 days -23:59:59.999'",
    "'-1 day 24:00:01'",
    "'1 year'",
    "'36000 days'",
    "'36000 days 00:00:00.001'",
    "'100 years'",
    "'100 years 1 ms'",
    "'200 years -36000 days'",
    "'178000000 years'",
    "'-178000000 years'",
    "'178956970 years 7 months'",
    "'-178956970 years -8 months'",
    "'2147483647 days'",
    "'-2147483648 days'",
    "make_interval(months => 2147483647, days => 2147483647, secs => 9223372036854)",
    "make_interval(months => -2147483648, days => -2147483648, secs => -9223372036854)",
    "make_interval(months => -2147483648, days => 2147483647)",
    "make_interval(secs => 9223372036854)",
    "make_interval(secs => -9223372036854)",
];

const MOMENTS: &[&str] = &[
    "now() + interval '1 hour'",
    "now()",
    "now() - interval '1 day'",
    "'infinity'",
    "'-infinity'",
    "'epoch'",
    "'2000-01-01 00:00:00+00'",
    "'4713-01-01 00:00:00 BC'",
    "'0001-12-31 23:59:59 BC'",
    "'294276-12-31 23:59:59.999999+00'",
    "'2262-04-11 23:47:16.854775807+00'",
    "now() + interval '1 us'",
];

fn ids() -> Vec<String> {
    let mut ids = list(&["0", "1", "-1", "9223372036854775807", "-9223372036854775808", "4294967296"]);
    // Of each state the first; the leased one is the plain value.
    let states = ["leased", "ready", "delayed", "blocked", "gone"];
    let of_state = |state| format!("SELECT min(id) FROM pgqueue.message_state WHERE state = '{state}'");
    ids.splice(0..0, states.map(of_state));
    ids.push("SELECT min(id) FROM pgqueue.dead".into());
    ids.push("SELECT min(id) FROM pgqueue.archive".into());
    ids.push("SELECT max(id) FROM pgqueue.message WHERE dedup_key IS NOT NULL".into());
    ids
}

fn id_arrays() -> Vec<String> {
    list(&[
        "ARRAY(SELECT id FROM pgqueue.message_state WHERE state = 'leased' ORDER BY id LIMIT 1)",
        "ARRAY(SELECT id FROM pgqueue.message_state WHERE state = 'leased' ORDER BY id)",
        "ARRAY(SELECT id FROM pgqueue.message_state WHERE state = 'ready' ORDER BY id DESC LIMIT 2)",
        "ARRAY(SELECT id FROM pgqueue.message ORDER BY id DESC)",
        "ARRAY(SELECT id FROM pgqueue.message UNION ALL SELECT id FROM pgqueue.dead UNION ALL SELECT id FROM pgqueue.message)",
        "'{}'",
        "'{NULL}'",
        "'{1,NULL}'",
        "'{{1,2}}'",
        "'{{{1}}}'",
        "'[7:9]={1,2,3}'",
        "'[-1:0]={1,1}'",
        "'[2147483646:2147483646]={1}'",
        "'{1,1,1,1,1,1,1,1}'",
        "'{0,-1,9223372036854775807,-9223372036854775808}'",
        "array_fill((SELECT min(id) FROM pgqueue.message), ARRAY[3000])",
        "ARRAY(SELECT generate_series(1, 3000)::bigint)",
    ])
}

fn bodies() -> Vec<String> {
    list(&[
        r"'\x0001ff'",
        r"''",
        r"'\x00'",
        "decode(repeat('00', 100000), 'hex')",
        "(SELECT decode(string_agg(lpad(to_hex(n % 256), 2, '0'), ''), 'hex') FROM generate_series(0, 65535) n)",
    ])
}

fn body_arrays() -> Vec<String> {
    list(&[
        r"ARRAY['\x01','\x02']::bytea[]",
        "'{}'",
        "ARRAY[NULL]::bytea[]",
        r"ARRAY['\x01',NULL]::bytea[]",
        r"ARRAY[['\x01'],['\x02']]::bytea[]",
        r"'[3:4]={a,b}'",
        "array_fill(''::bytea, ARRAY[1500])",
        "ARRAY[decode(repeat('ff', 200000), 'hex'), '']",
    ])
}

/// The words that arguments know, beside those that any text argument gets.
fn words(name: &str) -> Vec<String> {
    match name {
        "queue" => list(&[
            "'plain'",
            "'empty'",
            "'paused'",
            "'grouped'",
            "'parallel'",
            "'keyed'",
            "'window'",
            "'no letters'",
            "'slots'",
            "'full'",
            "'drops'",
            "'archiving'",
            "'telling'",
            "'strict times'",
            "'unknown'",
        ]),
        "topic" => list(&["'news'", "'quiet'", "'unknown'"]),
        "routing_key" => {
            list(&["''", "'a'", "'a.b'", "'a.b.c'", "'a..b'", "'a.*'", "repeat('a.', 127) || 'b'"])
        }
        "pattern" => {
            list(&["NULL", "'#'", "'*'", "'a.*'", "'#.#.b.#'", "'a*'", "'.'", "repeat('#.', 127) || '#'"])
        }
        "to_queue" => {
            list(&["'parallel'", "'plain'", "'grouped'", "'keyed'", "'full'", "'unknown'", "'paused'"])
        }
        "group_key" => list(&["NULL", "'g1'", "'g2'"]),
        "dedup_key" => list(&["NULL", "'k1'", "'k2'", "'k3'", "'k4'"]),
        "on_duplicate" => list(&["'ignore'", "'replace'", "'reject'", "'IGNORE'", "'ignore '"]),
        "state" => list(&[
            "'ready'",
            "'delayed'",
            "'leased'",
            "'blocked'",
            "'dead'",
            "'archived'",
            "'gone'",
            "'READY'",
        ]),
        "reason" => list(&["NULL", "'failed'", "'timeout'", "'buried'", "'expired'", "'bored'"]),
        "role" | "owner" | "old_owner" | "new_owner" => {
            list(&["'fuzz'", "'postgres'", "'public'", "'pg_monitor'", "'-'", "'Fuzz'", "repeat('r', 64)"])
        }
        "privilege" => {
            list(&["'push'", "'consume'", "'manage'", "'PUSH'", "'all'", "'publish'", "'subscribe'"])
        }
        "name" => list(&["'tick'", "'watcher'", "'other'"]),
        "receipt" => list(RECEIPTS),
        "error" => list(&["'no luck'", "repeat('e', 4096)", "repeat('e', 5000)"]),
        "every" => list(EVERY),
        "time_zone" => list(TIME_ZONES),
        "query" => list(QUERIES),
        _ => list(&["'text'"]),
    }
}

const MESSAGES: &[&str] = &[
    r#"'[{"payload": 1}, {"payload": 2, "priority": -1, "delay": "1 h"}, {"payload": 3, "group_key": "g1"}]'"#,
    r#"'[{"payload": {"n": [1, "x"]}, "dedup_key": "k1"}, {"payload": 2, "dedup_key": "k1", "on_duplicate": "replace"}]'"#,
    r#"'[{"payload": 1, "dedup_key": "k1", "on_duplicate": "reject"}, {"payload": 1, "ttl": "1 ms"}]'"#,
    r#"'[{"payload": 1, "deliver_at": "infinity"}]'"#,
    r#"'[{"payload": 1, "deliver_at": "tomorrow"}, {"payload": 1, "lease": "1 s", "max_deliveries": 1}]'"#,
    r#"'[{"payload": 1, "deliver_at": "99999-01-01"}]'"#,
    r#"'[{"payload": 1, "delay": "-1 s"}]'"#,
    r#"'[{"payload": 1, "delay": "99999999999 years"}]'"#,
    r#"'[{"payload": 1, "deliver_at": "2024-13-45"}]'"#,
    r#"'[{"payload": 1, "delay": "soon"}]'"#,
    r#"'[{"payload": 1, "priority": 1e400}]'"#,
    r#"'[{"payload": 1, "unknown": {"a": [1]}}]'"#,
    r#"'[{"priority": 1}]'"#,
    r#"'[{}]'"#,
    r#"'[[{"payload": 1}]]'"#,
    r#"'[1, {"payload": 1}]'"#,
    r#"'{"payload": 1}'"#,
    "(SELECT jsonb_agg(jsonb_build_object('payload', n, 'group_key', 'g' || n % 3, 'priority', n % 5)) FROM generate_series(1, 1500) n)",
    "jsonb_build_array(jsonb_build_object('payload', repeat('s', 300000), 'headers', '{\"h\": 1}'::jsonb))",
];

const RECEIPTS: &[&str] = &[
    "(SELECT min(id) || '-' || min(deliveries) FROM pgqueue.message_state WHERE state = 'leased')",
    "(SELECT max(id) || '-9' FROM pgqueue.message_state WHERE state = 'leased')",
    "(SELECT max(id) || '-0' FROM pgqueue.message_state WHERE state = 'ready')",
    "'1-1'",
    "'9223372036854775807-9223372036854775807'",
    "'9223372036854775808-1'",
    "'-1-1'",
    "'1'",
    "'1-'",
    "' 1-1'",
];

const RECEIPT_ARRAYS: &[&str] = &[
    "ARRAY(SELECT id || '-' || deliveries FROM pgqueue.message_state WHERE state = 'leased' ORDER BY id DESC)",
    "ARRAY(SELECT id || '-' || deliveries FROM pgqueue.message UNION ALL SELECT id || '-1' FROM pgqueue.dead)",
    "'{}'",
    "'{NULL}'",
    "'{1-1,NULL}'",
    "'{{1-1,2-1}}'",
    "'[7:8]={1-1,1-2}'",
    "'{1-1,1-1,1-2}'",
    "'{1-1,\"\"}'",
    "ARRAY(SELECT n || '-1' FROM generate_series(1, 3000) n)",
];

const EVERY: &[&str] = &[
    "'15 min'",
    "'1 s'",
    "'999 ms'",
    "'0 s'",
    "'-1 h'",
    "'100 years'",
    "'36000 days'",
    "'36001 days'",
    "'1 month'",
    "'99999999999999999999 s'",
    "'P1Y2M3DT4H'",
    "'PT1S'",
    "'1e9 s'",
    "'15 min ago'",
    "'* * * * *'",
    "'*/0 * * * *'",
    "'*/1000 * * * *'",
    "'60 * * * *'",
    "'59 23 31 12 7'",
    "'0 0 30 2 *'",
    "'0 0 31 4,6,9,11 *'",
    "'0 0 29 2 *'",
    "'0 0 29 2 MON#5'",
    "'0 0 L * *'",
    "'0 0 LW * *'",
    "'0 0 15W * *'",
    "'0 0 31W 2 *'",
    "'0 0 * * 5#2'",
    "'0 0 * * 5#6'",
    "'0 0 * * 5L'",
    "'0 0 * * L'",
    "'0 0 L-3 * *'",
    "'5-1 * * * *'",
    "'1-5/0 * * * *'",
    "'1-59/70 * * * *'",
    "', , , , ,'",
    "',,,, * * * *'",
    "'- - - - -'",
    "'/ / / / /'",
    "'# # # # #'",
    "'L L L L L'",
    "'W W W W W'",
    "'? ? ? ? ?'",
    "'H H H H H'",
    "'99999999999999999999 * * * *'",
    "'-1 * * * *'",
    "'* * * JANUARY MONDAY'",
    "'* * * JAN-DEC SUN-SAT'",
    "'* * * * * *'",
    "'* * * * * * *'",
    "'* * * *'",
    "'@hourly'",
    "'@reboot'",
    "'@annually'",
    "'@'",
    "'@every 5 minutes'",
    "'  @daily  '",
    "repeat('*', 1000) || ' * * * *'",
    "repeat('1,', 100000) || '1 * * * *'",
    "repeat('1-', 100) || '1 * * * *'",
];

const TIME_ZONES: &[&str] = &[
    "'UTC'",
    "'Europe/Berlin'",
    "'europe/berlin'",
    "'America/New_York'",
    "'Pacific/Apia'",
    "'Africa/Casablanca'",
    "'Etc/GMT+12'",
    "'Etc/Unknown'",
    "'posixrules'",
    "'right/UTC'",
    "'localtime'",
    "'CET-1CEST'",
    "'+02'",
    "'Mars/Olympus'",
    "'../../../../etc/passwd'",
    "'/etc/passwd'",
    "'/usr/share/zoneinfo/UTC'",
    "'.'",
    "'zone.tab'",
    "' UTC'",
];

const QUERIES: &[&str] = &[
    "'SELECT 1, 2'",
    "'SELECT 1'",
    "'SELECT 1, 2, 3'",
    "'SELECT 1, 2;'",
    "'SELECT 1, 2; SELECT 3, 4'",
    "'SELECT'",
    "';'",
    "'VALUES (1, 2)'",
    "'TABLE pgqueue.queue'",
    "'SELECT NULL, NULL'",
    "'SELECT n, n FROM generate_series(1, 3) n'",
    "'SELECT 1, 1 UNION ALL SELECT 1, 2'",
    "'SELECT 1/0, 2'",
    "'SELECT $1, 2'",
    "'SELECT 1, 2 FROM nowhere'",
    "'SELECT 1, nothing'",
    "'SELECT 1, 2 FOR UPDATE'",
    "'SELECT relname, relnatts FROM pg_class FOR SHARE'",
    "'SELECT 1, 2 INTO fuzz'",
    "'WITH d AS (DELETE FROM pgqueue.dead RETURNING 1, 2) SELECT * FROM d'",
    "'DELETE FROM pgqueue.dead RETURNING 1, 2'",
    "'EXPLAIN SELECT 1, 2'",
    "'SHOW work_mem'",
    "'COPY pgqueue.dead TO STDOUT'",
    "'COMMIT'",
    "'BEGIN'",
    "'PREPARE x AS SELECT 1, 2'",
    "'DECLARE c CURSOR FOR SELECT 1, 2'",
    "'DO $d$BEGIN END$d$'",
    "'CALL pgq_wait(''plain'')'",
    "'selec'",
    "'SELECT ''unterminated'",
    "'/* nothing */'",
    "'SELECT (1, 2)'",
    "repeat('(', 5000)",
    "'SELECT ' || repeat('1+', 2000) || '1, 2'",
];

fn texts(name: &str, encoding: Encoding) -> Vec<String> {
    let mut texts = words(name);
    texts.extend(list(&[
        "''",
        "' '",
        "E'\\t\\n\\r\\b\\x7f'",
        "repeat('x', 511)",
        "repeat('x', 512)",
        "repeat('x', 513)",
        "repeat('x', 1000000)",
        "'pg_catalog.now()'",
        "'pgqueue.message'",
        "'\"quoted\".\"na\"\"me\"'",
        "$$'; DROP TABLE pgqueue.message; --$$",
        "'%s %n %1$s {} {0} \\ $1 :x'",
        "'null'",
        "'-2147483648'",
    ]));
    for hex in encoding.characters() {
        texts.push(encoding.text(hex));
        // As many as fit into 512 bytes, as many as do not, and one that 512 cuts through.
        let size = hex.len() / 2;
        for filling in [512 % size, 512 % size + 1] {
            texts.push(format!("repeat('x', {filling}) || repeat({}, {})", encoding.text(hex), 512 / size));
        }
        texts.push(format!("repeat('y', 4095) || {}", encoding.text(hex)));
    }
    texts
}

fn jsons(name: &str, encoding: Encoding) -> Vec<String> {
    let mut jsons = list(match name {
        "settings" => SETTINGS,
        "messages" => MESSAGES,
        _ => &[r#"'{"n": 1}'"#],
    });
    jsons.extend(list(&[
        "'null'",
        "'true'",
        "'0'",
        "'-0.0'",
        "'1e400'",
        "'0.1234567890123456789012345678901234567890'",
        "('1' || repeat('0', 10000))",
        "'1e-5000'",
        r#"'""'"#,
        r#"'"\b\f\n\r\t\"\\\/\u0001 </script>"'"#,
        "to_jsonb(repeat('s', 300000))",
        "'[]'",
        "'{}'",
        r#"'{"": ""}'"#,
        r#"'{"a": 1, "a": 2}'"#,
        "(repeat('[', 1000) || repeat(']', 1000))",
        "(repeat('{\"a\":', 500) || '1' || repeat('}', 500))",
        "(SELECT jsonb_object_agg('k' || n, n) FROM generate_series(1, 2000) n)",
        "(SELECT jsonb_agg(n) FROM generate_series(1, 5000) n)",
    ]));
    jsons.extend(encoding.characters().iter().map(|hex| format!("to_jsonb({})", encoding.text(hex))));
    jsons.extend(
        encoding
            .characters()
            .iter()
            .map(|hex| format!("jsonb_build_object('events_to', {})", encoding.text(hex))),
    );
    jsons
}

const SETTINGS: &[&str] = &[
    r#"'{"lease": "10 s"}'"#,
    r#"'{"lease": null}'"#,
    r#"'{"lease": 30}'"#,
    r#"'{"lease": "0 s"}'"#,
    r#"'{"lease": "99999999999999999999999 years"}'"#,
    r#"'{"lease": ["1 s"]}'"#,
    r#"'{"max_deliveries": 0}'"#,
    r#"'{"max_deliveries": 1}'"#,
    r#"'{"max_deliveries": 2147483647}'"#,
    r#"'{"max_deliveries": 2147483648}'"#,
    r#"'{"max_deliveries": -1}'"#,
    r#"'{"max_deliveries": 1.0}'"#,
    r#"'{"max_deliveries": 1e2}'"#,
    r#"'{"max_deliveries": 9223372036854775808}'"#,
    r#"'{"dead_letter": false}'"#,
    r#"'{"dead_letter": "false"}'"#,
    r#"'{"dead_retention": "1 s"}'"#,
    r#"'{"backoff": {"base": "1 s", "factor": 1000, "max": "36000 days", "jitter": 1}}'"#,
    r#"'{"backoff": {"factor": 1e308}}'"#,
    r#"'{"backoff": {"factor": 1e400}}'"#,
    r#"'{"backoff": {"base": "2 h"}}'"#,
    r#"'{"backoff": {"jitter": -0.1}}'"#,
    r#"'{"backoff": null}'"#,
    r#"'{"backoff": []}'"#,
    r#"'{"ttl": "1 ms"}'"#,
    r#"'{"ttl": "36000 days"}'"#,
    r#"'{"archive": "1 day"}'"#,
    r#"'{"archive": null}'"#,
    r#"'{"order": "lifo"}'"#,
    r#"'{"order": "LIFO"}'"#,
    r#"'{"on_timeout": "dead"}'"#,
    r#"'{"on_expire": "dead"}'"#,
    r#"'{"groups": "parallel"}'"#,
    r#"'{"groups": "ordered"}'"#,
    r#"'{"dedup_window": "1 h"}'"#,
    r#"'{"max_leased": 1}'"#,
    r#"'{"max_leased": 10000}'"#,
    r#"'{"max_leased": 10001}'"#,
    r#"'{"max_leased": 0}'"#,
    r#"'{"max_leased": null}'"#,
    r#"'{"max_length": 1}'"#,
    r#"'{"max_length": 9223372036854775807}'"#,
    r#"'{"max_length": 0, "on_full": "drop_oldest"}'"#,
    r#"'{"max_length": 2, "on_full": "drop_oldest"}'"#,
    r#"'{"events_to": "telling"}'"#,
    r#"'{"events_to": "made by this"}'"#,
    r#"'{"events_to": ""}'"#,
    r#"'{"events_to": null}'"#,
    r#"'{"events_to": {}}'"#,
    "jsonb_build_object('events_to', repeat('x', 513))",
    r#"'{"notify": true}'"#,
    r#"'{"notify": "a channel"}'"#,
    r#"'{"notify": ""}'"#,
    r#"'{"notify": 7}'"#,
    "jsonb_build_object('notify', repeat('c', 64))",
    r#"'{"durable_lease": true, "durable_delete": false}'"#,
    r#"'{"unknown": null}'"#,
    r#"'{"Lease": "1 s"}'"#,
];

fn text_arrays(encoding: Encoding) -> Vec<String> {
    let mut arrays = list(&[
        "NULL",
        "ARRAY['k1']",
        "ARRAY['k1', 'k1']",
        "ARRAY['k1', NULL]::text[]",
        "ARRAY[NULL, NULL]::text[]",
        "ARRAY['', 'k2']",
        "'{}'",
        "ARRAY[['k1'], ['k2']]",
        "'[0:1]={k1,k2}'",
        "ARRAY[repeat('x', 512), repeat('x', 513)]",
        "array_fill('k'::text, ARRAY[1200])",
    ]);
    arrays.extend(encoding.characters().iter().map(|hex| {
        let text = encoding.text(hex);
        format!("ARRAY[{text}, {text}]")
    }));
    arrays
}

fn json_arrays() -> Vec<String> {
    list(&[
        r#"ARRAY['{"n": 1}','{"n": 2}']::jsonb[]"#,
        "NULL",
        "'{}'",
        "ARRAY[NULL]::jsonb[]",
        "ARRAY['1',NULL]::jsonb[]",
        "ARRAY[NULL,NULL]::jsonb[]",
        "ARRAY[['1'],['2']]::jsonb[]",
        "'[0:1]={1,2}'",
        "'[-5:-5]={null}'",
        "array_fill('1'::jsonb, ARRAY[1200])",
        "ARRAY[to_jsonb(repeat('a', 100000)), 'null']",
    ])
}
