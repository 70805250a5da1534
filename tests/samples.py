"""Of which tests `make test` runs samples: those of many cases that take long. `make test-more` runs all the others."""

ONE_IN = {  # runs the first of so many cases, and of the next so many, and so on; of 0, none
    "test_a_resumed_run_has_the_same_values_results_and_state": 8,
    "test_a_pipeline_that_has_changed_is_refused_and_one_that_has_not_goes_on": 6,
    "test_other_validation_data_are_refused_or_a_warning": 6,
    "test_a_planted_bug_is_caught": 10,
    "test_a_training_killed_at_any_operation_ends_with_the_same_bits": 9,
    "test_what_changes_the_numbers_is_refused_and_named_or_a_warning": 4,
    "test_children_that_were_forked_hear_their_own_signals_and_only_those": 8,
    "test_other_data_killed_in_mid_epoch_and_at_its_end_end_with_the_same_bits": 5,
    "test_a_variable_that_is_only_read_in_a_pipeline_is_taken_if_the_data_are_read_again": 2,
    "test_a_file_that_has_changed_behind_a_generator_is_refused_or_a_warning": 4,
    "test_a_stop_asked_of_the_loop_puts_the_evaluation_off_until_the_run_goes_on": 4,
    "test_random_numbers_that_cannot_be_saved_are_named": 2,
    "test_the_first_checkpoint_that_restores_decides": 4,
    "test_with_another_version_of_what_builds_the_step_its_differences_are_warnings": 4,
    "test_splitting_a_run_changes_neither_bits_nor_events": 3,
    "test_data_go_on_from_where_they_were": 4,
    "test_what_a_plain_checkpoint_would_lose_is_named_before_the_first_step_and_is_really_missed": 4,
    "test_a_pipeline_that_is_taken_goes_on_with_the_same_batches": 4,
}
