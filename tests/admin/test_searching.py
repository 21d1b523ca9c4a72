"""What is typed into an address by hand is answered, never with a failure of ours."""

import pytest


@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        ("{number}", True),
        ("#{number}", True),
        ("2147483648", False),
        ("9" * 4_301, False),
        ("sugar", False),
    ],
)
def test_sale_is_found_by_its_number_however_long_it_is(
    alice, ours, listed, text, is_found
):
    found = listed(alice, "orders/order", q=text.format(number=ours.order.number))

    assert found == ([ours.order.pk] if is_found else [])


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("payments/payment", "status__exact"),
        ("payments/payment", "method__exact"),
        ("payments/payment", "q"),
        ("payments/notice", "verdict__exact"),
        ("payments/collection", "source__exact"),
        ("payments/collection", "q"),
        ("orders/order", "status__exact"),
        ("orders/order", "q"),
        ("shops/membership", "role__exact"),
        ("shops/product", "category"),
        ("shops/product", "q"),
        ("shops/stockmovement", "reason__exact"),
    ],
)
def test_nul_in_the_query_is_refused(alice, ours, path, name):
    for values in (["\0"], ["owner\0"], ["\0", "x"]):
        response = alice.get(f"/admin/{path}/", {name: values})

        assert response.status_code == 400, values


def test_nul_in_the_search_for_a_choice_is_refused(operator):
    query = {"app_label": "shops", "model_name": "membership", "field_name": "shop"}

    answers = {
        term: operator.get("/admin/autocomplete/", query | {"term": term}).status_code
        for term in ("mama", "mama\0")
    }

    assert answers == {"mama": 200, "mama\0": 400}
