"""Nothing is deleted in the books: not by an owner, not by the operator."""

import pytest
from django.contrib.auth import get_user_model

from payments.models import MpesaAccount, MpesaSettings, Notice
from shops.models import Membership, Shop
from tests.support.facts import nothing_changes


def counts():
    models = (Notice, MpesaAccount, MpesaSettings, Shop, Membership, get_user_model())
    return {model.__name__: model.objects.count() for model in models}


@pytest.mark.parametrize("name", ["operator", "charlie"])
def test_page_that_would_delete_is_refused(people, theirs, name):
    rows = dict(theirs.by_path)
    if name == "charlie":
        del rows["auth/user"]
    before = counts()
    with nothing_changes():
        for model, row in rows.items():
            address = f"/admin/{model}/{row.pk}/delete/"
            assert people[name].get(address).status_code == 403, address
            sent = people[name].client.post(address, {"post": "yes"})
            assert sent.status_code == 403, address

    assert counts() == before


@pytest.mark.parametrize("name", ["operator", "charlie"])
def test_action_that_would_delete_is_not_there(people, theirs, name):
    rows = dict(theirs.by_path)
    if name == "charlie":
        del rows["auth/user"]
    before = counts()
    with nothing_changes():
        for model, row in rows.items():
            sent = {"action": "delete_selected", "_selected_action": [str(row.pk)]}
            client = people[name].client
            response = client.post(f"/admin/{model}/", sent | {"post": "yes"})
            assert response.status_code in (200, 302), model
            assert b"delete_selected" not in client.get(f"/admin/{model}/").content

    assert counts() == before


def test_no_page_links_to_a_deletion(operator, theirs):
    for model, row in theirs.by_path.items():
        page = operator.get(f"/admin/{model}/{row.pk}/change/").content.decode()

        assert "/delete/" not in page, model
        assert "DELETE" not in page, model
