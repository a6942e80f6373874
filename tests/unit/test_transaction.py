"""The transaction's state machine, without any database."""

import itertools

import pytest

from trueline.instrumentation.semconv import LEGAL_REASONS, Outcome, Reason
from trueline.instrumentation.transaction import MAX_LEFT, MAX_UNDONE_LISTED, Cause, Transaction


class Ran:
    """A statement."""

    numbers = itertools.count(1)

    def __init__(self, *, writes: bool = True) -> None:
        self.writes = writes
        self.reads = not writes
        self.rows: int | None = 1
        self.tables: tuple[str, ...] = ("expenses",)
        self.failed = False
        self.position = 0
        self.undone = False
        self.left = False
        self.many = False
        self.started_at = 1
        self.span_id = f"{next(self.numbers):016x}"


def begun(*statements: Ran) -> Transaction[Ran]:
    transaction: Transaction[Ran] = Transaction("1" * 16)
    for statement in statements:
        transaction.add(statement)
    return transaction


def test_a_commit_commits_every_statement() -> None:
    first, second = Ran(), Ran()
    transaction = begun(first, second)
    transaction.committed()
    assert transaction.outcome_of(first) == transaction.outcome_of(second) == (Outcome.COMMITTED, None)


def test_a_failed_statement_never_reads_as_committed() -> None:
    fine, failed = Ran(), Ran()
    failed.failed = True
    transaction = begun(fine, failed)
    transaction.committed()
    assert transaction.outcome_of(fine) == (Outcome.COMMITTED, None)
    assert transaction.outcome_of(failed) == (Outcome.ROLLED_BACK, Reason.EXCEPTION)


def test_a_commit_that_the_server_answered_with_a_rollback() -> None:
    transaction = begun(Ran())
    transaction.statement_failed(aborts=True)
    transaction.committed()
    assert (transaction.outcome, transaction.reason) == (Outcome.ROLLED_BACK, Reason.COMMIT_OF_ABORTED)


def test_a_failed_statement_alone_does_not_abort_on_servers_that_go_on() -> None:
    transaction = begun(Ran())
    transaction.statement_failed(aborts=False)
    transaction.committed()
    assert transaction.outcome == Outcome.COMMITTED


@pytest.mark.parametrize(
    ("connection_lost", "expected"),
    [(True, (Outcome.UNKNOWN, None)), (False, (Outcome.ROLLED_BACK, Reason.COMMIT_FAILED))],
)
def test_a_commit_that_raised(connection_lost: bool, expected: tuple[Outcome, Reason | None]) -> None:
    transaction = begun(Ran())
    transaction.commit_failed(connection_lost=connection_lost, cause=Cause("IntegrityError"))
    assert (transaction.outcome, transaction.reason) == expected


def test_a_rolled_back_savepoint_undoes_what_came_after_it_only() -> None:
    before, inside, after = Ran(), Ran(), Ran()
    transaction = begun(before)
    transaction.savepoint("s1")
    transaction.add(inside)
    transaction.rollback_to_savepoint("s1")
    transaction.add(after)
    transaction.committed()
    assert [transaction.outcome_of(s)[0] for s in (before, inside, after)] == [
        Outcome.COMMITTED,
        Outcome.ROLLED_BACK,
        Outcome.COMMITTED,
    ]
    assert transaction.outcome_of(inside)[1] is Reason.SAVEPOINT


def test_a_released_savepoint_shares_the_fate_of_the_one_around_it() -> None:
    inner = Ran()
    transaction = begun()
    transaction.savepoint("outer")
    transaction.savepoint("inner")
    transaction.add(inner)
    transaction.release_savepoint("inner")
    transaction.rollback_to_savepoint("outer")
    transaction.committed()
    assert transaction.outcome_of(inner) == (Outcome.ROLLED_BACK, Reason.SAVEPOINT)


def test_a_savepoint_can_be_rolled_back_twice() -> None:
    first, second = Ran(), Ran()
    transaction = begun()
    transaction.savepoint("s")
    transaction.add(first)
    transaction.rollback_to_savepoint("s")
    transaction.add(second)
    transaction.rollback_to_savepoint("s")
    transaction.committed()
    assert first.undone
    assert second.undone


def test_a_savepoint_heals_an_aborted_transaction() -> None:
    transaction = begun(Ran())
    transaction.savepoint("s")
    transaction.add(Ran())
    transaction.statement_failed(aborts=True)
    transaction.rollback_to_savepoint("s")
    transaction.committed()
    assert transaction.outcome == Outcome.COMMITTED


def test_an_unknown_savepoint_changes_nothing() -> None:
    statement = Ran()
    transaction = begun(statement)
    transaction.rollback_to_savepoint("never set")
    transaction.committed()
    assert transaction.outcome_of(statement)[0] == Outcome.COMMITTED


def test_statements_that_left_as_open_are_named_when_a_savepoint_undoes_them() -> None:
    before, inside = Ran(), Ran()
    transaction = begun(before)
    transaction.savepoint("s")
    transaction.add(inside)
    transaction.leave([before, inside])
    transaction.rollback_to_savepoint("s")
    transaction.committed()
    assert transaction.undone_ids == [inside.span_id]
    assert transaction.tally.left_open == 2
    assert transaction.held == []


def test_a_whole_rollback_outweighs_a_savepoint() -> None:
    inside = Ran()
    transaction = begun()
    transaction.savepoint("s")
    transaction.add(inside)
    transaction.rollback_to_savepoint("s")
    transaction.rolled_back(Reason.EXCEPTION)
    assert transaction.outcome_of(inside) == (Outcome.ROLLED_BACK, Reason.EXCEPTION)


def test_the_first_end_is_the_end() -> None:
    transaction = begun(Ran())
    transaction.committed()
    transaction.rolled_back(Reason.ABANDONED)
    assert transaction.outcome == Outcome.COMMITTED


@pytest.mark.parametrize(
    ("said", "corrected_by", "final"),
    [
        (Reason.EXPLICIT, Reason.NOT_COMMITTED, Reason.NOT_COMMITTED),
        (Reason.NOT_COMMITTED, Reason.EXPLICIT, Reason.EXPLICIT),
        (Reason.EXCEPTION, Reason.NOT_COMMITTED, Reason.EXCEPTION),
        (Reason.ABANDONED, Reason.EXPLICIT, Reason.ABANDONED),
    ],
)
def test_a_reason_is_corrected_until_the_transaction_is_settled(
    said: Reason, corrected_by: Reason, final: Reason
) -> None:
    transaction = begun(Ran())
    transaction.rolled_back(said)
    transaction.correct(corrected_by)
    assert transaction.reason is final
    assert transaction.settle()
    assert not transaction.settle()
    transaction.correct(Reason.EXPLICIT)
    assert transaction.reason is final


def test_every_rollback_has_a_reason_and_nothing_else_has() -> None:
    assert LEGAL_REASONS[Outcome.ROLLED_BACK] == frozenset(Reason)
    for outcome in (Outcome.COMMITTED, Outcome.OPEN, Outcome.UNKNOWN):
        assert not LEGAL_REASONS[outcome]


def test_what_has_left_says_open_whatever_happens_later() -> None:
    left, held = Ran(), Ran()
    transaction = begun(left, held)
    transaction.leave([left])
    transaction.committed()
    assert transaction.outcome_of(left) == (Outcome.OPEN, None)
    assert transaction.outcome_of(held) == (Outcome.COMMITTED, None)


def test_what_failed_does_not_wait_for_the_end() -> None:
    failed = Ran()
    failed.failed = True
    transaction = begun(failed)
    transaction.leave([failed])
    assert transaction.outcome_of(failed) == (Outcome.ROLLED_BACK, Reason.EXCEPTION)


def test_what_leaves_outside_of_savepoints_is_not_remembered() -> None:
    transaction = begun()
    for _ in range(3):
        transaction.savepoint("s")
        statement = Ran()
        transaction.add(statement)
        transaction.leave([statement])
        transaction.release_savepoint("s")
    before = Ran()
    transaction.add(before)
    transaction.leave([before])
    assert transaction.left == []


def test_several_parameter_sets_may_have_been_written_before_the_one_that_failed() -> None:
    batch = Ran()
    batch.failed = batch.many = True
    transaction = begun(batch)
    transaction.committed()
    assert transaction.outcome_of(batch) == (Outcome.UNKNOWN, None)


def test_several_parameter_sets_are_undone_where_an_error_aborts() -> None:
    batch = Ran()
    batch.failed = batch.many = True
    transaction = begun(batch)
    transaction.statement_failed(aborts=True)
    transaction.committed()
    assert transaction.outcome_of(batch) == (Outcome.ROLLED_BACK, Reason.COMMIT_OF_ABORTED)


def test_a_refused_commit_can_be_tried_again() -> None:
    transaction = begun(Ran())
    transaction.commit_refused(Cause("OperationalError"))
    assert not transaction.ended
    transaction.committed()
    assert transaction.outcome == Outcome.COMMITTED


def test_a_rollback_after_a_refused_commit_has_the_commit_as_its_reason() -> None:
    transaction = begun(Ran())
    transaction.commit_refused(Cause("OperationalError"))
    transaction.rolled_back(Reason.EXPLICIT)
    assert (transaction.outcome, transaction.reason) == (Outcome.ROLLED_BACK, Reason.COMMIT_FAILED)
    assert transaction.cause.error_type == "OperationalError"


def test_nobody_knows_what_became_of_a_prepared_transaction_whose_commit_raised() -> None:
    transaction = begun(Ran())
    transaction.prepared = True
    transaction.commit_failed(connection_lost=False, cause=Cause("OperationalError"))
    assert (transaction.outcome, transaction.reason) == (Outcome.UNKNOWN, None)


def test_an_end_that_was_not_seen_is_unknown() -> None:
    transaction = begun(Ran())
    transaction.ended_unseen()
    transaction.rolled_back(Reason.EXPLICIT)
    assert (transaction.outcome, transaction.reason) == (Outcome.UNKNOWN, None)


def test_what_left_and_is_not_sent_yet_is_told_that_it_was_undone() -> None:
    inside = Ran()
    transaction = begun(Ran())
    transaction.savepoint("s")
    transaction.add(inside)
    transaction.leave([inside])
    transaction.rollback_to_savepoint("s")
    transaction.committed()
    assert transaction.outcome_of(inside) == (Outcome.ROLLED_BACK, Reason.SAVEPOINT)


def test_what_left_is_remembered_only_while_a_savepoint_can_undo_it() -> None:
    before, inside = Ran(), Ran()
    transaction = begun(before)
    transaction.leave([before])
    assert transaction.left == []
    transaction.savepoint("s")
    transaction.add(inside)
    transaction.leave([inside])
    assert transaction.left == [inside]
    transaction.release_savepoint("s")
    assert transaction.left == []


def test_what_left_inside_a_savepoint_is_bounded_and_named_once() -> None:
    transaction = begun()
    transaction.savepoint("s")
    for _ in range(2 * MAX_LEFT):
        statement = Ran()
        transaction.add(statement)
        transaction.leave([statement])
    assert len(transaction.left) <= MAX_LEFT
    transaction.rollback_to_savepoint("s")
    transaction.rollback_to_savepoint("s")
    assert len(transaction.undone_ids) == len(set(transaction.undone_ids)) == MAX_UNDONE_LISTED
    assert transaction.left == []
