"""What watches the server: is it alive, is it ready, what does it count."""

from __future__ import annotations

from slotmeter.api.call import Answer, Call, Nothing, json_answer
from slotmeter.api.device_models import Alive, Ready
from slotmeter.api.metrics import CONTENT_TYPE
from slotmeter.errors import Unavailable

__all__ = ["healthz", "metrics", "readyz"]


async def healthz(call: Call[Nothing, Nothing]) -> Answer:
    """Answer as long as the server can answer anything."""
    return json_answer(Alive())


async def readyz(call: Call[Nothing, Nothing]) -> Answer:
    """Answer 200 when requests should come here, else 503 with the reasons.

    An entry that does not run is a warning: whoever sells is served all the same.
    """
    reasons = list(call.services.not_ready())
    if reasons:
        raise Unavailable("not_ready", "; ".join(reasons), details={"reasons": reasons})
    return json_answer(Ready(warnings=list(call.services.warnings())))


async def metrics(call: Call[Nothing, Nothing]) -> Answer:
    """Return all counters as Prometheus reads them."""
    return Answer(200, call.services.metrics.text(), CONTENT_TYPE)
