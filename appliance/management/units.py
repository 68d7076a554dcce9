"""The unit of a metric, which its name says. Pure."""

from __future__ import annotations

from typing import Final

UNIT_BY_SUFFIX: Final[dict[str, str]] = {
    "celsius": "°C",
    "fahrenheit": "°F",
    "kelvin": "K",
    "percent": "%",
    "ratio": "",
    "volts": "V",
    "millivolts": "mV",
    "amperes": "A",
    "amps": "A",
    "milliamperes": "mA",
    "watts": "W",
    "kilowatts": "kW",
    "watt_hours": "Wh",
    "kilowatt_hours": "kWh",
    "kwh": "kWh",
    "hertz": "Hz",
    "hz": "Hz",
    "pascals": "Pa",
    "hectopascals": "hPa",
    "hpa": "hPa",
    "kilopascals": "kPa",
    "bar": "bar",
    "meters": "m",
    "metres": "m",
    "millimeters": "mm",
    "millimetres": "mm",
    "meters_per_second": "m/s",
    "metres_per_second": "m/s",
    "mm_per_second": "mm/s",
    "liters": "l",
    "litres": "l",
    "liters_per_minute": "l/min",
    "litres_per_minute": "l/min",
    "cubic_meters": "m³",
    "lux": "lx",
    "ppm": "ppm",
    "ppb": "ppb",
    "decibels": "dB",
    "dbm": "dBm",
    "rpm": "rpm",
    "degrees": "°",
    "grams": "g",
    "kilograms": "kg",
    "bytes": "B",
    "seconds": "s",
    "s": "s",
    "ms": "ms",
    "count": "",
}
"""Unit by the last words of a metric's name; the longest match counts."""

_SUFFIX_WORDS_MAX: Final = max(suffix.count("_") + 1 for suffix in UNIT_BY_SUFFIX)


def unit_of(metric: str) -> str:
    """The unit that a metric's name ends in: "supply_temperature_celsius" → "°C", "" when it says none."""
    words = metric.lower().rsplit(".", 1)[-1].split("_")
    for count in range(min(_SUFFIX_WORDS_MAX, len(words) - 1), 0, -1):
        unit = UNIT_BY_SUFFIX.get("_".join(words[-count:]))
        if unit is not None:
            return unit
    return ""
