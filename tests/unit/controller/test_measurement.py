"""Rates come from the last two readings; a counter that runs backwards starts anew."""

from controller.discovery import PortId
from controller.measurement import LoadMeter, Rates, Reading

PORT = PortId(1, 1)


def test_there_is_no_rate_before_two_readings() -> None:
    meter = LoadMeter()
    meter.read(PORT, Reading(1.0, 10, 10))
    assert meter.sent_bps(PORT) is None
    assert meter.rates_bps() == {}


def test_a_rate_is_bits_over_seconds_between_the_last_two_readings() -> None:
    meter = LoadMeter()
    for reading in (Reading(1.0, 0, 0), Reading(2.0, 500, 1000), Reading(4.0, 500, 251_000)):
        meter.read(PORT, reading)
    assert meter.sent_bps(PORT) == 1_000_000
    assert meter.rates_bps() == {PORT: Rates(0.0, 1e6)}


def test_a_restarted_switch_starts_anew() -> None:
    meter = LoadMeter()
    for reading in (Reading(1.0, 0, 0), Reading(2.0, 500, 1000), Reading(3.0, 10, 10)):
        meter.read(PORT, reading)
    assert meter.sent_bps(PORT) is None
    meter.read(PORT, Reading(4.0, 10, 1010))
    assert meter.sent_bps(PORT) == 8000


def test_readings_that_waited_together_make_no_rate_of_their_own() -> None:
    meter = LoadMeter()
    for reading in (Reading(1.0, 0, 0), Reading(3.0, 0, 2000), Reading(3.001, 0, 3000), Reading(4.0, 0, 4000)):
        meter.read(PORT, reading)
    assert meter.sent_bps(PORT) == 16_000
