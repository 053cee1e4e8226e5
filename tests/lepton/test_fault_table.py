"""What can go wrong between us and Lepton: where each fault is handled, and the tests that fail without that handling.

The rows are those of the table of faults that the stand-in injects. That each named test fails was seen by taking the
handling away and running it; who adds a row, or moves a handling, does so again. What keeps a failure that stays for good
from lasting for ever, `execution.patience`, is the flow's; tests/lepton/test_patience.py looks through its watcher.
"""

import ast
import importlib
from functools import reduce
from pathlib import Path
from typing import NamedTuple

import pytest

HERE = Path(__file__).parent


class Row(NamedTuple):
    """A fault."""

    handled: tuple[str, ...]
    """Names in proctor.blocks.lepton."""
    tests: tuple[str, ...]
    """FILE::NAME or FILE::CLASS::NAME in this folder, without `test_` and `.py` before and behind the file."""


TABLE = {
    "401, a token that is bad or has expired": Row(
        ("connection.UnauthorizedError", "connection.refusal", "overseer.submit"),
        (
            "faults::TestLooking::test_an_expired_token_is_said_and_a_fresh_one_goes_on",
            "faults::TestRefusals::test_a_bad_token_before_anything_is_known",
            "family::TestUnauthorized::test_where_the_family_is_asked_for",
            "family::TestUnauthorized::test_at_a_second_submission_nothing_is_taken_back",
            "family::TestUnauthorized::test_where_only_endpoints_refuse_it",
        ),
    ),
    "403, the other family of endpoints or no permission": Row(
        ("workspace.Workspace.ask_endpoints", "connection.refusal", "removal.take_back", "removal.release"),
        (
            "family::TestForbidden::test_a_workspace_that_has_changed_its_family_is_asked_in_the_other",
            "family::TestForbidden::test_a_token_without_permission_is_asked_for_once_more_and_then_said",
            "faults::TestRefusals::test_no_permission",
        ),
    ),
    "404, a job or an endpoint that is gone": Row(
        ("workspace.missing_only", "verdict.unlisted", "overseer.act", "servers.gone"),
        (
            "faults::TestEnds::test_a_job_that_was_removed_by_hand_has_an_end",
            "faults::TestLooking::test_a_job_that_the_sdk_cannot_read_is_not_gone",
            "faults::TestCancelling::test_what_was_deleted_by_somebody_else_is_deleted",
            "servers::TestNeverReady::test_one_that_was_removed_in_the_middle_ends_its_benchmarks",
            "strays::test_only_what_carries_our_names_is_found_and_removed",
        ),
    ),
    "409, an endpoint of that name": Row(
        ("servers.ensure", "servers.created"),
        (
            "servers::TestCreation::test_a_lost_reply_makes_no_second_one",
            "servers::TestCreation::test_one_that_is_there_and_could_not_be_seen_is_adopted",
            "servers::TestCreation::test_one_of_somebody_else_under_its_name_is_refused_and_left_alone",
            "servers::TestCreation::test_one_that_is_still_being_removed_is_waited_for",
            "servers::TestCreation::test_one_whose_removal_never_ends_is_refused_in_the_end",
        ),
    ),
    "409, a secret of that name": Row(
        ("workspace.Workspace.create_secrets", "workspace.suppress_conflict"),
        ("faults::TestRefusals::test_secrets_that_another_process_has_made_meanwhile",),
    ),
    "400, a shape, node group or secret that there is not": Row(
        ("preparation.check_shape", "preparation.group_ids", "preparation.check_references", "connection.refusal"),
        (
            "faults::TestRefusals::test_a_wrong_section",
            "faults::TestRefusals::test_a_secret_that_is_not_there",
            "removal::test_nothing_is_left_of_a_job_that_is_refused_in_part",
        ),
    ),
    "400, an update that changes nothing": Row(
        (),  # nothing is ever updated
        ("servers::TestCreation::test_nothing_is_changed_once_it_is_made",),
    ),
    "422, what the SDK itself refuses": Row(
        ("validity.check_documents", "validity.refusing", "workspace.built"),
        (
            "faults::TestRefusals::test_what_only_the_sdk_knows_to_be_wrong",
            "servers::test_a_port_that_there_is_not_is_found_before_anything_is_made",
            "trouble::test_a_document_that_the_sdk_cannot_make_is_refused_and_not_tried_again",
        ),
    ),
    "429 and Retry-After": Row(
        ("connection.try_again", "connection.patience", "connection.wished", "connection.patiently"),
        (
            "faults::TestLooking::test_a_passing_fault_is_not_seen",
            "faults::TestLooking::test_a_service_that_asks_for_patience_gets_it",
            "faults::TestLooking::test_a_service_that_wants_to_be_left_alone_for_long_is",
            "faults::TestLooking::test_a_date_until_which_it_wants_to_be_left_alone_is_kept_too",
            "faults::TestCreation::test_a_busy_service_is_asked_for_a_job_once_at_a_time",
            "faults::TestCreation::test_a_service_that_wants_to_be_left_alone_is_not_asked_for_a_job",
            "trouble::TestALogThatCannotBeRead::test_one_that_wants_to_be_left_alone_is_and_jobs_are_seen_all_the_same",
        ),
    ),
    "500, 502, 503, 504": Row(
        ("connection.try_again", "connection.asking", "overseer.start_jobs"),
        (
            "faults::TestLooking::test_a_passing_fault_is_not_seen",
            "faults::TestLooking::test_a_lasting_fault_is_unseen_and_never_failed",
            "faults::TestCreation::test_a_busy_service_is_asked_for_a_job_once_at_a_time",
            "faults::TestCancelling::test_a_stumbling_service",
        ),
    ),
    "a service that is slow": Row(
        ("connection.new_client", "connection.asking", "overseer.ask_for", "workspace.Workspace.log_page"),
        (
            "faults::TestLooking::test_a_service_that_does_not_answer_in_time_is_unseen",
            "trouble::TestOneJob::test_a_request_that_is_slow_is_not_sent_again",
            "trouble::TestALogThatCannotBeRead::test_one_that_never_answers_is_not_waited_for",
        ),
    ),
    "a creation whose reply is lost": Row(
        ("overseer.adopt", "overseer.ask_for", "overseer.start_jobs", "servers.ensure"),
        (
            "faults::TestCreation::test_a_lost_reply_is_resolved_by_looking",
            "faults::TestCreation::test_a_submission_that_comes_again_much_later_looks_first",
            "faults::TestCreation::test_a_job_that_is_listed_late_is_not_asked_for_again",
            "faults::TestCreation::test_a_request_that_never_arrived_is_sent_again_when_that_is_certain",
            "crashes::test_submitting_where_lists_lag_behind",
            "servers::TestCreation::test_a_lost_reply_makes_no_second_one",
        ),
    ),
    "a connection that is refused, or a proxy that is down": Row(
        ("connection.try_again", "connection.asking"),
        (
            "refused::test_a_service_that_comes_back_soon_was_never_away",
            "refused::test_one_that_stays_away_says_nothing_about_jobs",
            "refused::test_a_proxy_that_is_down_is_waited_for",
            "refused::test_neither_a_proxy_nor_netrc_is_meant_for_this_machine",
            "faults::TestLooking::test_a_connection_that_breaks_once_is_not_seen",
        ),
    ),
    "200 with something that cannot be read": Row(
        ("connection.asking", "questions.job_page", "workspace.readable_job", "overseer.act"),
        (
            "faults::TestLooking::test_a_lasting_fault_is_unseen_and_never_failed",
            "faults::TestLooking::test_a_job_that_the_sdk_cannot_read_is_not_gone",
            "faults::TestLooking::test_a_page_with_a_job_that_cannot_be_read_is_not_the_last",
            "patience::test_a_list_that_cannot_be_had",
            "patience::test_results_in_a_log_that_cannot_be_read",
            "faults::TestCreation::test_a_lost_reply_is_resolved_by_looking",
        ),
    ),
    "a job that queues for ever": Row(
        ("verdict.while_waiting", "overseer.act"),
        ("faults::TestEnds::test_queueing_is_said_with_its_reason_and_given_up_after_its_time",),
    ),
    "a job that fails with an exit code": Row(
        ("overseer.come_home", "states.diagnosis", "verdict.last_word"),
        (
            "trouble::TestResults::test_a_job_that_failed_ends_by_its_own_word_and_its_last_lines_are_here",
            "faults::TestEnds::test_a_job_without_a_last_word_is_judged_by_its_events",
        ),
    ),
    "a job that is preempted, or starts again": Row(
        ("overseer.note_course", "verdict.waited", "logs.course"),
        (
            "faults::TestEnds::test_a_job_that_restarts_or_moves_has_not_failed",
            "trouble::test_a_job_that_lost_its_node_has_its_whole_time_again",
            "verdict::test_what_is_seen_and_what_follows",
        ),
    ),
    "a job that somebody stops or deletes": Row(
        ("verdict.verdict", "overseer.act"),
        (
            "faults::TestEnds::test_a_job_that_was_stopped_by_hand_is_cancelled",
            "faults::TestEnds::test_a_job_that_was_removed_by_hand_has_an_end",
        ),
    ),
    "a job that is archived": Row(
        (
            "states.job_meaning",
            "workspace.Workspace.every_job",
            "workspace.Workspace.delete_job",
            "render.KEPT_SECONDS",
        ),
        (
            "faults::TestEnds::test_an_archived_job_ends_by_its_evidence",
            "faults::TestEnds::test_an_ended_job_is_remembered_longer_than_an_outage",
            "verdict::test_an_archived_job_is_judged_by_its_counts",
            "removal::test_an_archived_job_is_no_obstacle_and_goes_where_it_can",
        ),
    ),
    "a state that nobody knows": Row(
        ("states.job_meaning", "verdict.verdict"),
        (
            "faults::TestEnds::test_a_state_that_nobody_knows_is_unknown",
            "patience::test_a_state_that_nobody_knows",
        ),
    ),
    "an endpoint that never becomes ready": Row(
        ("servers.attend", "servers.what_happened", "overseer.end_without_server", "removal.release"),
        (
            "servers::TestNeverReady::test_one_that_takes_too_long",
            "servers::TestNeverReady::test_an_image_that_cannot_be_pulled",
            "servers::TestNeverReady::test_events_that_cannot_be_had_hide_nothing_else",
            "servers::TestNeverReady::test_nothing_is_left_afterwards",
        ),
    ),
    "an endpoint in the state Error": Row(
        ("states.endpoint_meaning", "servers.attend", "servers.failed"),
        ("servers::TestNeverReady::test_an_endpoint_in_error_fails_at_once_with_its_last_lines",),
    ),
    "an endpoint that is Ready and answers 502 or 401": Row(
        ("servers.first_answer", "servers.refused_token", "pulse.feel"),
        (
            "servers::TestNeverReady::test_an_ingress_that_lags_behind_is_waited_for",
            "servers::TestNeverReady::test_one_that_lists_its_model_before_it_is_healthy_is_waited_for",
            "servers::TestNeverReady::test_a_token_that_it_does_not_take",
            "servers::TestNeverReady::test_another_model_is_named",
            "pulse::test_one_that_falls_silent_ends_its_benchmarks",
        ),
    ),
    "a log that is cut, late or not to be had": Row(
        ("logs.follow", "overseer.come_home", "overseer.look_at", "servers.failed", "removal.last_chance"),
        (
            "results::TestLogs::test_lines_come_once_and_in_order_through_every_fault",
            "results::TestLogs::test_a_line_that_arrives_after_a_younger_one_is_shown_too",
            "servers::TestNeverReady::test_a_log_that_cannot_be_had_changes_nothing",
            "trouble::TestALogThatCannotBeRead::test_one_that_cannot_be_had_now_says_nothing",
            "trouble::TestALogThatCannotBeRead::test_one_that_is_refused_ends_its_step_alone",
            "trouble::TestALogThatCannotBeRead::test_it_does_not_keep_anything_from_being_cancelled",
        ),
    ),
    "GET /workspace that fails three times (twice is nothing to the SDK itself)": Row(
        ("questions.sure_of_family", "workspace.Workspace.ask_endpoints", "workspace.Workspace.log_page"),
        (
            "family::TestUnknown::test_it_is_learned_again_when_it_could_not_be_asked_for",
            "family::TestUnknown::test_nothing_is_made_before_it_is_known",
            "family::TestUnknown::test_nothing_counts_as_removed_before_it_is_known",
            "family::TestUnknown::test_no_log_is_called_empty_before_it_is_known",
        ),
    ),
}


def defined(file: str) -> set[str]:
    """The tests of a file of this folder."""
    tree = ast.parse((HERE / f"test_{file}.py").read_text())
    found = {each.name for each in tree.body if isinstance(each, ast.FunctionDef)}
    for group in (each for each in tree.body if isinstance(each, ast.ClassDef)):
        found |= {f"{group.name}::{each.name}" for each in group.body if isinstance(each, ast.FunctionDef)}
    return found


@pytest.mark.parametrize("fault", TABLE)
def test_the_table_names_what_there_is(fault: str) -> None:
    row = TABLE[fault]
    for name in row.handled:
        module, _, attribute = name.partition(".")
        reduce(getattr, attribute.split("."), importlib.import_module(f"proctor.blocks.lepton.{module}"))
    for test in row.tests:
        file, _, name = test.partition("::")
        assert name in defined(file), f"{test} is no test"
