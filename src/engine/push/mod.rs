//! Push: new messages into a queue.

pub mod message;
pub mod room;
pub mod unique;
pub mod writer;

use crate::engine::push::message::{Content, Message, Options, Outcome, Run};
use crate::engine::push::room::make_room;
use crate::engine::push::unique::Keyed;
use crate::engine::push::writer::Writer;
use crate::engine::table::content;
use crate::engine::table::queue::Queue;
use crate::error::Result;
use crate::pg::memory::room_for;

/// Pushes messages in their order, and returns the id and outcome of each.
pub fn push(queue: &Queue, messages: &[Message], options: &Options) -> Result<Vec<(i64, Outcome)>> {
    push_runs(queue, &[Run { messages, options }])
}

/// Pushes messages with different options in their order, and returns the id and outcome of each.
pub fn push_runs(queue: &Queue, runs: &[Run]) -> Result<Vec<(i64, Outcome)>> {
    let count = runs.iter().map(|run| run.messages.len()).sum();
    let mut pushed = Vec::new();
    room_for(&mut pushed, count);
    runs.iter().flat_map(|run| run.messages).try_for_each(check)?;
    let has_keys = runs.iter().any(|run| run.options.keys.is_some());
    if !has_keys {
        make_room(queue, count)?;
    }
    let mut writer = Writer::new(queue, runs);
    for (n, run) in runs.iter().enumerate() {
        if n > 0 {
            writer.turn_to(run.options);
        }
        if has_keys {
            push_one_by_one(queue, run, &mut writer, &mut pushed)?;
        } else {
            writer.add_all(run.messages, |id| pushed.push((id, Outcome::Pushed)));
        }
    }
    writer.write_page();
    Ok(pushed)
}

/// An error if a message is too long for those that read it.
pub fn check(&(content, headers): &Message) -> Result<()> {
    match content {
        Content::Payload(payload) => content::check(Some(payload), headers),
        Content::Body(body) => content::check_body(body).and_then(|()| content::check(None, headers)),
    }
}

/// Pushes messages of which some have keys.
fn push_one_by_one(
    queue: &Queue,
    run: &Run,
    writer: &mut Writer,
    pushed: &mut Vec<(i64, Outcome)>,
) -> Result<()> {
    let options = run.options;
    for (n, &message) in run.messages.iter().enumerate() {
        pgrx::check_for_interrupts!();
        pushed.push(match options.keys.as_ref().and_then(|keys| keys.of(n)) {
            Some(key) => {
                let keyed = Keyed { queue, key, on_duplicate: options.on_duplicate, message };
                unique::push(&keyed, writer)?
            }
            None => {
                writer.make_room()?;
                (writer.add(message), Outcome::Pushed)
            }
        });
    }
    Ok(())
}
