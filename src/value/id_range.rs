//! Ranges of message ids: each timeline of the server has its own.

/// Number of ids in a range.
const RANGE: i64 = 1 << 32;

/// Number of ranges in a turn: each timeline has one range in every turn. Two would be too few: a server can
/// be promoted to a timeline that is not the one after its own.
const TURNS: i64 = 16;

/// Returns the first id of the timeline's next range; none if `id` is in a range of the timeline.
pub fn next_range(id: i64, timeline: u32) -> Option<i64> {
    let (is, wanted) = (id / RANGE, i64::from(timeline) - 1);
    let ahead = (wanted - is).rem_euclid(TURNS);
    let first = (is + ahead).checked_mul(RANGE)?;
    (ahead > 0).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_timeline_counts_from_the_beginning() {
        assert_eq!([1, 2, RANGE - 1].map(|id| next_range(id, 1)), [None; 3]);
    }

    #[test]
    fn a_later_timeline_goes_on_in_a_range_of_its_own() {
        assert_eq!(next_range(7, 2), Some(RANGE));
        assert_eq!(next_range(RANGE, 2), None);
        assert_eq!(next_range(RANGE + 7, 4), Some(3 * RANGE));
    }

    #[test]
    fn a_range_that_is_used_up_is_followed_by_the_timeline_s_next() {
        assert_eq!(next_range(RANGE, 1), Some(TURNS * RANGE));
        assert_eq!(next_range(TURNS * RANGE, 1), None);
        assert_eq!(next_range(2 * RANGE, 2), Some((TURNS + 1) * RANGE));
    }

    #[test]
    fn ids_never_go_back() {
        for timeline in 1..40 {
            for id in (0..40).flat_map(|n| [n * RANGE, n * RANGE + 5, (n + 1) * RANGE - 1]) {
                let next = next_range(id, timeline).unwrap_or(id);
                assert!(next >= id);
                assert_eq!(next_range(next, timeline), None);
            }
        }
    }

    #[test]
    fn behind_the_last_range_ids_go_on_as_they_can() {
        assert_eq!(next_range(i64::MAX, 1), None);
    }
}
