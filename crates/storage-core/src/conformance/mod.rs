//! The conformance suite: the contract of a [`Store`](crate::Store) as laws that can be run, one named test each.
//!
//! ```
//! # #[cfg(test)] mod doc {
//! use larder_storage_core::{MemoryStore, conformance::Harness};
//!
//! larder_storage_core::conformance!(memory, || async {
//!     Harness::new(MemoryStore::with_staging("m")).staging().nested_keys(0)
//! });
//! # }
//! ```
//!
//! A [`Harness`] gives each law an empty store and declares what the store is able to do; the suite holds it to that both ways:
//! an ability that is there undeclared breaks a law as one that is declared and missing does. A law that is about an ability
//! which is not declared, or needs a [successor](Harness::successor) that is not given, has nothing to say and passes. The laws
//! leave speed, memory and power cuts to tests of the backend's own.

#[macro_use]
mod ensure;

mod abilities;
mod copy;
mod delete;
mod errors;
mod get;
mod harness;
mod head;
mod keys;
mod limits;
mod list;
mod multipart;
mod presign;
mod put;
mod staging;
mod sync;

pub use harness::{Broken, Harness, Law, Verdict, prove};

/// Every law by its subject: the one list, from which both the tests and [`laws`] are made.
#[doc(hidden)]
#[macro_export]
macro_rules! __with_laws {
    ([$($then:tt)*] $($arguments:tt)*) => {
        $($then)*! { ($($arguments)*)
            abilities {
                staging_is_there_exactly_where_it_is_declared
                multipart_is_there_exactly_where_it_is_declared
                presign_is_there_exactly_where_it_is_declared
                the_store_displays_itself_on_one_line
            }
            keys {
                a_segment_of_1024_bytes_is_kept
                a_key_of_512_segments_is_kept
                upper_and_lower_case_are_different_keys
                composed_and_decomposed_letters_are_different_keys
                spaces_percents_and_pluses_are_kept_as_they_are
                dots_are_letters
                backslashes_are_letters
                names_that_other_systems_reserve_are_kept
                letters_of_every_script_are_kept
                keys_that_begin_alike_are_strangers
                keys_of_attributes_and_temporary_look_are_only_keys
            }
            put {
                create_refuses_an_object_that_is_there
                of_16_racing_creates_exactly_one_wins
                replace_writes_where_nothing_is
                replace_takes_the_place_of_an_object
                readers_of_a_replaced_object_see_one_whole
                replace_if_takes_only_the_expected_object
                replace_if_refuses_where_nothing_is
                of_16_racing_conditional_replaces_exactly_one_wins
                an_empty_object_is_an_object
                a_body_that_breaks_off_publishes_nothing
                a_body_shorter_than_announced_publishes_nothing
                a_body_longer_than_announced_publishes_nothing
                a_broken_replace_leaves_the_old_object
                a_dropped_put_leaves_all_or_nothing
                a_body_of_unknown_length_is_taken_whole
                a_body_that_can_be_reopened_is_taken_whole
                an_object_of_several_mebibytes_streams_through
                objects_written_at_once_do_not_mix
                a_put_answers_what_head_then_says
            }
            get {
                an_absent_object_is_not_found
                a_whole_object_comes_back
                a_range_from_an_offset_goes_to_the_end
                a_range_between_holds_both_ends
                a_range_is_cut_to_the_end_of_the_object
                a_last_range_counts_from_the_end
                a_range_past_the_end_is_invalid
                every_range_of_an_empty_object_is_invalid
                a_get_under_its_validator_is_answered
                a_get_under_another_validator_is_refused
                a_reader_keeps_its_revision_through_a_replace
                a_reader_keeps_its_revision_through_a_delete
                a_reader_may_leave_early
                ranges_read_at_once_make_up_the_whole
            }
            head {
                an_absent_object_has_no_head
                head_get_and_list_agree
                a_validator_stays_while_nothing_is_written
                a_validator_changes_with_the_bytes
                a_folder_is_no_object
            }
            delete {
                a_deleted_object_is_gone
                an_absent_object_is_deleted_already
                a_deleted_key_can_be_created_again
                a_delete_leaves_the_neighbours
                a_delete_of_a_folder_leaves_what_is_below
                racing_deletes_all_succeed
            }
            list {
                an_empty_store_lists_nothing
                a_listing_gives_each_object_once
                a_prefix_ends_at_a_slash
                a_prefix_of_nothing_lists_nothing
                a_prefix_of_several_segments_lists_what_is_below
                the_hidden_folder_is_listed_only_when_asked_for
                a_folder_named_as_the_hidden_one_elsewhere_is_listed
                a_listing_goes_on_behind_every_item
                a_listing_goes_on_behind_an_object_that_is_gone
                what_stays_is_listed_once_while_others_come_and_go
                a_listing_may_be_left_early
            }
            copy {
                a_copy_has_the_same_bytes
                a_copy_refuses_an_object_that_is_there
                a_copy_replaces_when_told_to
                a_copy_replaces_only_the_expected_object
                a_copy_of_nothing_is_not_found
                a_copy_onto_itself_keeps_the_bytes
                a_copy_lives_without_its_source
            }
            sync {
                a_write_for_later_is_seen_at_once
                a_sync_of_nothing_succeeds
                what_was_synced_outlives_the_process
                what_was_answered_outlives_the_process
            }
            limits {
                a_key_over_the_limit_is_refused
                an_object_over_the_limit_is_refused
                objects_lie_below_objects_exactly_as_declared
                a_folder_without_objects_is_in_nobodys_way
            }
            errors {
                an_error_names_what_was_tried_on_what_and_where
                an_absence_is_not_temporary
                a_refused_condition_is_not_temporary
            }
            multipart {
                parts_are_joined_by_their_numbers
                an_open_upload_is_not_seen
                a_later_part_takes_the_place_of_an_earlier
                the_parts_of_an_upload_are_told
                a_part_that_breaks_off_is_no_part
                an_unknown_upload_is_not_found
                an_upload_of_another_part_is_refused
                an_upload_completes_only_where_nothing_is
                an_upload_replaces_when_told_to
                an_aborted_upload_is_gone
                the_open_uploads_of_a_key_are_told
                all_open_uploads_are_told
            }
            presign {
                a_signed_request_ends_when_it_was_told_to
                a_request_for_more_than_a_week_is_refused
            }
            staging {
                what_is_staged_is_not_seen
                a_staged_part_has_the_right_digests
                a_pair_staged_in_one_call_is_published_like_any
                a_part_is_staged_once
                a_staged_body_that_breaks_off_leaves_nothing
                published_pairs_are_there_whole
                a_pair_is_published_only_where_nothing_is
                attributes_in_the_way_keep_the_bytes_away
                a_conflict_of_one_pair_leaves_the_others
                of_racing_publishes_exactly_one_wins
                a_pair_without_parts_is_refused
                what_is_staged_stays_until_it_is_discarded
                a_discarded_operation_can_be_staged_again
                a_discard_leaves_what_is_published
                finishing_is_safe_to_repeat
                finishing_leaves_what_lies_at_the_key
                what_lies_at_its_key_is_finished_though_nothing_is_staged
                withdraw_takes_only_its_own
                what_is_on_its_way_is_held_until_it_is_discarded
                only_the_very_object_that_was_staged_is_held
                a_node_knows_itself_alive_and_no_stranger
                the_living_leave_nothing_over
                what_the_dead_left_is_found_once
                what_the_dead_left_is_held_until_it_is_discarded
                a_leftover_can_be_finished
                a_leftover_can_be_withdrawn_and_discarded
            }
        }
    };
}

/// One test for each law, in a module of this name: `conformance!(name, || async { Harness::new(store) })`.
#[macro_export]
macro_rules! conformance {
    ($name:ident, $harness:expr) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;
            $crate::__with_laws! { [$crate::__one_test_each] $harness }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __one_test_each {
    (($harness:expr) $($subject:ident { $($law:ident)* })*) => {
        $($(
            #[test]
            fn $law() {
                let broken = $crate::conformance::prove(stringify!($law), $harness).err();
                assert!(broken.is_none(), "{}: {}", stringify!($law), broken.unwrap_or_default());
            }
        )*)*
    };
}

macro_rules! table {
    (() $($subject:ident { $($law:ident)* })*) => {
        &[$($(Law { name: stringify!($law), run: |harness| Box::pin($subject::$law(harness)) }),*),*]
    };
}

/// Every law, to be run by other means than `conformance!`.
#[must_use]
pub fn laws() -> &'static [Law] {
    __with_laws! { [table] }
}
