"""``python -m payments.simulator``: serve until told to stop."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from types import FrameType


def main() -> None:
    options = _options()
    # Whoever starts us may have named the settings of another site.
    os.environ["DJANGO_SETTINGS_MODULE"] = "payments.simulator.settings"
    _serve(options.host, options.port)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m payments.simulator", description="A Daraja of our own."
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8010, help="0 takes a free one")
    return parser.parse_args()


def _serve(host: str, port: int) -> None:
    # Settings must be named before the site is imported.
    from django.core.wsgi import (  # noqa: PLC0415 -- see above
        get_wsgi_application,
    )

    from payments.simulator.server import make_server  # noqa: PLC0415 -- see above
    from payments.simulator.world import world  # noqa: PLC0415 -- see above

    try:
        server = make_server(get_wsgi_application(), host=host, port=port)
    except OSError as trouble:
        sys.exit(f"simulator cannot listen on {host}:{port}: {trouble.strerror}")
    world.agenda.start()
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    _say(f"simulator listening on http://{host}:{server.server_port}")
    server.serve_forever()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _stop(signal_number: int, frame: FrameType | None) -> None:
    sys.exit(0)


if __name__ == "__main__":
    main()
