//! A full disk: under the tables, and under the log, where it is a crash.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use fastrand::Rng;
use support::{Stop, as_user};

use super::Fault;
use crate::crowd::pause;
use crate::stage::Stage;

#[derive(Default)]
pub struct DataFull {
    disk: Option<Disk>,
}

impl Fault for DataFull {
    fn name(&self) -> &'static str {
        "disk full: tables"
    }

    fn set_up(&mut self, stage: &Stage) -> Result<(), String> {
        self.disk = Some(Disk::put_under(stage, "base", 64)?);
        Ok(())
    }

    fn shows_as(&self) -> Option<&'static str> {
        Some("53100")
    }

    fn strike(&mut self, _stage: &Stage, rng: &mut Rng) {
        let disk = self.disk.as_ref().expect("it is set up");
        for _ in 0..2 {
            disk.fill();
            pause(rng, 500..1000);
            disk.free();
            pause(rng, 50..200);
        }
    }

    fn clear_away(&mut self, stage: &Stage) {
        stage.server.stop(Stop::Immediate);
        self.disk = None;
    }
}

#[derive(Default)]
pub struct WalFull {
    disk: Option<Disk>,
}

impl Fault for WalFull {
    fn name(&self) -> &'static str {
        "disk full: WAL"
    }

    fn set_up(&mut self, stage: &Stage) -> Result<(), String> {
        self.disk = Some(Disk::put_under(stage, "pg_wal", 160)?);
        Ok(())
    }

    fn strike(&mut self, stage: &Stage, rng: &mut Rng) {
        let disk = self.disk.as_ref().expect("it is set up");
        stage.crash(|| {
            disk.fill();
            use_up_wal(stage);
            pause(rng, 200..500);
            disk.free();
            stage.revive();
        });
    }

    fn clear_away(&mut self, stage: &Stage) {
        stage.server.stop(Stop::Immediate);
        self.disk = None;
    }

    fn makes_the_server_abort(&self) -> bool {
        true
    }
}

/// Has the server begin new files of the log until it has no more.
fn use_up_wal(stage: &Stage) {
    let mut session = stage.server.connect();
    let switch = "INSERT INTO note VALUES (0); SELECT pg_switch_wal()";
    while session.batch_execute(switch).is_ok() {}
}

/// A small disk under a part of a server's data.
struct Disk {
    at: PathBuf,
}

impl Disk {
    fn put_under(stage: &Stage, part: &str, megabytes: u32) -> Result<Self, String> {
        stage.server.stop(Stop::Fast);
        let disk = Self { at: stage.data.join(part) };
        let aside = disk.at.with_extension("aside");
        as_server("mv", &[&disk.at, &aside])?;
        as_server("mkdir", &[&disk.at])?;
        let mounted = disk.mount(megabytes);
        as_server("cp", &[Path::new("-a"), &aside.join("."), &disk.at])?;
        as_server("rm", &[Path::new("-r"), &aside])?;
        stage.server.launch();
        mounted.map(|()| disk)
    }

    fn mount(&self, megabytes: u32) -> Result<(), String> {
        let owner = fs::metadata(&self.at).map_err(|error| error.to_string())?;
        let (uid, gid) = (owner.uid(), owner.gid());
        let options = format!("size={megabytes}m,mode=700,uid={uid},gid={gid}");
        let mount = as_root("mount").args(["-t", "tmpfs", "-o", &options, "chaos"]).arg(&self.at).output();
        let output = mount.map_err(|error| format!("no mount: {error}"))?;
        let told = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            Ok(())
        } else {
            Err(format!("a tmpfs cannot be mounted here: {}", told.trim()))
        }
    }

    fn filler(&self) -> PathBuf {
        self.at.join("filler")
    }

    fn fill(&self) {
        let mut file = File::create(self.filler()).unwrap();
        for size in [1 << 20, 1 << 12] {
            let block = vec![0; size];
            while let Ok(()) = write(&mut file, &block) {}
        }
    }

    fn free(&self) {
        fs::remove_file(self.filler()).unwrap();
    }
}

fn write(file: &mut File, block: &[u8]) -> Result<(), ()> {
    match file.write_all(block) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::StorageFull => Err(()),
        Err(error) => panic!("{error}"),
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = as_root("umount").arg(&self.at).output();
    }
}

fn as_server(program: &str, arguments: &[&Path]) -> Result<(), String> {
    let output = as_user(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{program}: {told}")) }
}

fn as_root(program: &str) -> Command {
    let mut sudo = Command::new("sudo");
    sudo.args(["-n", program]);
    sudo
}
