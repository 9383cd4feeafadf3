"""What is counted of requests, in Prometheus' terms."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The counters of one service."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "gridscribe_http_requests_total", "Requests.", ("method", "route", "status"), registry=self.registry
        )
        self._seconds = Histogram(
            "gridscribe_http_seconds", "Seconds to the last byte.", ("route",), buckets=SECONDS, registry=self.registry
        )
        self._sent = Counter("gridscribe_http_sent_bytes_total", "Bytes of bodies sent.", registry=self.registry)

    def watch(self, name: str, help_text: str, read: Callable[[], float]) -> None:
        """A gauge whose value is read when it is asked for."""
        Gauge(name, help_text, registry=self.registry).set_function(read)

    def count(self, method: str, route: str, status: int, seconds: float, sent: int) -> None:
        """One request. `route` is the template of its path, so that names in paths make no new series."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)
        self._sent.inc(sent)

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self.registry)
