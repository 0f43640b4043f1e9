//! Messages removed by a statement on the table, pgqueue's or another.

use crate::engine::commit::pending;
use crate::engine::message::group;
use crate::engine::queue::{counter, slots};
use crate::engine::table::counts::Counts;
use crate::engine::table::statement::Statement;
use crate::error::Result;
use crate::pg::trigger::Trigger;

static REMOVED_LANES: Statement = Statement::new(include_str!("../../../sql/query/removed_lanes.sql"), &[]);
static REMOVED_GROUPS: Statement = Statement::new(include_str!("../../../sql/query/removed_groups.sql"), &[]);

static REMOVED_KEYS: Statement = Statement::new(include_str!("../../../sql/query/removed_keys.sql"), &[]);

/// Counts the messages that a statement has removed, and gives the next messages of their groups the turn.
pub fn announce(trigger: Trigger) -> Result<()> {
    let (mut queues, mut groups, mut has_keys) = (Vec::new(), Vec::new(), false);
    REMOVED_LANES.run_in_trigger(trigger, |row| {
        let counts = Counts { ready: row.i64(1), leased: row.i64(2), ..Counts::default() };
        queues.push((row.i32(0), row.i64(2) as usize));
        has_keys |= row.i64(5) > 0;
        if row.i64(3) > 0 {
            pending::undelayed(row.i32(0));
        }
        counter::add(row.i32(0), -Counts { delayed: row.i64(3), blocked: row.i64(4), ..counts });
    });
    REMOVED_GROUPS.run_in_trigger(trigger, |row| {
        let key = row.text(1).unwrap_or_default();
        groups.push((row.i32(0), key, (!row.bool(2), row.i32(3) as i16, row.i64(4))));
    });
    if has_keys {
        REMOVED_KEYS.run_in_trigger(trigger, |row| {
            pending::ready(row.i32(0), row.i32(1) as i16, row.i64(2));
        });
    }
    queues.into_iter().try_for_each(|(queue, leases)| slots::let_go(queue, leases))?;
    for (queue, key, place) in groups {
        group::removed(queue, key, place)?;
    }
    Ok(())
}
