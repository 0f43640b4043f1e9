//! Faults: what happens to a server under load, one kind a file.

mod alone;
mod calm;
mod cancel;
mod clock;
mod disk;
mod killed;
mod prepared;
mod rebuild;
mod reset;
mod settings;
mod shutdown;
mod terminated;
mod timeout;

use fastrand::Rng;

use crate::stage::Stage;

pub trait Fault {
    fn name(&self) -> &'static str;

    /// Server settings it needs.
    fn settings(&self) -> String {
        String::new()
    }

    /// Makes ready what it needs; an error says why it cannot be run on this machine.
    fn set_up(&mut self, _stage: &Stage) -> Result<(), String> {
        Ok(())
    }

    /// Does it, while clients load the server.
    fn strike(&mut self, stage: &Stage, rng: &mut Rng);

    /// The error by which clients notice it, if they do: until one has, it goes on.
    fn shows_as(&self) -> Option<&'static str> {
        None
    }

    /// Lets the queues be drained, after the clients have gone.
    fn relent(&mut self, _stage: &Stage) {}

    /// Takes away what it has put under the stage.
    fn clear_away(&mut self, _stage: &Stage) {}

    /// Whether it makes the server give up by itself.
    fn makes_the_server_abort(&self) -> bool {
        false
    }
}

pub fn all() -> Vec<Box<dyn Fault>> {
    vec![
        Box::new(calm::Calm),
        Box::new(alone::NoMaintenance),
        Box::new(alone::NotPreloaded),
        Box::new(killed::Postmaster),
        Box::new(killed::Backend),
        Box::new(killed::Worker),
        Box::new(terminated::Backends),
        Box::new(terminated::Worker),
        Box::new(cancel::Cancel),
        Box::new(timeout::Timeout),
        Box::new(shutdown::Immediate),
        Box::new(shutdown::Fast),
        Box::<reset::Reset>::default(),
        Box::new(prepared::PreparedAcrossCrash),
        Box::<disk::DataFull>::default(),
        Box::<disk::WalFull>::default(),
        Box::<clock::Steps>::default(),
        Box::new(rebuild::Rebuild),
        Box::<settings::Settings>::default(),
    ]
}
