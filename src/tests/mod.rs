//! Tests inside a backend; each is one transaction that is rolled back.

mod push;
