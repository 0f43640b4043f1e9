//! Routes: the subscriptions of a topic, as a session caches them.
//!
//! They are read at the first publish of a session, and again after a change of the topic or its subscriptions
//! (`catalog::heard_of`); as committed now, at every isolation level, like queues.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use pgrx::pg_sys;

use crate::engine::table::catalog::{self, Heard};
use crate::engine::table::statement::{Sees, Statement};
use crate::engine::table::topic::Topic;
use crate::error::{Error, Result};
use crate::value::pattern_tree::PatternTree;

static SUBSCRIPTIONS: Statement =
    Statement::by_index(include_str!("../../../sql/query/subscriptions.sql"), &[pg_sys::INT4OID]);

/// Maximum number of patterns in a session's cache, beside those of the topic that was read last.
const MOST_REMEMBERED: usize = 200_000;

/// About what a pattern takes, in bytes: for the error that there is no memory.
const BYTES_OF_PATTERN: usize = 256;

/// The subscriptions of a topic.
pub struct Routes {
    tree: PatternTree,
    patterns: usize,
}

/// Routes, and what this session had heard of their topic when they were read.
struct Known {
    routes: Rc<Routes>,
    heard: Heard,
}

thread_local! {
    static REMEMBERED: RefCell<HashMap<i32, Known>> = RefCell::default();
}

impl Routes {
    /// The routes of a topic that was just found.
    pub fn of(topic: &Topic) -> Rc<Self> {
        let heard = catalog::heard_of(topic.id);
        let is_fresh = |known: &&Known| known.heard == heard;
        let known = REMEMBERED
            .with_borrow(|all| all.get(&topic.id).filter(is_fresh).map(|known| known.routes.clone()));
        known.unwrap_or_else(|| {
            let routes = Rc::new(Self::read(topic.id));
            // If a change came during the read, the result is used but not cached.
            if catalog::heard_of(topic.id) == heard {
                remember(topic.id, Known { routes: routes.clone(), heard });
            }
            routes
        })
    }

    fn read(topic: i32) -> Self {
        let mut routes = Self { tree: PatternTree::new(), patterns: 0 };
        SUBSCRIPTIONS.run_seeing(Sees::Latest, &[Some(topic.into())], |row| {
            routes.patterns += 1;
            let added = routes.tree.add(&row.text(1).unwrap_or_default(), row.i32(0));
            added.unwrap_or_else(|_| Error::no_memory(routes.patterns * BYTES_OF_PATTERN).raise());
        });
        routes
    }

    /// The queues whose patterns a routing key matches, each once, in the order of their numbers.
    pub fn find(&self, routing_key: &[u8]) -> Result<Vec<i32>> {
        let found = self.tree.find(routing_key, || {
            pgrx::check_for_interrupts!();
        });
        found.map_err(|_| Error::no_memory(self.patterns * size_of::<i32>()))
    }
}

fn remember(topic: i32, known: Known) {
    REMEMBERED.with_borrow_mut(|all| {
        if all.values().map(|known| known.routes.patterns).sum::<usize>() > MOST_REMEMBERED {
            all.clear();
        }
        all.insert(topic, known);
    });
}
