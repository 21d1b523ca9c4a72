import json

import pytest
from django.db import OperationalError

from smartduka import health


@pytest.fixture
def layer(monkeypatch):
    class Silent:
        async def group_send(self, group, message):
            return None

    monkeypatch.setattr(health.realtime, "get_channel_layer", Silent)


def test_process_is_up_without_looking_at_anything(rf):
    response = health.healthz(rf.get("/healthz"))

    assert (response.status_code, json.loads(response.content)) == (
        200,
        {"status": "ok"},
    )


@pytest.mark.django_db
def test_ready_when_all_is_reachable(rf, layer):
    response = health.readyz(rf.get("/readyz"))

    assert response.status_code == 200
    assert json.loads(response.content) == {
        "status": "ready",
        "checks": {
            "database": "ok",
            "channelLayer": "ok",
            "queue": "ok",
            "counters": "ok",
        },
    }
    assert "no-store" in response["Cache-Control"]


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["database", "channelLayer", "queue", "counters"])
def test_not_ready_names_what_fails_and_nothing_more(rf, layer, monkeypatch, name):
    def fail():
        raise OperationalError("password of the database")

    monkeypatch.setitem(health.PROBES, name, fail)

    response = health.readyz(rf.get("/readyz"))

    assert response.status_code == 503
    checks = json.loads(response.content)["checks"]
    assert [key for key, value in checks.items() if value == "failed"] == [name]
    assert b"password" not in response.content


@pytest.mark.django_db
def test_layer_that_hangs_is_not_ready(rf, monkeypatch):
    class Hanging:
        async def group_send(self, group, message):
            await health.asyncio.sleep(60)

    monkeypatch.setattr(health.realtime, "get_channel_layer", Hanging)
    monkeypatch.setattr(health, "PROBE_LIMIT_S", 0.1)

    response = health.readyz(rf.get("/readyz"))

    assert response.status_code == 503
    assert json.loads(response.content)["checks"]["channelLayer"] == "failed"


def test_probes_are_for_reading(rf):
    assert health.healthz(rf.post("/healthz")).status_code == 405
