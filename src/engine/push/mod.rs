//! Push: new messages into a queue.

pub mod message;
pub mod room;
pub mod unique;
pub mod writer;

use crate::engine::push::message::{Message, Options, Outcome};
use crate::engine::push::room::make_room;
use crate::engine::push::unique::Keyed;
use crate::engine::push::writer::Writer;
use crate::engine::table::queue::Queue;
use crate::error::Result;
use crate::pg::memory::{collected, room_for};

/// Pushes messages in their order, and returns the id and outcome of each.
pub fn push(queue: &Queue, messages: &[Message], options: &Options) -> Result<Vec<(i64, Outcome)>> {
    let Some(keys) = &options.keys else {
        make_room(queue, messages.len())?;
        let ids = Writer::new(queue, options).add_all(messages);
        return Ok(collected(ids.into_iter().map(|id| (id, Outcome::Pushed))));
    };
    let mut writer = Writer::new(queue, options);
    let mut pushed = Vec::new();
    room_for(&mut pushed, messages.len());
    for (n, &message) in messages.iter().enumerate() {
        pushed.push(match keys.of(n) {
            Some(key) => {
                let keyed = Keyed { queue, key, on_duplicate: options.on_duplicate, message };
                unique::push(&keyed, &mut writer)?
            }
            None => {
                writer.make_room()?;
                (writer.add(message), Outcome::Pushed)
            }
        });
    }
    Ok(pushed)
}
