//! The conformance suite: the contract of a [`Ledger`](super::Ledger) as laws that can be run, one named test each.
//!
//! ```
//! # #[cfg(test)] mod doc {
//! use larder_files::ledger::{MemoryLedger, conformance::Harness};
//!
//! larder_files::ledger_conformance!(memory, || async {
//!     let ledger = MemoryLedger::new();
//!     Harness::new(move || std::future::ready(std::sync::Arc::new(ledger.another()) as _)).await
//! });
//! # }
//! ```
//!
//! A [`Harness`] gives each law an empty ledger, and as many further handles of the same one as it asks for. The laws leave
//! speed, power cuts and several processes to tests of the ledger's own.

#[macro_use]
mod ensure;

mod claims;
mod direct;
mod harness;
mod installation;
mod intents;
mod missed;
mod people;
mod queries;
mod records;
mod reservations;
mod sessions;
#[cfg(test)]
mod tests;
mod tombstones;

use futures_util::future::LocalBoxFuture;
pub use harness::{Broken, Harness, Verdict};

/// Every law by its subject: the one list, from which both the tests and [`LAWS`] are made.
#[doc(hidden)]
#[macro_export]
macro_rules! __with_ledger_laws {
    ([$($then:tt)*] $($arguments:tt)*) => {
        $($then)*! { ($($arguments)*)
            installation {
                an_empty_ledger_belongs_to_no_installation_and_takes_no_change
                the_identity_is_what_was_set
                it_belongs_to_one_installation_for_ever
                the_epoch_never_falls
                the_mark_never_falls
                the_mark_rises_by_one
                the_mark_on_a_store_is_the_last_that_was_for_it
                a_handle_is_fenced_once_another_raised_the_epoch
                a_fenced_change_leaves_no_trace
                asking_again_does_not_lift_a_fence
                the_handle_that_raised_the_epoch_goes_on
            }
            claims {
                a_claim_says_what_was_asked_and_is_found
                a_claim_is_exclusive
                claims_of_different_files_are_free
                a_claim_needs_a_row
                a_purged_file_is_not_claimed
                a_closed_claim_frees_the_file
                an_old_claim_never_closes_a_new_one
                versions_and_revisions_rise_even_after_a_release_without_a_record
                a_version_is_above_all_that_was_recorded
                a_revision_number_is_above_all_that_were_recorded
                numbers_outlive_a_reopening
                numbers_outlive_a_forgotten_row
                a_hardened_claim_stays_a_purge
                a_claim_that_is_a_revisions_purge_says_which_and_stays_it
                what_is_not_claimed_is_not_hardened
                a_dead_nodes_claim_is_taken_over_once
                what_is_not_claimed_is_not_taken_over
                of_16_racing_claims_exactly_one_wins
            }
            intents {
                an_intent_says_what_was_told_and_is_found
                a_number_of_an_intent_is_never_given_again
                a_renewal_says_what_is_known_by_now
                an_intent_changes_hands_once_for_each_fence
                who_was_fenced_changes_nothing_any_more
                a_record_settles_its_intent
                a_record_of_who_was_fenced_leaves_no_trace
                a_record_of_a_closed_intent_leaves_no_trace
                what_a_tombstone_covers_keeps_its_intent
                an_idempotency_key_goes_along_with_its_intent
                an_upload_that_failed_frees_what_it_held
                what_is_done_stays_done_when_its_intent_fails
                of_16_racing_to_take_over_exactly_one_wins
            }
            records {
                a_first_record_makes_the_row_and_its_revision
                attributes_come_back_whole
                a_higher_version_takes_the_place
                a_lower_version_is_outranked
                a_higher_epoch_beats_a_higher_version
                of_equal_rank_the_smaller_hash_wins
                the_same_attributes_again_are_taken
                outranked_attributes_still_bring_their_revision_and_its_copies
                a_revision_is_what_its_highest_rank_says
                copies_of_a_key_that_lost_are_not_the_revisions
                copies_are_set_by_store
                copies_of_an_unknown_revision_are_left_alone
                a_pending_copy_takes_no_other_copys_place
                a_copy_that_was_only_seen_takes_the_place_of_a_lost_one_alone
                a_lost_copy_takes_any_place_but_that_of_one_that_is_being_dropped
                a_copy_that_is_behind_takes_the_place_of_a_readable_one_alone
                a_copy_that_is_not_wanted_goes_where_it_is_as_it_was
                a_file_shows_the_copies_of_its_newest_revision
                a_record_closes_its_claim
                results_come_in_order
                members_of_a_group_see_each_other
                what_a_group_tells_of_one_copy_twice_is_taken_in_turn
                a_member_that_fails_takes_no_other_with_it
                a_member_that_fails_leaves_its_claim_open
                a_forgotten_file_may_come_back
                a_large_group_is_taken_whole
                records_survive_a_reopening
                another_handle_sees_what_was_recorded
            }
            tombstones {
                a_tombstone_takes_the_rows_and_stays
                whatever_comes_after_a_tombstone_is_garbage
                a_revisions_tombstone_takes_only_that_revision
                a_revisions_tombstone_counts_as_a_number_given
                of_two_tombstones_the_higher_stays
                a_tombstone_needs_no_row
                tombstones_come_in_pages
            }
            reservations {
                a_key_is_reserved_once
                a_record_settles_the_reservation
                recovery_settles_without_a_reservation
                what_was_done_before_since_is_forgotten
                a_node_gives_up_only_its_own
                what_is_done_is_not_given_up
                a_dead_nodes_reservations_go_at_once
                a_tombstone_carries_its_requests
                a_users_record_settles_the_reservation
                a_name_that_is_taken_settles_no_reservation
                nodes_are_those_that_hold_something
                of_16_racing_requests_exactly_one_runs
                reservations_survive_a_reopening
            }
            missed {
                what_a_store_missed_is_told_until_it_was_carried
                what_was_missed_since_is_not_forgotten_with_what_was_carried
                what_was_missed_comes_in_pages_of_its_store
                what_was_missed_survives_a_reopening
            }
            people {
                a_user_is_found_by_id_and_by_name
                users_come_in_pages_by_id
                the_highest_record_of_a_user_stays
                a_name_is_never_given_again
                the_highest_record_of_a_bucket_stays
                a_buckets_name_is_taken
                users_and_buckets_survive_a_reopening
            }
            sessions {
                a_session_is_found_until_it_is_ended
                a_refresh_spends_its_number
                a_spent_number_ends_the_session
                a_session_ends_by_its_time
                what_has_ended_goes_when_another_is_opened
                a_user_has_no_more_sessions_than_are_allowed
                a_session_is_opened_of_a_user_as_they_are
                a_change_of_a_user_ends_their_sessions
                a_fenced_handle_opens_and_refreshes_nothing
                of_16_who_refresh_at_once_exactly_one_goes_on
            }
            direct {
                a_direct_upload_is_found_whole_until_it_is_ended
                a_user_has_no_more_direct_uploads_than_are_allowed
                a_fenced_handle_begins_and_ends_no_direct_upload
            }
            queries {
                files_come_by_id
                each_order_goes_with_each_filter_and_both_ways
                pages_of_each_order_hold_each_file_once
                filters_orders_and_places_go_together
                a_place_of_another_order_is_behind_everything
                names_are_ordered_by_bytes
                a_page_ends_at_its_limit
                a_text_with_nul_finds_nothing
                folders_come_once_each_with_each_filter_and_both_ways
                each_filter_stands_alone
                filters_stand_together
                a_prefix_is_literal
                a_prefix_goes_by_bytes
                q_is_literal_and_knows_no_case
                a_tag_is_whole
                the_trash_is_a_list_of_its_own
                a_change_moves_a_file_between_lists
                each_is_seen_once_while_others_come_and_go
                revisions_come_by_number
                every_revision_is_told_once_with_where_it_lies
                a_copy_that_is_due_is_told_until_it_is_right
                copies_are_counted_by_store
                what_is_absent_is_absent
            }
        }
    };
}

/// Makes a module of tests: one for each law, for the [`Harness`] that the expression, an async function of nothing, gives.
#[macro_export]
macro_rules! ledger_conformance {
    ($name:ident, $harness:expr) => {
        $crate::__with_ledger_laws! { [$crate::__ledger_tests] $name, $harness }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __ledger_tests {
    (($name:ident, $harness:expr) $($subject:ident { $($law:ident)* })*) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;
            $($(
                #[test]
                fn $law() {
                    $crate::ledger::conformance::prove(stringify!($law), $harness);
                }
            )*)*
        }
    };
}

/// A law: its name, and how it is run.
#[derive(Clone, Copy, Debug)]
pub struct Law {
    /// The sentence that it proves.
    pub name: &'static str,
    run: fn(Harness) -> LocalBoxFuture<'static, Verdict>,
}

macro_rules! laws {
    (() $($subject:ident { $($law:ident)* })*) => {
        /// Every law of the contract.
        pub const LAWS: &[Law] = &[
            $($(Law { name: stringify!($law), run: |harness| Box::pin($subject::$law(harness)) },)*)*
        ];
    };
}
__with_ledger_laws! { [laws] }

impl Law {
    /// Holds a ledger to it.
    ///
    /// # Errors
    /// What was broken.
    pub async fn hold(&self, harness: Harness) -> Verdict {
        (self.run)(harness).await
    }
}

/// Holds a ledger to the law of this name, on a runtime of its own.
///
/// # Panics
/// Where the law is broken, with what was broken; where there is no such law.
pub fn prove<F: Future<Output = Harness>>(name: &str, harness: impl FnOnce() -> F) {
    let law = LAWS.iter().find(|law| law.name == name).expect("the suite and its tests are made of one list");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    let verdict = runtime.block_on(async { law.hold(harness().await).await });
    if let Err(broken) = verdict {
        panic!("{name}: {broken}");
    }
}
