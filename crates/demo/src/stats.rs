//! The queue's own figures, as `pgq_stats` gives them.

use postgres::Client;

use crate::failure::Result;

pub struct Stats {
    pub ready: i64,
    pub delayed: i64,
    pub leased: i64,
    pub blocked: i64,
    pub dead: i64,
    pub pushed: i64,
    pub delivered: i64,
    pub deleted: i64,
    pub retried: i64,
    pub died: i64,
}

impl Stats {
    pub fn read(client: &mut Client) -> Result<Stats> {
        let row = client.query_one("SELECT * FROM pgq_stats('audit')", &[])?;
        Ok(Stats {
            ready: row.get("ready"),
            delayed: row.get("delayed"),
            leased: row.get("leased"),
            blocked: row.get("blocked"),
            dead: row.get("dead"),
            pushed: row.get("pushed"),
            delivered: row.get("delivered"),
            deleted: row.get("deleted"),
            retried: row.get("retried"),
            died: row.get("died"),
        })
    }

    /// Messages that are neither deleted nor dead.
    pub fn left(&self) -> i64 {
        self.ready + self.delayed + self.leased + self.blocked
    }

    pub fn settled(&self) -> i64 {
        self.deleted + self.dead
    }
}
