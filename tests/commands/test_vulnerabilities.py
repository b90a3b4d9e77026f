"""What `make vulnerabilities` makes of pip-audit's findings; that it cannot reach its data is never
taken for good news."""

from transfer.commands.vulnerabilities import report

SOUND = {"name": "numpy", "version": "2.4.0", "vulns": []}
SKIPPED = {"name": "wrapt", "skip_reason": "Dependency not found"}
BAD = {
    "name": "keras",
    "version": "3.0",
    "vulns": [{"id": "CVE-1", "fix_versions": ["3.1"]}, {"id": "CVE-2", "fix_versions": []}],
}


def test_all_sound_is_zero():
    assert report([SOUND, SOUND]) == (
        ["vulnerabilities: 2 of 2 packages audited, 0 known vulnerabilities in these"],
        0,
    )


def test_each_vulnerability_is_named_with_its_remedy():
    lines, status = report([SOUND, BAD])
    assert lines[:2] == [
        "keras 3.0: CVE-1, fixed in 3.1",
        "keras 3.0: CVE-2, fixed in no version yet",
    ]
    assert lines[2] == "vulnerabilities: 2 of 2 packages audited, 2 known vulnerabilities in these"
    assert status == 1


def test_data_that_cannot_be_reached_is_reported_and_is_no_success():
    lines, status = report([SOUND, SKIPPED])
    assert lines == [
        "vulnerabilities: 1 of 2 packages audited, 0 known vulnerabilities in these",
        "vulnerabilities: 1 packages not audited, because their data could not be reached",
    ]
    assert status == 2


def test_a_vulnerability_outweighs_what_could_not_be_reached():
    assert report([BAD, SKIPPED])[1] == 1
