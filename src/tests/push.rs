#[pgrx::pg_schema]
mod tests {
    use pgrx::prelude::*;

    #[pg_test]
    fn push_makes_the_queue() {
        let id = Spi::get_one::<i64>("SELECT pgq_push('mail', '{\"n\": 1}')").unwrap().unwrap();
        assert!(id > 0);
    }
}
