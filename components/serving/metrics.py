"""What a service counts, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

_SECONDS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60)
CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """Counters of one service, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(namespace="ratewright", registry=self._registry)
        self.requests = self._counter(
            "ratewright_requests_total", "requests, by the status of their answer", "work", "status"
        )
        self.received_bytes = self._counter("ratewright_received_bytes_total", "bytes of bodies", "work")
        self.sent_bytes = self._counter("ratewright_sent_bytes_total", "bytes of answers", "work")
        self.pixels = self._counter("ratewright_pixels_total", "pixels of pictures that were coded or decoded", "work")
        self.worker_ends = self._counter("ratewright_worker_ends_total", "workers that ended and were replaced")
        self.load_failures = self._counter("ratewright_load_failures_total", "versions of the model that did not load")
        self.queue_length = self._gauge("ratewright_queue_length", "requests that wait for a worker or send their body")
        self.workers = self._gauge("ratewright_workers", "workers that live")
        self._model = self._gauge("ratewright_model", "1 for the version in use", "codec", "model", "version")
        self.seconds = Histogram(
            *("ratewright_request_seconds", "seconds from a request to its answer", ["work"]),
            buckets=_SECONDS,
            registry=self._registry,
        )

    def in_use(self, model: dict[str, str]) -> None:
        """Say which version is in use."""
        self._model.clear()
        self._model.labels(**model).set(1)

    def text(self) -> bytes:
        """All of it, in Prometheus' format."""
        return generate_latest(self._registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self._registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self._registry)
