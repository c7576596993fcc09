"""The counters of one server, as Prometheus reads them."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from slotmeter.api.metrics import MetricsBoard


def samples(board: MetricsBoard) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(board.text().decode())
        for sample in family.samples
    }


def test_a_plugin_counts_under_its_own_name() -> None:
    board = MetricsBoard()
    metrics = board.plugin("nbiot")
    metrics.count("pushes")
    metrics.count("pushes", 2)
    metrics.count("refused", reason="too_large")

    found = samples(board)

    assert found["slotmeter_nbiot_pushes_total", frozenset()] == 3
    assert found["slotmeter_nbiot_refused_total", frozenset({("reason", "too_large")})] == 1


def test_two_servers_in_one_process_do_not_share_counters() -> None:
    first, second = MetricsBoard(), MetricsBoard()
    first.plugin("nbiot").count("pushes")

    assert "slotmeter_nbiot_pushes_total" in {name for name, _ in samples(first)}
    assert "slotmeter_nbiot_pushes_total" not in {name for name, _ in samples(second)}


def test_a_gauge_is_asked_at_each_scrape() -> None:
    board = MetricsBoard()
    waiting = [1]
    board.gauge("waiting", "Things that wait", lambda: waiting[0])
    before = samples(board)["slotmeter_waiting", frozenset()]
    waiting[0] = 5

    assert (before, samples(board)["slotmeter_waiting", frozenset()]) == (1, 5)


def test_two_entries_of_one_medium_share_its_counters() -> None:
    board = MetricsBoard()
    board.plugin("nbiot").count("pushes")
    board.plugin("nbiot").count("pushes")

    assert samples(board)["slotmeter_nbiot_pushes_total", frozenset()] == 2


def test_a_plugin_cannot_make_counters_without_end() -> None:
    board = MetricsBoard()
    for number in range(2_000):
        board.plugin("ip").count("heard", device=f"meter-{number}")

    heard = {
        dict(labels)["device"]: value
        for (name, labels), value in samples(board).items()
        if name == "slotmeter_ip_heard_total"
    }
    assert len(heard) == 501
    assert heard["other"] == 1_500
