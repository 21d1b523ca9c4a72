"""The go-live doctor's pages: who reads what, who may ask, and what is shown."""

import uuid

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from payments import accounts
from payments.doctor import examinations
from payments.doctor.findings import Finding, Report, Who
from payments.enums import Health
from payments.models import Examination, MpesaAccount, MpesaSettings
from shops.enums import Role
from smartduka.lib import clock
from tests.factories import MembershipFactory, MpesaAccountFactory, ShopFactory
from tests.support.facts import nothing_changes


HOME = "/admin/doctor/"
PASSKEY = Finding(
    "passkey", "Passkey", Health.BROKEN, "It does not fit.", "Enter it again.",
    Who.SAFARICOM, "To: Safaricom\n<b>our number</b>",
)  # fmt: skip
WORKER = Finding(
    "worker", "The worker", Health.BROKEN, "None is there.", "Start it.", Who.OPERATOR
)
CLOCK = Finding("clock", "The clock", Health.FINE, "It is right.")


@pytest.fixture
def theirs(charlie):
    """Charlie's paybill."""
    return charlie.shop.mpesa_accounts.get()


@pytest.fixture
def platform(duka):
    """The platform's account, which Alice's shop uses."""
    return accounts.platform_account()


@pytest.fixture
def looked(monkeypatch):
    """Count examinations instead of making them: the accounts, and None."""
    made = []

    def account(account, *, by=None):
        made.append((account, by))
        examined(account, CLOCK)
        return Report((CLOCK,))

    def whole(*, by=None, came=None):
        made.append((None, came.peer))
        return Report((WORKER, CLOCK))

    monkeypatch.setattr(examinations, "examine_account", account)
    monkeypatch.setattr(examinations, "examine_installation", whole)
    return made


def examined(account, *findings, by=None, at=None):
    """Keep a report as an examination does."""
    report = Report(findings)
    subject = Examination.INSTALLATION if account is None else str(account.pk)
    return Examination.objects.update_or_create(
        subject=subject,
        defaults={
            "account": account, "health": report.health, "findings": report.stored(),
            "examined_at": at or clock.now(), "examined_by": by,
        },
    )[0]  # fmt: skip


def page_of(account):
    return f"{HOME}{account.pk}/"


def test_owner_of_one_account_comes_to_its_page_at_once(charlie, theirs):
    response = charlie.get(HOME)

    assert (response.status_code, response.url) == (302, page_of(theirs))
    text = charlie.get(response.url).content.decode()
    assert "Not checked yet" in text
    assert "Check now" in text


def test_page_shows_what_was_found_last_the_worst_first(charlie, theirs):
    examined(theirs, CLOCK, WORKER, PASSKEY, by=charlie.user)

    response = charlie.get(page_of(theirs))

    shown = response.context["shown"]
    assert [(one.key, one.tone) for one in shown.lines] == [
        ("worker", "bad"), ("passkey", "bad"), ("clock", "good"),
    ]  # fmt: skip
    assert (shown.headline, shown.summary, shown.by) == (
        "Something is broken", "2 broken, 1 fine.", "charlie",
    )  # fmt: skip
    text = response.content.decode()
    assert "To: Safaricom\n&lt;b&gt;our number&lt;/b&gt;</textarea>" in text


def test_owner_is_told_when_the_operator_must_act(charlie, theirs, operator):
    examined(theirs, WORKER, PASSKEY)

    def remedies(person):
        lines = person.get(page_of(theirs)).context["shown"].lines
        return [one.remedy for one in lines]

    assert remedies(charlie) == [
        "The platform's operator has to do this. Tell them.", "Enter it again.",
    ]  # fmt: skip
    assert remedies(operator) == ["Start it.", "Enter it again."]


def test_reading_asks_nobody_and_changes_nothing(charlie, theirs, looked):
    with nothing_changes():
        charlie.get(page_of(theirs))

    assert looked == []
    assert Examination.objects.count() == 0


def test_owner_checks_and_a_second_press_asks_once(charlie, theirs, looked):
    first = charlie.client.post(f"{page_of(theirs)}check/")
    second = charlie.client.post(f"{page_of(theirs)}check/", follow=True)

    assert (first.status_code, first.url) == (302, page_of(theirs))
    assert looked == [(theirs, charlie.user)]
    assert "It was checked a moment ago" in second.content.decode()


@pytest.mark.parametrize(
    ("role", "status"), [(Role.OWNER, 302), (Role.MANAGER, 302), (Role.AUDITOR, 403)]
)
def test_auditor_reads_and_does_not_ask(charlie, theirs, looked, role, status):
    charlie.user.memberships.update(role=role)

    assert charlie.get(page_of(theirs)).status_code == 200
    offered = "Check now" in charlie.get(page_of(theirs)).content.decode()
    assert charlie.client.post(f"{page_of(theirs)}check/").status_code == status
    assert offered is (status == 302)
    assert len(looked) == (status == 302)


@pytest.mark.parametrize("name", ["alice", "bob", "stranger"])
def test_account_of_another_shop_is_not_there(request, name, theirs, platform, looked):
    person = request.getfixturevalue(name)
    examined(theirs, PASSKEY)
    examined(platform, PASSKEY)
    expected = 404 if name == "alice" else 302  # to the sign-in page

    for account in (theirs, platform, MpesaAccount(pk=uuid.uuid4())):
        assert person.get(page_of(account)).status_code == expected
        sent = person.client.post(f"{page_of(account)}check/")
        assert sent.status_code == expected
    assert looked == []
    assert person.client.post(f"{HOME}check/").status_code in (302, 403)


def test_installation_is_the_operators_alone(alice, operator, looked):
    examined(None, WORKER, at=clock.now() - clock.seconds(60))

    assert "None is there." in operator.get(HOME).content.decode()
    assert "None is there." not in alice.get(HOME).content.decode()
    assert alice.client.post(f"{HOME}check/").status_code == 403
    assert operator.client.post(f"{HOME}check/").status_code == 302
    assert looked == [(None, "127.0.0.1")]


def test_checks_are_asked_for_by_a_form_only(charlie, operator, theirs, looked):
    assert charlie.get(f"{page_of(theirs)}check/").status_code == 405
    assert operator.get(f"{HOME}check/").status_code == 405
    assert looked == []


def test_operator_sees_all_accounts_the_worst_first(operator, theirs, platform):
    till = MpesaAccountFactory(shop=ShopFactory(), shortcode="600300")
    examined(theirs, PASSKEY)
    examined(platform, CLOCK)

    entries = operator.get(HOME).context["entries"]

    assert [one.address for one in entries] == [
        page_of(theirs), page_of(till), page_of(platform),
    ]  # fmt: skip


def test_accounts_nobody_uses_any_more_are_left_out(operator, theirs):
    old = MpesaAccountFactory(shop=theirs.shop, shortcode="600300", is_active=False)
    elsewhere = MpesaAccountFactory(
        shop=theirs.shop, shortcode="600400", environment="sandbox"
    )
    addresses = [one.address for one in operator.get(HOME).context["entries"]]
    assert addresses == [page_of(theirs)]

    MpesaSettings.objects.filter(shop=theirs.shop).update(account=elsewhere)
    addresses = [one.address for one in operator.get(HOME).context["entries"]]
    assert sorted(addresses) == sorted([page_of(theirs), page_of(elsewhere)])
    assert operator.get(page_of(old)).status_code == 200


def test_shop_without_an_account_of_its_own_is_told_whose_it_uses(alice, platform):
    text = alice.get(HOME).content.decode()

    assert "Mama Mboga is paid into the platform&#x27;s account" in text
    MpesaSettings.objects.all().delete()
    assert "cannot send prompts" in alice.get(HOME).content.decode()


def test_pages_lead_to_the_setup_whoever_may_enter_it(charlie, alice, mary, theirs):
    setup = f'href="/admin/payments/mpesasettings/setup/{theirs.shop_id}/"'
    assert setup in charlie.get(page_of(theirs)).content.decode()
    MembershipFactory(user=mary.user, shop=theirs.shop, role=Role.MANAGER)
    assert setup not in mary.get(page_of(theirs)).content.decode()
    own = f'href="/admin/payments/mpesasettings/setup/{alice.shop.pk}/"'
    assert own in alice.get(HOME).content.decode()
    assert own not in mary.get(HOME).content.decode()


def test_setup_leads_to_the_doctor(charlie, theirs):
    setup = f"/admin/payments/mpesasettings/setup/{theirs.shop_id}/?kind=paybill"
    assert f'<a href="{page_of(theirs)}">' in charlie.get(setup).content.decode()


def test_owner_of_several_shops_sees_all_of_theirs(alice, theirs):
    MembershipFactory(user=alice.user, shop=theirs.shop, role=Role.OWNER)
    response = alice.get(HOME)

    assert [one.address for one in response.context["entries"]] == [page_of(theirs)]
    assert "Mama Mboga is paid into" in response.content.decode()


def waiting(person):
    return {one.address: one.count for one in person.get("/admin/").context["waiting"]}


def test_home_tells_of_what_is_broken(charlie, alice, operator, theirs, platform):
    assert waiting(charlie) == {}
    for account in (theirs, platform, None):
        examined(account, PASSKEY)

    assert waiting(charlie) == {HOME: "1"}
    assert waiting(alice) == {}
    assert waiting(operator) == {HOME: "3"}
    examined(theirs, CLOCK)
    assert waiting(charlie) == {}


def test_home_and_the_accounts_page_lead_to_the_doctor(charlie, theirs):
    assert f'<a href="{HOME}"' in charlie.get("/admin/").content.decode()
    change = f"/admin/payments/mpesaaccount/{theirs.pk}/change/"
    assert f'<a href="{page_of(theirs)}">' in charlie.get(change).content.decode()


def test_overview_costs_the_same_for_one_account_and_for_three(operator, theirs):
    examined(theirs, PASSKEY)

    def cost():
        with CaptureQueriesContext(connection) as captured:
            assert operator.get(HOME).status_code == 200
        return len(captured)

    one = cost()
    for number in range(2):
        more = MpesaAccountFactory(shop=ShopFactory(), shortcode=f"60030{number}")
        examined(more, PASSKEY)
    assert (one, cost()) == (4, 4)


def test_real_examination_from_the_page_calls_outside_any_transaction(
    charlie, theirs, settings
):
    settings.MPESA_BASE_URL = settings.MPESA_CALLBACK_URL = "http://127.0.0.1:9"

    charlie.client.post(f"{page_of(theirs)}check/")

    found = {
        one.key: one.health
        for one in examinations.report_of(Examination.objects.get()).findings
    }
    assert (found["mpesa"], found["reach"]) == (Health.BROKEN, Health.LOOK)
    assert found["keys"] == Health.UNKNOWN


def test_keys_that_are_newer_than_the_examination_are_told(charlie, theirs):
    examined(theirs, CLOCK)
    assert charlie.get(page_of(theirs)).context["shown"].note == ""

    MpesaAccount.objects.update(passkey_set_at=clock.now() + clock.seconds(1))
    assert "Keys were entered since" in charlie.get(page_of(theirs)).content.decode()


def test_check_is_among_what_was_done(charlie, theirs, looked):
    charlie.client.post(f"{page_of(theirs)}check/")

    history = charlie.get(f"/admin/payments/mpesaaccount/{theirs.pk}/history/")
    assert "Go-live doctor: 1 fine." in history.content.decode()
