"""The net: what is due is found and handed out, the young first, the old too."""

import uuid
from datetime import timedelta

import pytest

from payments import hook_tokens, inbox, reconciliation, references, tasks
from payments.models import Notice, Payment
from smartduka.lib import clock
from tests.factories import OrderFactory, PaymentFactory
from tests.support.callbacks import success
from tests.support.facts import nothing_changes, path_of
from tests.support.gateway import final


pytestmark = pytest.mark.django_db

ASK, NOTICE = "payments.tasks.ask", "payments.tasks.process_notice"


@pytest.fixture
def aged(duka, time):
    """Make payments as old as is said, due so long ago; newest last."""

    def make(count=1, *, age_s, due_s=60, **facts):
        first = PaymentFactory(order=OrderFactory(shop=duka))
        created_at = time.now - timedelta(seconds=age_s)
        rows = []
        for number in range(count):
            row = Payment.objects.get(pk=first.pk)
            row.pk, row._state.adding = uuid.uuid4(), True
            row.created_at = created_at + timedelta(milliseconds=number)
            row.next_ask_at = (
                None if due_s is None else time.now - timedelta(seconds=due_s)
            )
            row.checkout_request_id = f"ws_CO_{row.pk.hex}"
            row.token_hash = hook_tokens.issue().nonce_hash
            row.reference = references.new_reference()
            row.phone = f"2547{number:08}"
            for name, value in facts.items():
                setattr(row, name, value)
            rows.append(row)
        first.events.all()._raw_delete("default")
        Payment.objects.filter(pk=first.pk).delete()
        return Payment.objects.bulk_create(rows)

    return make


def handed_out(queued, path=ASK):
    return [arguments[0] for name, arguments, _ in queued if name == path]


def test_due_questions_are_handed_out_once(aged, tasks, time):
    payments = aged(2, age_s=60)

    assert reconciliation.sweep() == reconciliation.Swept(questions=2, notices=0)

    assert sorted(handed_out(tasks())) == sorted(str(one.pk) for one in payments)
    leases = set(Payment.objects.values_list("leased_until", flat=True))
    assert leases == {time.now + timedelta(seconds=60)}
    assert reconciliation.sweep() == reconciliation.Swept(0, 0)


def test_a_lease_that_is_over_is_handed_out_again(aged, tasks, time):
    aged(age_s=60)
    reconciliation.sweep()
    time.turn(60)

    assert reconciliation.sweep().questions == 1
    assert len(handed_out(tasks())) == 2


@pytest.mark.parametrize(("late_s", "found"), [(19.9, 0), (20, 1)])
def test_a_task_that_is_only_a_little_late_is_not_lost(aged, late_s, found):
    aged(age_s=60, due_s=late_s)

    assert reconciliation.sweep().questions == found


@pytest.mark.parametrize(
    "facts", [{"due_s": None}, {"due_s": -60}], ids=["no question", "not yet"]
)
def test_what_is_not_due_is_left_alone(aged, facts):
    aged(age_s=60, **facts)

    assert reconciliation.sweep() == reconciliation.Swept(0, 0)


def test_a_confirmation_is_found_like_any_question(aged, time):
    aged(age_s=200, status="completed", decided_at=time.now, completed_at=time.now)

    assert reconciliation.sweep().questions == 1


def test_the_sweep_asks_nobody_itself(aged, mpesa):
    aged(3, age_s=60)

    with nothing_changes():
        reconciliation.sweep()

    assert mpesa.questions == []


def test_the_sweep_never_takes_more_than_its_limit(aged, tasks):
    aged(80, age_s=60)

    assert reconciliation.sweep().questions == 50
    assert reconciliation.sweep().questions == 30


def test_half_of_the_sweep_is_kept_for_the_old(aged, tasks):
    old, young = aged(60, age_s=4000), aged(60, age_s=60)

    reconciliation.sweep()

    chosen = set(handed_out(tasks()))
    assert len(chosen & {str(one.pk) for one in old}) == 25
    assert len(chosen & {str(one.pk) for one in young}) == 25


def test_what_the_old_do_not_need_is_for_the_young(aged, tasks):
    old, young = aged(10, age_s=4000), aged(60, age_s=60)

    reconciliation.sweep()

    chosen = set(handed_out(tasks()))
    assert {str(one.pk) for one in old} <= chosen
    assert len(chosen & {str(one.pk) for one in young}) == 40


def test_what_the_young_do_not_need_is_for_the_old(aged, tasks):
    old, young = aged(60, age_s=4000), aged(10, age_s=60)

    reconciliation.sweep()

    chosen = set(handed_out(tasks()))
    assert {str(one.pk) for one in young} <= chosen
    assert len(chosen & {str(one.pk) for one in old}) == 40


def test_the_longest_due_of_the_old_comes_first(aged, tasks, settings):
    settings.SWEEP_LIMIT = 2
    aged(3, age_s=4000, due_s=60)
    longest = aged(2, age_s=4000, due_s=600)

    reconciliation.sweep()

    assert set(handed_out(tasks())) == {str(one.pk) for one in longest}


def test_the_newest_of_the_young_comes_first(aged, tasks, settings):
    settings.SWEEP_LIMIT = 2
    young = aged(5, age_s=60)

    reconciliation.sweep()

    assert set(handed_out(tasks())) == {str(one.pk) for one in young[-2:]}


def test_a_new_payment_is_not_lost_among_3000(aged, tasks):
    aged(3000, age_s=4000)
    new = aged(1, age_s=40, due_s=25)[0]

    assert reconciliation.sweep().questions == 50

    assert str(new.pk) in handed_out(tasks())


@pytest.mark.parametrize(("age_s", "is_young"), [(300, True), (301, False)])
def test_young_is_under_five_minutes(aged, settings, tasks, age_s, is_young):
    settings.SWEEP_LIMIT = 1
    one = aged(1, age_s=age_s, due_s=30)[0]
    aged(1, age_s=4000, due_s=600)

    reconciliation.sweep()

    assert (handed_out(tasks()) == [str(one.pk)]) is is_young


def test_sweeping_costs_few_queries(aged, django_assert_max_num_queries):
    aged(3, age_s=60)

    # Young, old, lock, lease, three tasks; notices; receipts; claims; the transaction.
    with django_assert_max_num_queries(12):
        reconciliation.sweep()


# Notices.


def due_notice(payment, time, body=None):
    stored = inbox.store_for_payment(
        payment.token_hash, inbox.Raw(body or success(payment), False, "", True)
    )
    time.turn(15)
    return stored.notice_id


def test_a_notice_that_was_never_processed_is_handed_out(payment, tasks, time):
    number = due_notice(payment, time)
    Payment.objects.update(next_ask_at=None)

    assert reconciliation.sweep() == reconciliation.Swept(questions=0, notices=1)

    assert handed_out(tasks(), NOTICE) == [number]


def test_a_stored_callback_heals_after_a_crash(payment, time):
    """Stored, and the process died before it was processed."""
    number = due_notice(payment, time)

    tasks.process_notice(number)

    assert path_of(payment) == ["created", "pending", "completed"]
    assert Notice.objects.get().next_try_at is None


# A round by hand.


def test_a_round_by_hand_does_everything(payment, aged, mpesa, time):
    due_notice(payment, time)
    lost = aged(1, age_s=200, due_s=-500)[0]
    mpesa.answers[lost.checkout_request_id] = final("0")
    over = aged(1, age_s=400, expires_at=time.now)[0]

    done = reconciliation.sweep_now()

    # The one paid by the notice is confirmed, too.
    assert done == reconciliation.Round(
        looked_at=3, asked=3, decided=2, expired=1, notices=1
    )
    statuses = dict(Payment.objects.values_list("pk", "status"))
    assert statuses == {
        payment.pk: "completed", lost.pk: "completed", over.pk: "expired"
    }  # fmt: skip


def test_a_round_by_hand_asks_nobody_twice_in_ten_seconds(payment, mpesa, time):
    reconciliation.sweep_now()

    assert reconciliation.sweep_now() == reconciliation.Round(1, 0, 0, 0, 0)
    assert len(mpesa.questions) == 1


def test_a_round_by_hand_leaves_the_decided_alone(payment, mpesa):
    Payment.objects.update(
        status="failed", failure_reason="other", decided_at=clock.now(),
        next_ask_at=None,
    )  # fmt: skip

    with nothing_changes():
        assert reconciliation.sweep_now() == reconciliation.Round(0, 0, 0, 0, 0)


def test_a_round_by_hand_has_a_limit(aged, mpesa, settings):
    settings.SWEEP_LIMIT = 3
    aged(5, age_s=60)

    assert reconciliation.sweep_now().looked_at == 3


def test_a_payment_without_questions_left_is_still_looked_at(aged, mpesa):
    aged(1, age_s=300_000, due_s=None)

    assert reconciliation.sweep_now().asked == 1
