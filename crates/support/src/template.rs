//! Data directories as initdb makes them: made once for an installation, and copied, which takes a tenth of the time.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use crate::{as_user, is_root, run};

/// Makes a data directory, as initdb of `bin` does with these arguments.
pub fn copy(bin: &Path, arguments: &[&str], data: &Path) {
    // PREFIX/usr/lib/postgresql/MAJOR/bin (.ci/env)
    let prefix = bin.ancestors().nth(5).expect("the programs are deep in an installation");
    let template = prefix.join("initdb").join(format!("data{}", arguments.concat()));
    make(bin, arguments, &template);
    run(as_user("cp").arg("-a").arg(template).arg(data));
}

fn make(bin: &Path, arguments: &[&str], template: &Path) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one = ONE_AT_A_TIME.lock();
    if template.exists() {
        return;
    }
    let place = template.parent().expect("it has a name in a directory");
    fs::create_dir_all(place).unwrap();
    if is_root() {
        run(Command::new("chown").arg("postgres:").arg(place));
    }
    // Moved into its place at once: another process may be about to read it, or to make it.
    let own = template.with_extension(std::process::id().to_string());
    run(as_user(bin.join("initdb"))
        .args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N"])
        .args(arguments)
        .arg("-D")
        .arg(&own));
    if fs::rename(&own, template).is_err() {
        assert!(template.exists(), "{} cannot be made", template.display());
        run(as_user("rm").arg("-r").arg(own));
    }
}
