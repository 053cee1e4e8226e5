"""Answers of clusters, as the releases of Slurm print them."""

import pytest

from proctor.blocks.slurm.parse import answers, evidence, read, refusal

END = "@end 2026-01-01T12:00:00"

RELEASES = {
    "20.11": [
        "@Q 7|PENDING|N/A|N/A|0:00|1:00:00||1001|proctor-1|Priority",
        "@A 8|TIMEOUT|0:0|2026-01-01T11:00:00|2026-01-01T11:59:50|n1|1001|proctor-2",
    ],
    "21.08": [
        "@Q 7|PENDING|2026-01-01T14:05:00|2026-01-01T15:05:00|0:00|1:00:00||1001|proctor-1|(Priority)",
        "@A 8|TIMEOUT|0:0|2026-01-01T11:00:00|2026-01-01T11:59:50|n1|1001|proctor-2",
    ],
    "22.05": [
        "@Q 7|PENDING|2026-01-01T14:05:00|N/A|0:00|1:00:00||1001|proctor-1|Priority",
        "@A 8|TIMEOUT|0:0|2026-01-01T11:00:00|2026-01-01T11:59:50|n1|1001|proctor-2",
    ],
    "23.11": [
        "@Q 7|PENDING|2026-01-01T14:05:00|N/A|0:00|1:00:00||1001|proctor-1|Priority",
        "@A 8|TIMEOUT|0:0|2026-01-01T11:00:00|2026-01-01T11:59:50|n1|1001|proctor-2|",
    ],
    "24.11": [
        "@Q 7|PENDING|N/A|N/A|0:00|1:00:00|(null)|1001|proctor-1|Priority",
        "@A 8|TIMEOUT|0:15|2026-01-01T11:00:00|2026-01-01T11:59:50|n1|1001|proctor-2",
    ],
    "25.05": [
        "@Q 7|PENDING|N/A|NONE|0:00|1:00:00||1001|proctor-1|Priority",
        "@A 8|TIMEOUT|0:0|2026-01-01T11:00:00|2026-01-01T11:59:50|None assigned|1001|proctor-2",
    ],
}


@pytest.mark.parametrize("release", RELEASES)
def test_every_release_is_read(release: str) -> None:
    look = read("\n".join([*RELEASES[release], END]))
    pending, ended = look.facts["7"], look.facts["8"]
    assert (pending.state, pending.source, "Priority" in pending.reason) == ("PENDING", "squeue", True)
    assert (ended.state, ended.source) == ("TIMEOUT", "sacct")
    assert evidence(look, 0, "proctor-2", "8").ended_for == 10


def test_noise_of_a_login_shell_is_left_out() -> None:
    look = read("Welcome to the cluster!\n@home\n" + "@Q 7|RUNNING|N/A|N/A|1:00|1:00:00|n1|1001|proctor-1|None\n" + END)
    assert look.facts["7"].nodes == "n1"
    assert look.facts["7"].reason == ""
    assert look.whole


def test_an_answer_that_broke_off_is_not_whole() -> None:
    assert not read("@Q 7|RUNNING|N/A|N/A|1:00|1:00:00|n1|1001|proctor-1|None").whole


def test_the_id_on_the_cluster_counts() -> None:
    text = (
        "@Q 9|RUNNING|N/A|N/A|1:00|1:00:00|n1|1001|j|None\n@J 0 job_id 9\n@S 0 1 exit 2026-01-01T00:00:00Z 3 j words behind\n"
        + END
    )
    seen = evidence(read(text), 0, "j", "")
    assert seen.facts
    assert seen.stages[1]["exit"].exit_code == 3
    assert seen.stages[1]["exit"].words == "words behind"


def test_stage_files_of_another_attempt_do_not_count() -> None:
    assert not evidence(read("@S 0 0 exit 2026-01-01T00:00:00Z 0 other\n" + END), 0, "j", "").stages[0]


@pytest.mark.parametrize(
    ("trouble", "asked"),
    [
        ("", True),
        ("@account-failed Slurm accounting storage is disabled", True),
        ("@account-failed sacct: error: slurm_persist_conn_open: Connection refused", False),
        ("@queue-failed slurm_load_jobs error: Unable to contact slurm controller (connect failure)", False),
    ],
)
def test_knowing_nothing_means_something_only_when_slurm_was_asked(trouble: str, asked: bool) -> None:
    assert evidence(read(f"{trouble}\n{END}"), 0, "j", "7").asked is asked


def test_places_in_the_queue_belong_to_their_jobs() -> None:
    look = read("@Q 7|PENDING|N/A|N/A|0:00|1:00:00||1001|proctor-1|Priority\n@R 7 3 40\n@R 99 1 40\n" + END)
    assert look.facts["7"].place == (3, 40)


def test_a_refused_job_shifts_nobody() -> None:
    text = (
        "motd\n@proctor submitted a 11\n@proctor refused b sbatch: error: no\n@proctor adopted c 12 \n@proctor end 3\n"
    )
    found = answers(text, ["a", "b", "c"])
    assert found == {"a": ("submitted", "11"), "b": ("refused", "sbatch: error: no"), "c": ("adopted", "12 ")}


@pytest.mark.parametrize(
    ("errors", "words"),
    [
        (
            "tar: /nowhere: Cannot mkdir: Permission denied\ntar: Exiting",
            "tar: /nowhere: Cannot mkdir: Permission denied",
        ),
        ("tar: x: Cannot open: Disk quota exceeded", "tar: x: Cannot open: Disk quota exceeded"),
        ("gzip: stdin: unexpected end of file", ""),
        ("", ""),
    ],
)
def test_an_upload_that_can_never_succeed_is_known(errors: str, words: str) -> None:
    assert refusal(errors) == words


@pytest.mark.parametrize(("state", "known"), [("RUNNING", False), ("PENDING", False), ("COMPLETED", True)])
def test_books_whose_controller_is_away_say_only_what_has_ended(state: str, known: bool) -> None:
    text = f"@queue-failed slurm_load_jobs error: Unable to contact slurm controller\n@A 7|{state}|0:0|Unknown|Unknown|n1|1001|j\n{END}"
    seen = evidence(read(text), 0, "j", "7")
    assert (seen.facts is not None, seen.asked) == (known, False)


@pytest.mark.parametrize(
    ("line", "ours"),
    [
        ("@Q 7|RUNNING|N/A|N/A|1:00|1:00:00|n1|1001|proctor-1|None", True),
        ("@Q 7|RUNNING|N/A|N/A|1:00|1:00:00|n1|1001|a name that the site gave|None", True),
        ("@Q 7|RUNNING|N/A|N/A|1:00|1:00:00|n1|1001|proctor-2|None", False),
        ("@Q 7|RUNNING|N/A|N/A|1:00|1:00:00|n1|1002|a|b|None", False),
        ("@A 7|COMPLETED|0:0|Unknown|Unknown|n1|1001|proctor-2", False),
        ("@A 7|PENDING|0:0|2026-01-01T11:00:00|Unknown|n1|1001|allocation", False),
    ],
)
def test_an_id_that_slurm_gave_a_second_time_is_another_job(line: str, ours: bool) -> None:
    seen = evidence(read(f"{line}\n{END} 1001"), 0, "proctor-1", "7")
    assert (seen.facts is not None, seen.forgotten) == (ours, not ours)


@pytest.mark.parametrize(("word", "forgotten"), [("silent 1", True), ("begun 2026-01-01T11:00:00Z", True), ("", False)])
@pytest.mark.parametrize("trouble", ["", "@account-failed Slurm accounting storage is disabled"])
def test_a_job_that_nobody_knows_is_forgotten_where_it_should_be_known(
    word: str, forgotten: bool, trouble: str
) -> None:
    text = f"{trouble}\n@J 0 job_id 7\n@J 0 {word}\n{END} 1001"
    assert evidence(read(text), 0, "j", "7").forgotten is forgotten
    assert not evidence(read(f"@queue-failed no controller\n{text}"), 0, "j", "7").forgotten
    without_id = f"{trouble}\n@J 0 {word}\n{END} 1001"
    assert not evidence(read(without_id), 0, "j", "").forgotten, "nobody could ask for it"


@pytest.mark.parametrize(("state", "known"), [("RUNNING", False), ("PENDING", False), ("COMPLETED", True)])
def test_what_only_the_books_say_goes_on_the_controller_has_forgotten(state: str, known: bool) -> None:
    seen = evidence(read(f"@A 7|{state}|0:0|Unknown|Unknown|n1|1001|j\n{END} 1001"), 0, "j", "7")
    assert (seen.facts is not None, seen.forgotten) == (known, not known)
