"""For a WSGI server in front of HTTP; Daphne then serves the WebSockets alone."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application


os.environ.setdefault("DJANGO_SETTINGS_MODULE", "smartduka.settings")

application = get_wsgi_application()
