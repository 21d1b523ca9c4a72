import pytest
from django.http import HttpResponse
from django.test import RequestFactory

from smartduka.lib import caller


@pytest.mark.parametrize(
    ("path", "road"),
    [
        ("/admin/payments/payment/", "admin"), ("/api/orders", "api"),
        ("/till/pay/", "till"), ("/login", "page"), ("/", "page"),
        ("/administration", "page"),
    ],
)  # fmt: skip
def test_caller_is_known_while_the_request_is_served(path, road):
    seen = []

    def view(request):
        seen.append((caller.current(), caller.address()))
        return HttpResponse()

    caller.CallerMiddleware(view)(RequestFactory(REMOTE_ADDR="10.1.2.3").get(path))

    assert seen == [(caller.Caller("10.1.2.3", road), "10.1.2.3")]
    assert (caller.current(), caller.address()) == (None, "")


def test_caller_is_forgotten_when_the_view_breaks():
    def view(request):
        raise RuntimeError

    with pytest.raises(RuntimeError):
        caller.CallerMiddleware(view)(RequestFactory().get("/"))

    assert caller.current() is None
