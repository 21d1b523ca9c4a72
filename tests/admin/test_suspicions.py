"""The list of suspicions: whose it is, and who may say that they have looked."""

import pytest
from django.contrib.admin.models import LogEntry

from payments.models import Suspicion
from smartduka.lib import clock


LIST = "/admin/payments/suspicion/"


@pytest.fixture
def flag(bob):
    return Suspicion.objects.create(
        kind="refunds", shop=bob.shop, person=bob.user, count=7,
        subject=f"shop:{bob.shop.pk} person:{bob.user.pk}", first_at=clock.now(),
        last_at=clock.now(),
    )  # fmt: skip


@pytest.fixture
def nobodys_flag(db):
    return Suspicion.objects.create(
        kind="forged", address="203.0.113.7", count=30, subject="from:203.0.113.7",
        first_at=clock.now(), last_at=clock.now(),
    )  # fmt: skip


def page(flag, name="change"):
    return f"{LIST}{flag.pk}/{name}/"


def test_list_says_it_in_plain_words(alice, flag):
    text = alice.get(LIST).content.decode()

    assert "Many refunds by one person" in text
    assert "7 refunds were asked for within a day" in text
    assert "Nobody has looked" in text


def test_each_reads_their_own(people, flag, nobodys_flag, listed):
    for name in ("alice", "mary", "audrey"):
        assert listed(people[name], "payments/suspicion") == [flag.pk]
    assert listed(people["charlie"], "payments/suspicion") == []
    both = [nobodys_flag.pk, flag.pk]
    assert listed(people["operator"], "payments/suspicion") == both


def test_owner_says_what_it_was(alice, flag):
    assert "I have looked" in alice.get(page(flag)).content.decode()

    answer = alice.client.post(page(flag, "seen"), {"reason": "A broken batch of milk"})

    flag.refresh_from_db()
    assert answer.status_code == 302
    assert (flag.seen_by, flag.seen_reason) == (alice.user, "A broken batch of milk")
    assert LogEntry.objects.get().change_message == "Looked at: A broken batch of milk"
    text = alice.get(page(flag)).content.decode()
    assert "A broken batch of milk" in text
    assert "I have looked" not in text


def test_nothing_is_written_down_without_a_reason(alice, flag):
    answer = alice.client.post(page(flag, "seen"), {"reason": " \0 "}, follow=True)

    flag.refresh_from_db()
    assert flag.seen_at is None
    assert "Say what you found, in a few words." in answer.content.decode()


@pytest.mark.parametrize(
    ("name", "status"),
    [("mary", 403), ("audrey", 403), ("operator", 403), ("charlie", 404), ("bob", 302)],
)
def test_others_do_not_say_it(people, flag, name, status):
    answer = people[name].client.post(page(flag, "seen"), {"reason": "nothing"})

    flag.refresh_from_db()
    assert (answer.status_code, flag.seen_at) == (status, None)


def test_operator_says_it_of_what_is_no_shops(operator, nobodys_flag):
    operator.client.post(page(nobodys_flag, "seen"), {"reason": "A test of ours"})

    nobodys_flag.refresh_from_db()
    assert nobodys_flag.seen_by == operator.user


def test_home_says_that_a_person_must_look(alice, charlie, flag):
    assert "Something looks wrong" in alice.get("/admin/").content.decode()
    assert "Something looks wrong" not in charlie.get("/admin/").content.decode()

    alice.client.post(page(flag, "seen"), {"reason": "nothing"})
    assert "Something looks wrong" not in alice.get("/admin/").content.decode()
