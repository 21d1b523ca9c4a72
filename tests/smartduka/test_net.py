import pytest
from django.http import HttpResponse
from django.test import RequestFactory

from smartduka.lib import net


@pytest.mark.parametrize(
    ("proxies", "forwarded", "expected"),
    [
        (0, None, "10.0.0.9"),
        (0, "1.1.1.1", "10.0.0.9"),
        (1, None, "10.0.0.9"),
        (1, "1.1.1.1", "1.1.1.1"),
        (1, "6.6.6.6, 1.1.1.1", "1.1.1.1"),
        (2, "6.6.6.6, 1.1.1.1, 10.0.0.1", "1.1.1.1"),
        (2, "1.1.1.1", "10.0.0.9"),
        (1, "1.1.1.1, junk", "10.0.0.9"),
        (1, "", "10.0.0.9"),
        (1, "1.1.1.1:5060", "1.1.1.1"),
        (1, "[2001:db8::1]:443", "2001:db8::1"),
        (1, "2001:db8::1", "2001:db8::1"),
        (1, "::ffff:1.1.1.1", "1.1.1.1"),
    ],
)
def test_client_address_counts_hops_from_the_right(
    settings, proxies, forwarded, expected
):
    settings.TRUSTED_PROXY_COUNT = proxies
    headers = {} if forwarded is None else {"HTTP_X_FORWARDED_FOR": forwarded}
    request = RequestFactory().get("/", REMOTE_ADDR="10.0.0.9", **headers)
    scope = {
        "client": ["10.0.0.9", 1234],
        "headers": []
        if forwarded is None
        else [(b"x-forwarded-for", part.encode()) for part in forwarded.split(", ")],
    }

    assert net.client_address(request) == expected
    assert net.client_address(scope) == expected


def test_client_address_is_empty_on_a_unix_socket(settings):
    assert net.client_address(RequestFactory().get("/", REMOTE_ADDR="")) == ""
    assert net.client_address({"client": None, "headers": []}) == ""


@pytest.mark.parametrize(
    ("proxies", "header", "secure"),
    [
        (0, "https", False),
        (1, "https", True),
        (1, "http", False),
        (1, None, False),
        (1, "https, http", False),
        (2, "https, http", True),
        (2, "https", True),
        (1, "HTTPS", True),
    ],
)
def test_scheme_is_believed_from_our_proxies_only(settings, proxies, header, secure):
    settings.TRUSTED_PROXY_COUNT = proxies
    headers = {} if header is None else {"HTTP_X_FORWARDED_PROTO": header}
    request = RequestFactory().get("/", **headers)

    net.ForwardedMiddleware(lambda _: HttpResponse())(request)

    assert request.is_secure() is secure


def test_no_header_reaches_the_trusted_scheme(settings):
    settings.TRUSTED_PROXY_COUNT = 0
    request = RequestFactory().get(
        "/",
        headers={"smartduka.scheme": "https", "Smartduka-Scheme": "https"},
    )

    net.ForwardedMiddleware(lambda _: HttpResponse())(request)

    assert not request.is_secure()


@pytest.mark.parametrize(
    ("address", "listed"),
    [
        ("196.201.214.200", True),
        ("10.1.2.3", True),
        ("196.201.214.201", False),
        ("", False),
        ("2001:db8::1", False),
    ],
)
def test_is_listed(address, listed):
    assert net.is_listed(address, ["196.201.214.200", "10.0.0.0/8"]) is listed


def own_origin(origin, host="duka.co.ke:8000"):
    return net.is_own_origin(origin, host)


@pytest.mark.parametrize(
    ("origin", "is_own"),
    [
        ("http://duka.co.ke:8000", True),
        ("https://DUKA.co.ke:8000", True),
        ("http://duka.co.ke", False),
        ("http://evil.example", False),
        ("http://duka.co.ke:8000.evil.example", False),
        ("null", False),
        ("https://trusted.example", True),
    ],
)
def test_own_origin(settings, origin, is_own):
    settings.CSRF_TRUSTED_ORIGINS = ["https://trusted.example"]

    assert own_origin(origin) is is_own


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("origin", "cookie_seen"),
    [(b"http://duka.co.ke", True), (b"http://evil.example", False), (None, True)],
)
async def test_foreign_page_brings_no_cookie(origin, cookie_seen):
    seen = []

    async def application(scope, receive, send):
        seen.append(dict(scope["headers"]))

    headers = [(b"host", b"duka.co.ke"), (b"cookie", b"sessionid=1")]
    headers += [(b"origin", origin)] if origin else []
    await net.ForeignCookieGuard(application)({"headers": headers}, None, None)

    assert (b"cookie" in seen[0]) is cookie_seen
    assert seen[0][b"host"] == b"duka.co.ke"
