"""Payments by hand: addresses, what M-Pesa says to them, and claims that are asked."""

import io
import itertools
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import IntegrityError, OperationalError, connection, transaction
from django.utils.module_loading import import_string
from django_q.models import OrmQ
from django_q.signing import SignedPackage

from payments import (
    c2b,
    claim_questions,
    demo,
    gateways,
    hook_tokens,
    inquiries,
    matching,
    reconciliation,
    settlement,
)
from payments import tasks as jobs
from payments.enums import Source
from payments.gateways.base import GatewayError
from payments.gateways.organisation import Acknowledged, Registered
from payments.hook_tokens import Kind
from payments.models import (
    AccountHook,
    Collection,
    MpesaAccount,
    MpesaSettings,
    OrganisationRequest,
    Receipt,
)
from payments.settlement import Proof
from smartduka.lib.transactions import hasty, require_no_transaction
from tests.factories import (
    MpesaAccountFactory,
    OrderFactory,
    PaymentFactory,
    ShopFactory,
)
from tests.support import by_hand
from tests.support.facts import nothing_changes, sale_of
from tests.support.gateway import final
from tests.support.organisation import result, status, tell


pytestmark = pytest.mark.django_db

CONFIRM = "payments.tasks.confirm_receipt"


class Organisation:
    """M-Pesa as an account's owner speaks to it; remembers what it was told."""

    def __init__(self):
        self.answer = Registered()
        self.told, self.asked, self.listed = [], [], []
        self.trouble = []  # instead of the next answers about receipts

    def register_pull(self, account, request, *, limit_s):
        if isinstance(self.answer, Exception):
            raise self.answer
        self.listed.append(account.shortcode)
        return Registered()

    def register_c2b(self, account, urls, *, limit_s):
        require_no_transaction()
        self.told.append(urls)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def transaction_status(self, account, initiator, request, *, limit_s):
        require_no_transaction()
        self.asked.append(request.receipt)
        if self.trouble:
            raise self.trouble.pop(0)
        return Acknowledged("AG_1", "f1e2-1")


@pytest.fixture
def organisation():
    organisation = Organisation()
    with gateways.using(organisation):
        yield organisation


@pytest.fixture
def account(duka):
    return MpesaAccountFactory(shop=duka, shortcode="600400")


@pytest.fixture
def asking(account):
    """The account, with an initiator."""
    account.initiator_name, account.initiator_password = "api", "secret"
    account.save()
    return account


def tokens_of(urls):
    return {url.rsplit("/", 1)[1] for url in (urls.confirmation, urls.validation)}


def hooks():
    return list(AccountHook.objects.order_by("pk"))


# Addresses.


def test_a_new_address_is_told_once_and_kept_as_a_hash(account, settings, bob):
    url = c2b.new_address(account, bob.user)

    base, token = url.rsplit("/", 1)
    assert base == settings.MPESA_CALLBACK_URL + "/hooks/hand"
    [hook] = hooks()
    assert hook.token_hash == hook_tokens.verify(token, Kind.ACCOUNT)
    assert hook.text_hash == hook_tokens.text_hash(token)
    assert (hook.account, hook.created_by, hook.registered_at) == (
        account, bob.user, None,
    )  # fmt: skip
    assert token not in str(AccountHook.objects.values().get())
    assert hook_tokens.verify(token) is None


def test_registering_tells_mpesa_one_token_at_two_addresses(
    account, organisation, settings, time
):
    assert c2b.register(account, None).is_ours

    [urls] = organisation.told
    [token] = tokens_of(urls)
    assert urls.completes_unasked
    assert urls.confirmation == f"{settings.MPESA_CALLBACK_URL}/hooks/hand/{token}"
    assert urls.validation == f"{settings.MPESA_CALLBACK_URL}/hooks/check/{token}"
    assert not any(
        word in urls.confirmation + urls.validation
        for word in settings.FORBIDDEN_URL_WORDS
    )
    assert [hook.registered_at for hook in hooks()] == [time.now]
    account.refresh_from_db()
    assert account.c2b_registered_at == time.now


def test_several_addresses_are_valid_at_once_and_none_depends_on_the_keys(
    account, organisation, settings
):
    for _ in range(3):
        c2b.register(account, None)
    MpesaAccount.objects.filter(pk=account.pk).update(consumer_key_sealed=b"other")
    settings.HOOK_SIGNING_KEYS = [b"k" * 32]

    for urls in organisation.told:
        [token] = tokens_of(urls)
        nonce_hash = c2b.known_by(token)
        assert c2b.refusal(nonce_hash, by_hand.confirmation(account)) == ""
    assert c2b.valid_addresses(account).count() == 3


def test_what_mpesa_knew_before_stays_valid(account, organisation):
    c2b.register(account, None)
    organisation.answer = Registered(already=True)

    assert not c2b.register(account, None).is_ours

    first, second = hooks()
    assert (first.retired_at, second.registered_at) == (None, None)
    assert second.retired_at is not None


def test_an_address_whose_answer_was_lost_stays_valid(account, organisation):
    organisation.answer = GatewayError("no answer", certain=False)

    with pytest.raises(c2b.NotRegistered, match="may have taken") as caught:
        c2b.register(account, None)

    assert caught.value.may_retry
    [hook] = hooks()
    assert (hook.registered_at, hook.retired_at) == (None, None)
    account.refresh_from_db()
    assert account.c2b_registered_at is None


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (GatewayError("HTTP 400", certain=True, may_retry=False), "refused.*HTTP 400"),
        (GatewayError("not reached", certain=True), "could not be reached"),
    ],
)
def test_an_address_that_mpesa_did_not_take_ends(account, organisation, error, words):
    organisation.answer = error

    with pytest.raises(c2b.NotRegistered, match=words):
        c2b.register(account, None)

    [hook] = hooks()
    assert hook.retired_at is not None


@pytest.mark.parametrize("why", ["closed", "sandbox", "no keys"])
def test_an_account_that_is_not_in_use_is_not_registered(account, organisation, why):
    changes = {
        "closed": {"is_active": False},
        "sandbox": {"environment": "sandbox"},
        "no keys": {"consumer_secret_sealed": None},
    }
    MpesaAccount.objects.filter(pk=account.pk).update(**changes[why])
    account.refresh_from_db()

    with pytest.raises(c2b.NotRegistered, match=r"not in use|keys are missing") as told:
        c2b.register(account, None)

    assert not told.value.may_retry

    assert (hooks(), organisation.told) == ([], [])


def test_retiring_leaves_the_newest_that_mpesa_took_and_what_came_after(
    account, organisation
):
    c2b.register(account, None)
    c2b.register(account, None)
    organisation.answer = GatewayError("no answer", certain=False)
    with pytest.raises(c2b.NotRegistered):
        c2b.register(account, None)

    assert c2b.retire_older(account) == 1
    assert c2b.retire_older(account) == 0

    old, newest, unsure = hooks()
    assert old.retired_at is not None
    assert (newest.retired_at, unsure.retired_at) == (None, None)


def test_retiring_without_a_registered_one_retires_nothing(account):
    c2b.new_address(account, None)

    assert c2b.retire_older(account) == 0
    assert c2b.valid_addresses(account).count() == 1


# The simulator, which forgets.


def test_simulator_is_told_the_same_address_each_time(account, organisation, settings):
    assert settings.MPESA_ENV == "simulator"

    assert c2b.register_with_simulator(account)
    assert c2b.register_with_simulator(account)

    first, second = organisation.told
    assert first == second
    [hook] = hooks()
    assert (hook.account, hook.retired_at) == (account, None)


def test_simulator_that_is_not_up_yet_is_told_later(account, organisation):
    organisation.answer = GatewayError("not reached", certain=True)
    assert not c2b.register_with_simulator(account)

    organisation.answer = Registered()
    assert c2b.register_with_simulator(account)

    [hook] = hooks()
    assert (hook.registered_at is None, hook.retired_at) == (False, None)


def test_account_that_the_simulator_does_not_know_is_left_alone(account, organisation):
    organisation.answer = GatewayError("HTTP 400", certain=True, may_retry=False)

    assert c2b.register_with_simulator(account)


def test_accounts_of_the_demo_are_registered_and_no_others(organisation):
    MpesaAccountFactory(shop=ShopFactory(), shortcode="600400")
    assert demo.register()
    assert organisation.told == []

    call_command("demo_data", "--json", stdout=io.StringIO())
    call_command("demo_data", "--json", stdout=io.StringIO())

    assert len(organisation.told) == 4
    assert sorted(organisation.listed) == ["600100", "600100", "600200", "600200"]
    registered = MpesaAccount.objects.filter(
        c2b_registered_at__isnull=False, pull_registered_at__isnull=False
    )
    assert {one.shortcode for one in registered} == {"600100", "600200"}
    assert len(hooks()) == 2


def test_demo_shop_can_ask_about_what_was_paid_by_hand(organisation):
    demo.load()
    MpesaAccount.objects.update(initiator_name="", initiator_password_sealed=None)

    demo.load()  # one that was loaded before initiators mattered

    own = MpesaAccount.objects.get(shop__isnull=False)
    assert inquiries.can_ask(own)


def test_demo_waits_for_no_simulator(organisation):
    organisation.answer = GatewayError("not reached", certain=True)

    call_command("demo_data", "--json", stdout=io.StringIO())

    assert not demo.register()


@pytest.mark.parametrize("environment", ["sandbox", "production"])
def test_nothing_registers_by_itself_elsewhere(
    account, organisation, settings, environment
):
    demo.load()
    settings.MPESA_ENV = environment
    MpesaAccount.objects.update(environment=environment)

    assert demo.register()
    assert c2b.register_with_simulator(account)

    assert (organisation.told, hooks()) == ([], [])


# Claims are asked about.


def test_a_claim_is_asked_about_at_once_in_a_task(asking, tasks, organisation, time):
    notice = by_hand.deliver(asking, by_hand.confirmation(asking))

    assert notice.verdict == "held"
    assert organisation.asked == []
    receipt = Receipt.objects.get()
    assert tasks() == [(CONFIRM, (receipt.pk,), time.now)]

    jobs.confirm_receipt(receipt.pk)

    assert organisation.asked == [by_hand.RECEIPT]
    assert OrganisationRequest.objects.get().receipt == by_hand.RECEIPT


def test_what_may_be_an_open_prompts_is_asked_about_later(
    asking, duka, tasks, organisation, time, settings
):
    payment = PaymentFactory(order=OrderFactory(shop=duka), account=asking)
    body = by_hand.confirmation(asking, reference=payment.reference)

    assert by_hand.deliver(asking, body).verdict == "held"

    [(_, args, due_at)] = [task for task in tasks() if task[0] == CONFIRM]
    assert due_at == time.now + timedelta(seconds=settings.RECEIPT_LOOK_S[0])
    assert args == (Receipt.objects.get().pk,)


def test_account_that_cannot_ask_has_no_task(account, tasks):
    by_hand.deliver(account, by_hand.confirmation(account))

    assert CONFIRM not in [task[0] for task in tasks()]


@pytest.mark.parametrize("why", ["proven", "gone", "budget", "no initiator"])
def test_nothing_is_asked_without_need(asking, organisation, settings, why):
    by_hand.deliver(asking, by_hand.confirmation(asking))
    receipt_id = Receipt.objects.get().pk
    if why == "proven":
        Receipt.objects.update(proven_at="2026-11-20T09:00Z")
    elif why == "gone":
        receipt_id += 1
    elif why == "budget":
        settings.QUESTIONS_PER_ACCOUNT_PER_MINUTE = 0
    else:
        MpesaAccount.objects.update(initiator_name="")

    jobs.confirm_receipt(receipt_id)

    assert organisation.asked == []


def test_claim_within_the_limit_pays_and_is_asked_about(
    asking, duka, tasks, organisation, time
):
    MpesaSettings.objects.update(claimed_limit=1000)
    payment = PaymentFactory(
        order=OrderFactory(shop=duka), account=asking, checkout_request_id=None
    )
    body = by_hand.confirmation(asking, reference=payment.reference)

    assert by_hand.deliver(asking, body).verdict == "applied"

    assert sale_of(payment.order)[0] == "paid"
    assert Collection.objects.get().confirmed_at is None
    assert CONFIRM in [task[0] for task in tasks()]
    time.turn(15)
    jobs.confirm_receipt(Receipt.objects.get().pk)
    assert organisation.asked == [by_hand.RECEIPT]


def test_prompt_that_was_confirmed_is_not_asked_about(asking, duka, tasks):
    payment = PaymentFactory(order=OrderFactory(shop=duka), account=asking)
    collect(payment)
    body = by_hand.confirmation(asking, reference=payment.reference)

    assert by_hand.deliver(asking, body).verdict == "applied"

    assert Receipt.objects.get().state == "counted"
    assert CONFIRM not in [task[0] for task in tasks()]


def collect(payment):
    """Let the prompt's money be proved by a question, without its receipt."""
    with transaction.atomic():
        order, locked = settlement.locked(payment.pk)
        settlement.record_success(order, locked, Proof(Source.QUERY))
    Collection.objects.update(confirmed_at=payment.created_at)


# Claims are asked about again.


def work(time):
    """Run what is due, as the workers do."""
    for row in OrmQ.objects.filter(lock__lte=time.now).order_by("lock", "id"):
        row.delete()
        task = SignedPackage.loads(row.payload)
        import_string(task["func"])(*task["args"])


def wait(time, minutes):
    """Let time pass, with a sweep each minute."""
    for _ in range(minutes):
        time.turn(60)
        jobs.sweep()
        work(time)


def claimed(asking, time, **facts):
    """Let a claim come, and be asked about for the first time."""
    by_hand.deliver(asking, by_hand.confirmation(asking, **facts))
    work(time)
    return Receipt.objects.get(number=facts.get("receipt", by_hand.RECEIPT))


def test_a_claim_is_asked_about_once_the_budget_has_room(
    asking, organisation, time, settings
):
    total = settings.QUESTIONS_PER_ACCOUNT_PER_MINUTE
    settings.QUESTIONS_PER_ACCOUNT_PER_MINUTE = 0
    claimed(asking, time)
    assert organisation.asked == []

    settings.QUESTIONS_PER_ACCOUNT_PER_MINUTE = total
    wait(time, 2)

    assert organisation.asked == [by_hand.RECEIPT]


@pytest.mark.parametrize(
    "trouble",
    [
        GatewayError("token refused twice", certain=True, may_retry=False),
        GatewayError("no answer", certain=False),
    ],
    ids=["refused", "acknowledgement lost"],
)
def test_a_claim_is_asked_about_again_after_trouble(
    asking, organisation, time, trouble
):
    organisation.trouble = [trouble]
    claimed(asking, time)
    assert organisation.asked == [by_hand.RECEIPT]

    wait(time, 2)

    assert organisation.asked == [by_hand.RECEIPT] * 2


@pytest.mark.parametrize("kind", ["lost", "given up", "undecided"])
def test_a_claim_whose_result_does_not_come_is_asked_about_again(
    asking, organisation, time, kind
):
    claimed(asking, time)
    request = OrganisationRequest.objects.get()
    if kind == "given up":
        tell(request, result(request, 1019), kind="timeout")
    elif kind == "undecided":
        tell(request, result(request, 2001))

    wait(time, 2)

    assert organisation.asked == [by_hand.RECEIPT] * 2
    assert open_requests() <= 1


def test_a_claim_is_asked_about_in_ever_longer_gaps_until_two_days(
    asking, organisation, time
):
    receipt, start, asked_at = claimed(asking, time), time.now, []
    while (due_at := Receipt.objects.get().next_ask_at) is not None:
        time.now = due_at + timedelta(seconds=20)
        jobs.sweep()
        work(time)
        asked_at.append((due_at - start).total_seconds())
        assert open_requests() == 1

    gaps = [later - sooner for sooner, later in itertools.pairwise(asked_at)]
    assert asked_at[0] == 60
    assert gaps == sorted(gaps)
    assert 10 <= len(organisation.asked) <= 15
    assert 86_400 < asked_at[-1] <= 48 * 3600

    # Told once more, it is an old story.
    by_hand.deliver(asking, by_hand.confirmation(asking, extra=" "))
    receipt.refresh_from_db()
    assert receipt.next_ask_at is None


def test_a_claim_that_was_confirmed_is_not_asked_about_again(
    asking, organisation, time
):
    claimed(asking, time)
    request = OrganisationRequest.objects.get()
    tell(request, status(request, payee=f"{asking.shortcode} - DUKA"))
    assert Receipt.objects.get().state == "counted"

    wait(time, 5)

    assert organisation.asked == [by_hand.RECEIPT]
    assert Receipt.objects.get().next_ask_at is None


def test_a_claim_that_a_sale_used_is_asked_about_again(
    asking, duka, organisation, time
):
    MpesaSettings.objects.update(claimed_limit=1000)
    payment = PaymentFactory(
        order=OrderFactory(shop=duka), account=asking, checkout_request_id=None
    )
    claimed(asking, time, reference=payment.reference)

    wait(time, 4)

    assert organisation.asked == [by_hand.RECEIPT] * 2


def test_a_claim_told_again_is_asked_about_no_sooner(asking, organisation, time, tasks):
    claimed(asking, time)
    time.turn(40)

    by_hand.deliver(asking, by_hand.confirmation(asking, extra=" "))
    work(time)

    assert organisation.asked == [by_hand.RECEIPT]
    assert CONFIRM not in [task[0] for task in tasks()]


def test_a_question_that_is_being_sent_is_the_only_one(asking, organisation, time):
    claimed(asking, time)
    OrganisationRequest.objects.update(state="made")

    wait(time, 1)
    assert inquiries.ask_status(asking, by_hand.RECEIPT) is None
    assert organisation.asked == [by_hand.RECEIPT]

    wait(time, 2)
    assert organisation.asked == [by_hand.RECEIPT] * 2
    assert open_requests() == 1


def test_a_result_that_comes_after_the_next_question_is_taken(
    asking, organisation, time
):
    claimed(asking, time)
    first = OrganisationRequest.objects.get()
    wait(time, 2)

    tell(first, status(first, payee=f"{asking.shortcode} - DUKA"))

    assert Receipt.objects.get().state == "counted"


def test_an_account_that_lost_its_initiator_is_left_alone(asking, organisation, time):
    claimed(asking, time)
    MpesaAccount.objects.update(initiator_name="")

    wait(time, 2)

    assert organisation.asked == [by_hand.RECEIPT]
    assert Receipt.objects.get().next_ask_at is None


def test_an_account_that_cannot_ask_is_never_looked_at(account, organisation, time):
    by_hand.deliver(account, by_hand.confirmation(account))
    work(time)

    assert Receipt.objects.get().next_ask_at is None
    with nothing_changes():
        assert claim_questions.due(10, time.now + timedelta(days=1)) == []


def test_a_round_by_hand_asks_about_claims_that_are_due(asking, organisation, time):
    claimed(asking, time)
    time.turn(61)

    reconciliation.sweep_now()

    assert organisation.asked == [by_hand.RECEIPT] * 2


def test_the_sweep_takes_the_youngest_and_leaves_payments_their_questions(
    asking, organisation, time, settings
):
    settings.QUESTIONS_PER_ACCOUNT_PER_MINUTE = 40  # 8 of them for the old
    other = MpesaAccountFactory(shop=ShopFactory(), shortcode="600500")
    for account in (asking, other):
        rows = [
            Receipt(
                account=account, number=f"UAE5B2K{number:03}", amount=250,
                seen_at=time.now - timedelta(minutes=number), state="claimed",
                next_ask_at=time.now - timedelta(minutes=1),
            )
            for number in range(10)
        ]  # fmt: skip
        Receipt.objects.bulk_create(rows)

    found = claim_questions.due(50)

    taken = Receipt.objects.filter(pk__in=found).order_by("account_id", "number")
    youngest = [f"UAE5B2K{number:03}" for number in range(4)]
    assert [one.number for one in taken] == youngest * 2
    assert len(claim_questions.due(5)) == 5
    assert reconciliation.sweep().claims == 8


def open_requests():
    return OrganisationRequest.objects.filter(state__in=("made", "sent")).count()


# A lost callback, on a clock that is turned.


@pytest.mark.parametrize("type_", ["paybill", "till"])
@pytest.mark.parametrize("told_at", [1, 10, 14, 16, 30, 45, 60])
def test_lost_callback_is_a_paid_sale_with_its_receipt_within_90_s(
    duka, mpesa, time, type_, told_at
):
    account = MpesaAccountFactory(shop=duka, shortcode="600400", type=type_)
    payment = PaymentFactory(
        order=OrderFactory(shop=duka), account=account, phone="254712345678"
    )
    mpesa.answers[payment.checkout_request_id] = final("0")
    reference = payment.reference if type_ == "paybill" else ""
    body = by_hand.confirmation(account, reference=reference)

    for second in range(1, 91):
        time.turn(1)
        if second == told_at:
            by_hand.deliver(account, body)
        payment.refresh_from_db()
        if payment.next_ask_at is not None and payment.next_ask_at <= time.now:
            jobs.ask(str(payment.pk))
        for receipt_id in matching.due(10):
            jobs.match(receipt_id)
        payment.refresh_from_db()
        if payment.receipt:
            break

    assert payment.receipt == by_hand.RECEIPT
    assert second <= max(told_at, 15) + 15
    assert sale_of(payment.order)[0] == "paid"
    collection = Collection.objects.get()
    assert (collection.receipt, collection.source) == (by_hand.RECEIPT, "query")


# What goes wrong in between.


def test_a_number_that_another_road_counts_meanwhile_is_looked_at_again(
    account, monkeypatch
):
    tries = []
    carry_out = matching._carry_out

    def once_too_late(*args):
        tries.append(args)
        if len(tries) == 1:
            raise IntegrityError("receipt_is_one_collection_of_an_account")
        return carry_out(*args)

    monkeypatch.setattr(matching, "_carry_out", once_too_late)

    assert by_hand.deliver(account, by_hand.confirmation(account)).verdict == "held"
    assert len(tries) == 2


def test_inquiries_break_no_hook(asking, monkeypatch):
    """Whether M-Pesa can be asked is read in the hook; it is asked in a task."""

    def no_network(*args, **kwargs):
        raise AssertionError("a hook asked M-Pesa")

    monkeypatch.setattr(inquiries, "ask_status", no_network)

    assert by_hand.deliver(asking, by_hand.confirmation(asking)).verdict == "held"


# Waiting for locks.


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_haste_ends_with_its_block():
    with hasty(0.25):
        assert (setting("lock_timeout"), setting("statement_timeout")) == (
            "250ms", "250ms",
        )  # fmt: skip
    assert (setting("lock_timeout"), setting("statement_timeout")) == ("0", "0")


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_haste_ends_also_when_something_breaks():
    with pytest.raises(OperationalError), hasty(0.05), connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(1)")

    assert setting("statement_timeout") == "0"


def setting(name):
    with connection.cursor() as cursor:
        cursor.execute(f"SHOW {name}")
        return cursor.fetchone()[0]


@pytest.mark.sqlite
def test_haste_ends_with_its_block_on_sqlite():
    def waits():
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA busy_timeout")
            return cursor.fetchone()[0]

    before = waits()
    with hasty(0.25):
        assert waits() == 250
    assert waits() == before != 250
