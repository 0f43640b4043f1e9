//! The input: what dpkg knows of the packages installed here.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::failure::{Failure, Result};

/// Fewer would be over before anybody saw anything.
const MIN_PACKAGES: usize = 20;

pub struct Dpkg {
    directory: PathBuf,
    diversions: HashMap<PathBuf, Diversion>,
}

pub struct Package {
    /// As `dpkg -l` shows it, which is also the name of its files in info/.
    pub name: String,
    pub version: String,
    pub files: i32,
    pub essential: bool,
}

/// A file of a package and the MD5 it had when it was packed, in hexadecimal.
pub struct Checksum {
    pub md5: String,
    pub path: PathBuf,
}

/// Where the file of any package but `by` really lies.
struct Diversion {
    to: PathBuf,
    by: String,
}

impl Dpkg {
    /// Opens /var/lib/dpkg, or what DPKG_ADMINDIR names, as dpkg's own tools do.
    pub fn of_this_machine() -> Result<Dpkg> {
        let directory = std::env::var_os("DPKG_ADMINDIR").unwrap_or_else(|| "/var/lib/dpkg".into());
        let directory = PathBuf::from(directory);
        let diversions = read_if_there(&directory.join("diversions"))?;
        Ok(Dpkg { directory, diversions: parse_diversions(&String::from_utf8_lossy(&diversions)) })
    }

    /// The packages that are installed, with how many checksums each has.
    pub fn packages(&self) -> Result<Vec<Package>> {
        let path = self.directory.join("status");
        let text = fs::read(&path).map_err(|error| {
            Failure::Lacking(format!(
                "{}: {error}. The demo audits Debian packages, so it needs Debian or a child of it",
                path.display()
            ))
        })?;
        let text = String::from_utf8_lossy(&text);
        let packages: Vec<Package> = text
            .split("\n\n")
            .filter_map(|stanza| self.package(stanza).transpose())
            .collect::<io::Result<_>>()?;
        if packages.len() < MIN_PACKAGES {
            return Err(Failure::Lacking(format!(
                "{} has {} installed packages; the demo needs at least {MIN_PACKAGES}",
                path.display(),
                packages.len()
            )));
        }
        Ok(packages)
    }

    fn package(&self, stanza: &str) -> io::Result<Option<Package>> {
        let field = |name| field(stanza, name);
        let installed = field("Status").is_some_and(|status| status.ends_with(" installed"));
        let (true, Some(name), Some(version)) = (installed, field("Package"), field("Version")) else {
            return Ok(None);
        };
        // Packages that may be installed for several architectures carry theirs in the name.
        let qualified = format!("{name}:{}", field("Architecture").unwrap_or_default());
        let name = if self.info(&qualified, "list").exists() { qualified } else { name.to_owned() };
        let files = parse_checksums(&read_if_there(&self.info(&name, "md5sums"))?).count() as i32;
        let essential = field("Essential") == Some("yes");
        Ok(Some(Package { name, version: version.to_owned(), files, essential }))
    }

    /// The checksums of a package's files; an error that says so if it is not installed.
    pub fn checksums(&self, package: &str) -> io::Result<Vec<Checksum>> {
        let list = self.info(package, "list");
        if !list.exists() {
            return Err(io::Error::other(format!("{package} is not installed: no {}", list.display())));
        }
        let text = read_if_there(&self.info(package, "md5sums"))?;
        let found = |(md5, path)| Checksum { md5, path: self.place(package, path) };
        Ok(parse_checksums(&text).map(found).collect())
    }

    /// Whether this machine's dpkg is told not to unpack some files.
    pub fn leaves_files_out(&self) -> bool {
        let Ok(entries) = fs::read_dir("/etc/dpkg/dpkg.cfg.d") else { return false };
        let excludes =
            |text: Vec<u8>| text.split(|&byte| byte == b'\n').any(|l| l.starts_with(b"path-exclude"));
        entries.flatten().any(|entry| fs::read(entry.path()).is_ok_and(excludes))
    }

    fn info(&self, package: &str, extension: &str) -> PathBuf {
        self.directory.join("info").join(format!("{package}.{extension}"))
    }

    fn place(&self, package: &str, path: PathBuf) -> PathBuf {
        let name = package.split(':').next();
        match self.diversions.get(&path) {
            Some(diversion) if Some(diversion.by.as_str()) != name => diversion.to.clone(),
            _ => path,
        }
    }
}

fn field<'a>(stanza: &'a str, name: &str) -> Option<&'a str> {
    let value = |line: &'a str| line.strip_prefix(name)?.strip_prefix(':').map(str::trim);
    stanza.lines().find_map(value)
}

/// Lines of `md5  path`, the path without its leading slash and of any bytes.
fn parse_checksums(text: &[u8]) -> impl Iterator<Item = (String, PathBuf)> {
    text.split(|&byte| byte == b'\n').filter_map(|line| {
        let (md5, path) = line.split_at_checked(32)?;
        let path = Path::new(OsStr::from_bytes(path.strip_prefix(b"  ")?));
        Some((String::from_utf8_lossy(md5).into_owned(), Path::new("/").join(path)))
    })
}

/// Three lines each: from, to, and the package that asked for it (":" for none).
fn parse_diversions(text: &str) -> HashMap<PathBuf, Diversion> {
    let lines: Vec<&str> = text.lines().collect();
    let diversion = |[from, to, by]: &[&str; 3]| {
        (PathBuf::from(from), Diversion { to: PathBuf::from(to), by: (*by).to_owned() })
    };
    lines.as_chunks().0.iter().map(diversion).collect()
}

/// A file's bytes; none if it does not exist, for dpkg writes what is empty as no file.
fn read_if_there(path: &Path) -> io::Result<Vec<u8>> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(io::Error::other(format!("{}: {error}", path.display()))),
        read => read,
    }
}
