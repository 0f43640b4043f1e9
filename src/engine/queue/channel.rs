//! Channels on which listeners hear of queues.

use pgrx::pg_sys;

use crate::engine::table::name::Name;
use crate::error::{Error, Result};
use crate::value::settings::{Notify, Settings};

/// The channel on which listeners hear of a queue with this name. None if its settings name no channel.
pub fn channel(name: &Name, settings: &Settings) -> Result<Option<Vec<u8>>> {
    Ok(match &settings.notify {
        Notify::Nobody => None,
        Notify::OfQueue => Some([PREFIX, name.bytes()].concat()),
        Notify::Channel(channel) => Some(Name::from_text(channel, "notify")?.bytes().to_vec()),
    })
}

pub fn check_channel(name: &Name, settings: &Settings) -> Result<()> {
    if channel(name, settings)?.is_none_or(|channel| channel.len() <= LONGEST_CHANNEL) {
        return Ok(());
    }
    let problem = match settings.notify {
        Notify::Channel(_) => format!("must be the name of a channel, of at most {LONGEST_CHANNEL} bytes"),
        _ => format!(
            "needs a queue whose name has at most {} bytes, as it is part of a channel's, or the name of a channel",
            LONGEST_CHANNEL - PREFIX.len()
        ),
    };
    Err(Error::setting("notify", &problem))
}

/// The prefix before the queue's name in the name of its channel.
pub const PREFIX: &[u8] = b"pgq:";

const LONGEST_CHANNEL: usize = pg_sys::NAMEDATALEN as usize - 1;
