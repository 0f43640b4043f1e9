//! The reference against the catalogue, and commands of pages against the repository.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use support::pages::{blocks, file, guide, prose};
use support::{Ask, Server};

/// The functions that users see, each with its signature.
const FUNCTIONS: &str = "
    SELECT CASE prokind WHEN 'p' THEN 'CALL ' ELSE '' END || proname || '(' || pg_get_function_arguments(p.oid) || ')'
           || coalesce(' RETURNS ' || pg_get_function_result(p.oid), '')
      FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.deptype = 'e'
     WHERE proname LIKE 'pgq\\_%' AND pronamespace <> 'pgqueue'::regnamespace";

/// A signature as one line: without types of defaults, `IN`, and spaces at brackets.
fn plain(signature: &str) -> String {
    let words = signature.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut parts = words.split("::");
    let mut text = parts.next().unwrap().to_owned();
    for part in parts {
        // The type ends at a comma or bracket.
        text += &part[part.find([',', ')']).unwrap_or(part.len())..];
    }
    [("( ", "("), (" )", ")"), ("(IN ", "("), (", IN ", ", "), ("timestamp with time zone", "timestamptz")]
        .iter()
        .fold(text, |text, (from, to)| text.replace(from, to))
}

/// The signatures of the reference, with their pages.
fn documented() -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for page in guide() {
        for block in blocks(&file(&page)).iter().filter(|block| block.language == "signature") {
            all.entry(plain(&block.text)).or_default().push(page.clone());
        }
    }
    all
}

#[test]
fn each_function_is_on_one_page_with_the_signature_of_the_catalogue() {
    let server = Server::start();
    let functions: Vec<String> = server.connect().all(FUNCTIONS);
    let functions: BTreeSet<String> = functions.iter().map(|signature| plain(signature)).collect();
    assert!(functions.len() > 45, "{}", functions.len());
    let documented = documented();
    let described: BTreeSet<String> = documented.keys().cloned().collect();
    assert_eq!(described, functions);
    let twice: Vec<_> = documented.iter().filter(|(_, pages)| pages.len() > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    assert!(documented.values().flatten().all(|page| page.starts_with("docs/reference/")));
}

/// The columns of what functions return, and the pages that explain them.
const COLUMNS: [(&str, &str); 7] = [
    ("pgq_message", "consume"),
    ("pgq_message_details", "consume"),
    ("pgq_push_outcome", "produce"),
    ("pgq_lease", "settle"),
    ("pgq_failure", "settle"),
    ("pgq_queue_stats", "observe"),
    ("pgq_vacuum_stats", "observe"),
];

#[test]
fn each_column_is_explained() {
    let server = Server::start();
    let mut session = server.connect();
    for (name, page) in COLUMNS {
        let text = prose(&file(&format!("docs/reference/{page}.md")));
        let columns: Vec<String> = session.all(&format!(
            "SELECT attname::text FROM pg_attribute WHERE attrelid = '{name}'::regclass AND attnum > 0"
        ));
        assert!(!columns.is_empty(), "{name}");
        let lost: Vec<_> = columns.iter().filter(|column| !text.contains(&format!("`{column}`"))).collect();
        assert!(lost.is_empty(), "{page}: {name}: {lost:?}");
    }
}

/// The names in the first column of a page's tables.
fn first_column(page: &str) -> BTreeSet<String> {
    let text = file(page);
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    rows.map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn each_setting_is_on_its_page() {
    let server = Server::start();
    let mut session = server.connect();
    let settings: Vec<String> = session.all("SELECT name FROM pg_settings WHERE name LIKE 'pgqueue.%'");
    assert_eq!(first_column("docs/reference/server-settings.md"), settings.into_iter().collect());
    for name in first_column("docs/reference/queue-settings.md") {
        let reset = format!("SELECT pgq_alter_queue('q', '{{\"{name}\": null}}') IS NOT NULL");
        session.batch_execute("SELECT pgq_create_queue('q')").unwrap();
        assert!(session.one::<bool>(&reset), "{name}");
    }
}

/// docs/drivers.md: the server finds the types of the parameters by itself.
#[test]
fn the_calls_of_drivers_need_no_types() {
    let server = Server::start();
    let session = server.connect();
    let mut session = session;
    let page = blocks(&file("docs/drivers.md"));
    let calls: Vec<&str> = page.iter().flat_map(|block| block.text.lines()).collect();
    assert!(calls.len() > 5);
    for call in calls {
        let statement = call.split(';').next().unwrap();
        session.prepare(statement).unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }
}

/// The commands of pages for engineers are targets of the Makefile, scripts of .ci, or cargo's.
#[test]
fn commands_of_the_project_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let makefile = file("Makefile");
    let mut count = 0;
    for page in ["docs/chaos.md", "docs/testing.md"] {
        for line in
            blocks(&file(page)).iter().filter(|block| block.language == "sh").flat_map(|b| b.text.lines())
        {
            let words: Vec<&str> = line.split_whitespace().collect();
            let command =
                words.iter().position(|word| ["make", "cargo"].contains(word) || word.starts_with(".ci/"));
            let command = command.unwrap_or_else(|| panic!("{page}: {line}"));
            match words[command] {
                "make" => assert!(makefile.contains(&format!("\n{}:", words[command + 1])), "{line}"),
                "cargo" => {
                    let test = words[words.iter().position(|word| *word == "--test").unwrap() + 1];
                    assert!(root.join("tests").join(test).exists(), "{line}");
                }
                script => assert!(root.join(script).exists(), "{line}"),
            }
            count += 1;
        }
    }
    assert!(count > 2, "{count}");
}
